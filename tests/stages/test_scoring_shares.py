"""Rollouts that are scored while others are sampled."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages import draws
from tests.stages.small import run, write_recipe

ONE = ("arms.sft=null", "arms.sft_rl={after: null, stages: [rl]}", "stages.atomic=null", "evaluation.problems=2")


def test_shares_change_neither_what_is_sampled_nor_what_it_is_paid(tmp_path):
    recipe = write_recipe(tmp_path / "recipe")
    found = []
    # three prompts an update are no more than three shares
    for shares in (1, 2, 9):
        folder = tmp_path / f"shares-{shares}"
        run(recipe, folder, *ONE, "stages.rl.updates=1", f"stages.rl.scoring_shares={shares}")
        found.append(read_table(RunFolder(folder), "rollouts"))
    columns = ["stage", "problem", "sample", "completion_tokens", "reward", "advantage", "seed"]
    for other in found[1:]:
        pd.testing.assert_frame_equal(other[columns], found[0][columns], check_exact=True)
        # sums of another order within the kernels
        assert np.allclose(other["logprob"], found[0]["logprob"], atol=1e-4)


def test_a_share_is_scored_while_the_next_is_sampled(tmp_path, monkeypatch):
    events: list[tuple[str, float, float]] = []

    def slow(name, function):
        def call(*arguments):
            begun = time.perf_counter()
            time.sleep(0.15)
            found = function(*arguments)
            events.append((name, begun, time.perf_counter()))
            return found

        return call

    monkeypatch.setattr(draws, "complete", slow("sample", draws.complete))
    monkeypatch.setattr(draws, "score", slow("score", draws.score))
    run(write_recipe(tmp_path / "recipe"), tmp_path / "run", *ONE, "stages.rl.updates=1", "stages.rl.scoring_shares=3")
    sampled = sorted((begun, ended) for name, begun, ended in events if name == "sample")
    scored = sorted((begun, ended) for name, begun, ended in events if name == "score")
    assert len(sampled) == len(scored) == 3
    # the first share's scoring begins with the second's sampling, not after the third's
    assert scored[0][0] < sampled[1][1] and scored[1][0] < sampled[2][1]
    updates = read_table(RunFolder(tmp_path / "run"), "updates").set_index("metric")["value"]
    # of the scoring only what was left when all was sampled counts as its phase
    assert updates["seconds_score"] < sum(ended - begun for begun, ended in scored)


def test_a_problem_that_an_update_asks_again_is_sampled_anew_in_any_share(tmp_path):
    recipe = write_recipe(tmp_path / "recipe")
    found = []
    for shares in (1, 3):
        folder = tmp_path / f"shares-{shares}"
        few = "stages.rl.data=[{cells: ['complementary/2'], problems: 2}]"
        run(recipe, folder, *ONE, few, "stages.rl.updates=1", f"stages.rl.scoring_shares={shares}")
        found.append(read_table(RunFolder(folder), "rollouts"))
    one, shared = found
    assert one["problem"].nunique() == 2 and one["seed"].nunique() == len(one)
    assert one["seed"].tolist() == shared["seed"].tolist()
