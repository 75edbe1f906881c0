"""How likely a base finds another arm's right derivations: which are asked about, and what is recorded of them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines.codec import TextCodec
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages.reach import right_derivations
from tests.stages.small import RECIPE, run, write_recipe

WITH_REACH = RECIPE.replace("evaluation:\n", "verdict: {reach_derivations: 3, k: [1, 2]}\nevaluation:\n")


def rows(*said) -> pd.DataFrame:
    columns = ["level", "problem", "sample", "correct", "derivation_correct"]
    frame = pd.DataFrame(said, columns=columns)
    return frame.astype({"correct": "boolean", "derivation_correct": "boolean"})


def test_one_right_derivation_a_problem_is_taken_a_sampled_one_first_and_no_more_than_asked():
    found = right_derivations(
        rows(
            ("iid", "b", 0, True, True),
            ("iid", "a", -1, True, True),
            ("iid", "a", 2, True, True),
            ("iid", "a", 1, True, True),
            ("iid", "c", -1, True, True),
            ("zero_shot", "d", 0, True, False),
            ("zero_shot", "e", 0, True, None),
            ("zero_shot", "f", 0, None, None),
        ),
        2,
    )
    assert list(zip(found["level"], found["problem"], found["sample"], strict=True)) == [
        ("iid", "a", 1),
        ("iid", "b", 0),
        ("zero_shot", "e", 0),
    ]


def test_a_run_records_what_its_base_makes_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr("rlreason.stages.reach.right_derivations", lambda rows, count: rows.head(count))
    folder = tmp_path / "run"
    run(write_recipe(tmp_path, WITH_REACH), folder)
    plan = json.loads((folder / "plan.json").read_text())
    (stage,) = [name for name, each in plan["stages"].items() if each["type"] == "reach"]
    arm = plan["arms"]["sft_rl"]["seeds"]["0"]
    base = plan["arms"]["sft"]["seeds"]["0"]["stages"][-1]
    assert plan["stages"][stage]["parent"] == base
    assert plan["stages"][stage]["needs"] == [arm["evaluation"]]
    found = read_table(RunFolder(folder), "base_logprobs")
    assert len(found) == 3 and set(found["stage"]) == {arm["evaluation"]} and set(found["base"]) == {base}
    checkpoint = folder / "stages" / base / "model"
    model, codec = AutoModelForCausalLM.from_pretrained(checkpoint), TextCodec(checkpoint)
    said = read_table(RunFolder(folder), "evaluations", [arm["evaluation"]]).head(3)
    problems = read_table(RunFolder(folder), "problems", [arm["evaluation"]]).set_index("problem")
    for (_, row), scored in zip(said.iterrows(), found.itertuples(), strict=True):
        prompt, completion = codec.encode([problems.loc[row["problem"], "prompt"], row["text"]])
        tokens = np.append(completion, codec.end) if row["finish_reason"] == "stop" else completion
        whole = torch.from_numpy(np.concatenate([prompt, tokens]).astype(np.int64))[None]
        with torch.no_grad():
            logprobs = model(whole).logits[0, :-1].double().log_softmax(-1)
        expected = logprobs.gather(1, whole[0, 1:, None])[len(prompt) - 1 :].sum()
        assert scored.logprob == pytest.approx(float(expected), abs=1e-3)
        assert scored.tokens == len(tokens)


def test_where_no_reach_is_asked_for_none_is_planned(tmp_path):
    folder = tmp_path / "run"
    run(write_recipe(tmp_path), folder)
    stages = json.loads((folder / "plan.json").read_text())["stages"].values()
    assert "reach" not in {stage["type"] for stage in stages}
