"""Every algorithm of an `rl` stage through whole small runs in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import RunFailed
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from tests.stages.small import RECIPE, Recorder, assert_same_results, run, write_recipe

REWARD = '''
def score(problem, completion, derivation):
    """0 or 1, so that every method is defined, and both often enough for an untrained model."""
    return {"reward": float(len(set(completion)) % 2), "correct": derivation.answer_correct}
'''
OPTIONS = {
    "rloo_cispo": {"advantage": {"type": "rloo"}, "loss": {"type": "cispo"}, "kl": {"weight": 0.1}},
    "maxrl_entropy": {"advantage": {"type": "maxrl"}, "entropy_weight": 0.01, "overlong": "mask"},
    "reinforce": {
        "advantage": {"type": "reinforce_plus_plus", "baseline": "group"},
        "kl": {"weight": 0.1, "place": "advantage", "estimator": "k1"},
    },
    "gspo": {
        "loss": {"type": "gspo", "denominator": "sequences"},
        "correction": {"level": "sequence", "method": "mask", "low": 0.5},
        "minibatches": 3,
    },
    "pass_at_k": {"advantage": {"type": "pass_at_k", "k": 2}, "dynamic_sampling": {"max_rounds": 3}},
    "ppo": {"advantage": {"type": "gae"}, "critic": {"weight": 0.5}, "correction": {}, "minibatches": 3},
    "lora": {"lora": {"rank": 2}, "sampling": {"max_new_tokens": 8, "temperature": 0.6, "top_p": 0.9}},
    "taught": {"kl": {"weight": 0.2, "reference": "rloo_cispo"}, "advantage": {"type": "none"}},
    "average": {"optimizer": {"learning_rate": 2.0e-3, "ema": 0.5}, "credit": {"type": "min_form"}},
}


def recipe_of(options: dict[str, dict[str, object]]) -> str:
    values = yaml.safe_load(RECIPE)
    plain = values["stages"]["rl"] | {"updates": 3}
    values["stages"] = {name: plain | changes for name, changes in options.items()}
    if "rloo_cispo" in options:
        same = ("data", "updates", "prompts_per_update", "sampling", "optimizer")
        values["stages"]["distilled"] = {name: plain[name] for name in same} | {"type": "distill", "teacher": "lora"}
    values["arms"] = {name: [name] for name in values["stages"]}
    values["evaluation"] |= {"problems": 2}
    return yaml.safe_dump(values, sort_keys=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), recipe_of(OPTIONS), variety=REWARD)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(recipe, folder)
    return folder


def figures(folder: Path) -> dict[str, pd.DataFrame]:
    """Stage's name -> [update, metric] of its updates."""
    plan = json.loads((folder / "plan.json").read_text())["stages"]
    updates = read_table(RunFolder(folder), "updates")
    return {
        plan[stage]["name"]: own.pivot(index="update", columns="metric", values="value")
        for stage, own in updates.groupby("stage")
    }


def test_every_algorithm_trains_on_what_the_generator_sampled(whole):
    for name, table in figures(whole).items():
        assert (table["skipped"] == 0).all() and (table["grad_norm"] > 0).any(), name
        # several optimizer updates on the same rollouts leave the generator behind, all else is on-policy
        limit = 1e-4 if OPTIONS.get(name, {}).get("minibatches", 1) == 1 else 0.5
        assert (table["mismatch_mean"] < limit).all(), name


def test_what_an_option_does_is_recorded(whole):
    found = figures(whole)
    assert (found["rloo_cispo"]["reference_kl"].iloc[1:] > 0).all() and found["rloo_cispo"]["reference_kl"].iloc[
        0
    ] < 1e-8
    assert (found["ppo"]["value_error"] > 0).all() and (found["ppo"]["corrected_share"] == 0).all()
    assert "value_error" not in found["gspo"] and "reference_kl" not in found["gspo"]
    # an optimizer update a minibatch, each with its share of the tokens
    assert (found["gspo"]["completion_tokens"] * 3 <= found["gspo"]["spent_sampled_tokens"] + 1e-9).all()


def test_a_policy_is_held_near_another_arm_and_taught_by_it(whole):
    found = figures(whole)
    for name in ("taught", "distilled"):
        assert (found[name]["reference_kl"].abs() > 1e-6).all(), "the reference is not the stage's own start"
    # nothing but the teacher teaches: rewards give no credit
    assert (found["distilled"]["informative_groups"] == 0).all()
    plan = json.loads((whole / "plan.json").read_text())["stages"]
    by_name = {stage["name"]: (id, stage) for id, stage in plan.items()}
    assert by_name["distilled"][1]["needs"] == [by_name["lora"][0]]
    assert list(plan).index(by_name["lora"][0]) < list(plan).index(by_name["distilled"][0])


def test_dynamic_sampling_counts_what_it_drew_in_vain(whole):
    table = figures(whole)["pass_at_k"]
    assert set(table["sampled_groups"]) <= {3.0, 6.0, 9.0}
    rollouts = read_table(RunFolder(whole), "rollouts")
    stage = next(path.parent.name for path in whole.glob("stages/rl-*/config.json") if "pass_at_k" in path.read_text())
    own = rollouts[rollouts["stage"] == stage]
    assert (own.groupby("update").size() == table["sampled_groups"] * 4).all()
    curriculum = read_table(RunFolder(whole), "curriculum")
    drawn = curriculum[curriculum["stage"] == stage].groupby("update")["drawn"].sum()
    assert (drawn == table["sampled_groups"]).all()


def test_adapters_leave_a_plain_model(whole):
    stage = next(path.parent for path in whole.glob("stages/rl-*/config.json") if json.loads(path.read_text())["lora"])
    from rlreason.engines.weights import read_checkpoint

    (base,) = whole.glob("base/*/")
    before, after = read_checkpoint(base), read_checkpoint(stage / "model")
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name].numpy(), after[name].numpy())}
    assert changed and all("proj" in name for name in changed)


@pytest.mark.parametrize("name", ["ppo", "average", "pass_at_k"])
def test_a_killed_stage_goes_on_to_the_same_records(name, tmp_path):
    text = recipe_of({name: OPTIONS[name]})
    run(write_recipe(tmp_path / "recipe", text, variety=REWARD), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "recipe" / "small.yaml", tmp_path / "again", progress=Recorder(stop=("rl", 2)))
    run(tmp_path / "recipe" / "small.yaml", tmp_path / "again")
    assert_same_results(tmp_path / "again", tmp_path / "whole")


def test_losses_that_are_no_numbers_make_no_step_and_stop_the_run_after_the_stated_number(tmp_path, monkeypatch):
    plain = TorchLearner.update

    def poisoned(self, batch, update, on_policy):
        return plain(self, replace(batch, advantages=batch.advantages * np.float32(np.nan)), update, on_policy)

    monkeypatch.setattr(TorchLearner, "update", poisoned)
    recipe = write_recipe(tmp_path / "recipe", recipe_of({"plain": {"updates": 5, "max_skipped": 1}}))
    with pytest.raises(RunFailed, match=r"the loss of 2 updates in a row was not a number.*\(max_skipped 1\)"):
        run(recipe, tmp_path / "run")
    updates = read_table(RunFolder(tmp_path / "run"), "updates")
    assert updates.loc[updates["metric"] == "skipped", "value"].tolist() == [1.0, 1.0]
