"""Each kind of stage on Ray, vLLM and DeepSpeed at once, in one run whose arms differ in their algorithm alone.

What the figures of an algorithm ought to be is tested on arrays and on the engines of this process; here, that the real
engines carry all of it: the policy moves, generator and learner agree on what was sampled, and the ledger is kept.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
OPTIMIZER = {"learning_rate": 1.0e-3}
SAMPLING = {"temperature": 1.0, "max_new_tokens": 40}
ASKED = {"data": [{"cells": ["contextual/*"]}], "sampling": SAMPLING, "optimizer": OPTIMIZER, "updates": 2}
REWARD = '''
def score(problem, completion, derivation):
    """0 or 1, and both often enough: the model that ships is right about all that it can read."""
    return {"reward": float(len(completion) % 2), "correct": derivation.answer_correct}
'''
RL = ASKED | {"type": "rl", "sampling": SAMPLING | {"temperature": 1.3}, "prompts_per_update": 4, "group_size": 4}
LORA = {"rank": 4}
STAGES = {
    "ppo": RL | {"advantage": {"type": "gae"}, "critic": {}},
    "gspo": RL | {"loss": {"type": "gspo", "denominator": "sequences"}, "kl": {"weight": 0.01}},
    "dapo": RL | {"dynamic_sampling": {"max_rounds": 2}, "loss": {"clip_high": 0.28}, "overlong": "mask"},
    "adapters": RL | {"lora": LORA},
    "average": RL | {"optimizer": OPTIMIZER | {"ema": 0.9}},
    "learned_min_form": RL | {"credit": {"type": "min_form", "steps": "judge"}},
    "distilled": ASKED | {"type": "distill", "teacher": "ppo", "prompts_per_update": 4},
    "preferring": ASKED
    | {"type": "dpo", "sampling": SAMPLING | {"temperature": 1.5}, "prompts": 32, "samples": 4, "batch_pairs": 2},
    "taught_adapters": {
        "type": "sft",
        "data": [{"cells": ["complementary/*"]}],
        "updates": 2,
        "batch_rows": 2,
        "lora": LORA,
        "optimizer": OPTIMIZER,
    },
    "own_right": ASKED | {"type": "rft", "prompts": 16, "samples": 4, "batch_rows": 2},
}
RECIPE = {
    "name": "stack",
    "model": {"path": "models/tiny-base"},
    "tasks": {
        "people": {"type": "complementary", "people": 32, "hops": {1: 1, 2: 1}, "wording": "triples"},
    },
    "scorers": {
        "judge": {
            "type": "prm",
            "data": ASKED["data"],
            "problems": 32,
            "samples": 4,
            "sampling": SAMPLING,
            "updates": 3,
            "batch_rows": 2,
            "held_out_problems": 4,
            "optimizer": OPTIMIZER,
        }
    },
    "rewards": {"parts": [{"spec": "parity.py:score"}]},
    "stages": STAGES,
    "arms": {name: [name] for name in STAGES},
    "evaluation": {
        "levels": ["iid"],
        "cells": ["contextual/*"],
        "problems": 4,
        "samples": 1,
        "k": [1],
        "sampling": {"max_new_tokens": 40},
    },
    "resources": {"accelerator": "cpu", "kv_cache_gib": 0.1},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stack")
    (folder / "parity.py").write_text(REWARD)
    recipe = folder / "stack.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    run(recipe, folder / "run")
    return folder / "run"


def stage_of(folder: Path, name: str) -> str:
    plan = json.loads((folder / "plan.json").read_text())
    return plan["arms"][name]["seeds"]["0"]["stages"][-1]


@pytest.mark.parametrize("name", STAGES)
def test_the_real_engines_train_it(whole, name):
    stage = stage_of(whole, name)
    start, end = (
        load_file(next(Path(folder).glob("*.safetensors"))) for folder in (_base(), whole / "stages" / stage / "model")
    )
    assert set(end) <= set(start)
    assert any(np.any(end[key] != start[key]) for key in end)
    ledger = RunFolder(whole).done(stage)["ledger"]
    assert ledger["trained_tokens"] > 0 and ledger["updates"] >= 2
    assert (ledger["samples"] > 0) == (STAGES[name]["type"] != "sft")
    updates = read_table(RunFolder(whole), "updates", [stage])
    mismatch = updates.loc[updates["metric"] == "mismatch_mean", "value"]
    assert len(mismatch) == (2 if STAGES[name]["type"] in ("rl", "distill") else 0)
    assert (mismatch < 1e-4).all()
    assert np.isfinite(updates.loc[updates["metric"] == "loss", "value"]).all()


def test_the_learned_scorer_scored_steps_of_the_rollouts(whole):
    rollouts = read_table(RunFolder(whole), "rollouts", [stage_of(whole, "learned_min_form")])
    scores = [score for row in rollouts["step_scores"] for _, _, score in json.loads(row).get("judge", [])]
    assert len(scores) > 8
    assert all(0 <= score <= 1 for score in scores)


def _base() -> Path:
    return Path(__file__).parents[1] / "recipes" / "models" / "tiny-base"
