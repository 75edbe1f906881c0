"""Blocks of an evaluation, and evaluations that end before all samples are taken."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pandas as pd
import pytest
from scipy.stats import binomtest

from rlreason.algorithms.intervals import wilson_interval
from rlreason.recipe.early_stop import StopAt
from rlreason.recipe.schema import Evaluation
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import part_numbers, read_table, write_part
from rlreason.stages import evaluate
from tests.report.synthetic import Counts, write_evaluation
from tests.stages.small import Recorder, run, write_recipe

ONE = ("arms.sft_rl=null", "stages.rl=null", "stages.atomic.updates=1", "arms.sft=[]", "evaluation.k=[1]")
"""The base model, asked as it is: it gets nothing right."""
STOP = ("evaluation.samples=8", "evaluation.probes={skill: {cells: ['parametric/*'], problems: 16}}")


def samples_of(folder):
    """(level, problem) -> numbers of its completions."""
    rows = read_table(RunFolder(folder), "evaluations", columns=["level", "problem", "sample"])
    return rows.groupby(["level", "problem"])["sample"].agg(sorted)


def closing(folder):
    (stage,) = (folder / "stages").iterdir()
    return RunFolder(folder).done(stage.name)


def asks(samples: int, **stop: float) -> Evaluation:
    return Evaluation(levels=("iid",), samples=samples, k=(1,), stop_at=StopAt(**stop) if stop else None)


def test_all_samples_are_asked_at_once_or_twice_as_many_each_time_up_to_all():
    assert evaluate.rounds(asks(40)) == [range(40)]
    found = evaluate.rounds(asks(40, half_width=0.1, at_least=8))
    assert found == [range(8), range(8, 16), range(16, 32), range(32, 40)]


def test_a_problems_samples_stay_in_one_block_and_greedy_completions_fill_theirs():
    items = [evaluate.Asked(None, "iid", probe=False)] * 10
    sizes = [len(block.items) for block in evaluate.blocks(items, range(4), 12)]
    assert sizes == [3, 3, 3, 1]
    assert [len(block.items) for block in evaluate.blocks(items, range(-1, 0), 12)] == [10]
    assert [len(block.items) for block in evaluate.blocks(items, range(99), 12)] == [1] * 10


@pytest.mark.parametrize(("right", "problems"), [(5, 10), (0, 7), (128, 128)])
def test_the_interval_of_problems_that_are_all_or_nothing_is_that_of_so_many_throws(right, problems):
    value, low, high = wilson_interval(pd.Series([1.0] * right + [0.0] * (problems - right)).to_numpy(), answers=16)
    expected = binomtest(right, problems).proportion_ci(0.95, method="wilson")
    assert value == right / problems
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_a_look_sees_as_many_samples_as_there_were_then_and_those_not_judged_as_not_right(tmp_path):
    folder = RunFolder(tmp_path)
    # of 4 samples the first 2 are right, on 4 of 8 problems
    write_evaluation(folder, "evaluate-1", {"iid": Counts(0, [2] * 4 + [0] * 4)})
    context, stage = SimpleNamespace(folder=folder), SimpleNamespace(id="evaluate-1")
    ends = binomtest(4, 8).proportion_ci(0.95, method="wilson")
    found = {samples: evaluate.half_widths(context, stage, ["iid"], samples) for samples in (2, 4)}
    assert found[2] == {"iid": pytest.approx((ends.high - ends.low) / 2)}
    # shares of 0.5 and 0 spread as 8 x 0.1875 / 0.0625 = 24 problems of 0 or 1 with a mean of 1/4 would
    ends = binomtest(6, 24).proportion_ci(0.95, method="wilson")
    assert found[4] == {"iid": pytest.approx((ends.high - ends.low) / 2)}
    rows = read_table(folder, "evaluations")
    rows["correct"] = rows["correct"].where(rows["correct"])
    write_part(folder, "evaluations", "evaluate-1", 0, rows)
    assert part_numbers(folder, "evaluations", "evaluate-1") == [0]
    assert evaluate.half_widths(context, stage, ["iid"], 2) == found[2]


def test_a_level_ends_when_its_interval_is_narrow_enough_and_the_others_go_on(tmp_path):
    # none right of 6 and of 16 problems: half of the Wilson interval is .195 and .097, however many samples
    run(
        write_recipe(tmp_path / "r"), tmp_path / "run", *ONE, *STOP, "evaluation.stop_at={half_width: 0.1, at_least: 2}"
    )
    taken = samples_of(tmp_path / "run")
    assert {tuple(own) for own in taken["skill"]} == {(-1, 0, 1)}
    assert {tuple(own) for own in taken["iid"]} == {(-1, *range(8))}
    assert (len(taken["skill"]), len(taken["iid"])) == (16, 6)
    told = closing(tmp_path / "run")
    assert (told["samples_skill"], told["samples_iid"], told["completions"]) == (2, 8, 16 * 3 + 6 * 9)
    expected = [binomtest(0, problems).proportion_ci(method="wilson").high / 2 for problems in (16, 6)]
    assert (told["half_width_skill"], told["half_width_iid"]) == pytest.approx(expected)
    assert told["ledger"]["prompts"] == 22


def test_an_evaluation_that_was_interrupted_around_a_look_takes_the_same_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "block_completions", lambda resources: 22)
    recipe, rule = write_recipe(tmp_path / "r"), "evaluation.stop_at={half_width: 0.1, at_least: 2}"
    run(recipe, tmp_path / "whole", *ONE, *STOP, rule)
    # 22 greedy completions and two blocks before the first look, in the middle of which it is stopped; then, with
    # samples of one level beyond what decided over the other, after the second look
    for completions in (22 + 22, 22 + 44 + 12):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "run", *ONE, *STOP, rule, progress=Recorder(stop=("evaluate", completions // 9)))
        assert samples_of(tmp_path / "run").map(len).sum() >= completions
    run(recipe, tmp_path / "run", *ONE, *STOP, rule)
    pd.testing.assert_series_equal(samples_of(tmp_path / "run"), samples_of(tmp_path / "whole"))
    one, other = (closing(tmp_path / name) for name in ("run", "whole"))
    assert one["ledger"]["samples"] == other["ledger"]["samples"] == 16 * 3 + 6 * 9
    assert one["half_width_skill"] == other["half_width_skill"]


def test_what_is_on_record_in_other_blocks_is_not_asked_again(tmp_path):
    recipe, folder = write_recipe(tmp_path / "r"), RunFolder(tmp_path / "run")
    run(recipe, folder.path, *ONE)
    whole = read_table(folder, "evaluations")
    stage = whole["stage"][0]
    # as if it had been killed when two problems were recorded, greedy completions and samples in one part
    first = list(dict.fromkeys(whole["problem"]))[:2]
    for path in (folder.records / "evaluations" / stage).iterdir():
        path.unlink()
    write_part(folder, "evaluations", stage, 0, whole[whole["problem"].isin(first)])
    (folder.stage(stage) / "done.json").unlink()
    run(recipe, folder.path, *ONE)
    assert part_numbers(folder, "evaluations", stage) == [0, 1, 2]
    order = ["problem", "sample"]
    again = read_table(folder, "evaluations").sort_values(order, ignore_index=True)
    expected = whole.sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(again[[*order, "text"]], expected[[*order, "text"]])


def test_a_block_is_scored_while_the_next_is_sampled(tmp_path, monkeypatch):
    spans: list[tuple[str, float, float]] = []

    def slow(name, function):
        def call(*arguments, **options):
            begun = time.perf_counter()
            time.sleep(0.15)
            found = function(*arguments, **options)
            spans.append((name, begun, time.perf_counter()))
            return found

        return call

    monkeypatch.setattr(evaluate, "block_completions", lambda resources: 6)
    monkeypatch.setattr(evaluate, "complete", slow("sample", evaluate.complete))
    monkeypatch.setattr(evaluate, "score", slow("score", evaluate.score))
    run(write_recipe(tmp_path / "r"), tmp_path / "run", *ONE)
    sampled, scored = (
        sorted((begun, end) for kind, begun, end in spans if kind == name) for name in ("sample", "score")
    )
    assert len(sampled) == len(scored) == 3  # the greedy ones, and three problems twice
    assert all(scored[block][0] < sampled[block + 1][1] for block in range(2))
