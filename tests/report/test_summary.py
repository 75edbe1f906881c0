import math
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, write_part
from rlreason.report.levels import LevelSummary, summarise_level
from rlreason.report.lineage import lineage
from rlreason.report.summary import summarise
from rlreason.report.training import Curves
from tests.report.synthetic import (
    ATOMIC,
    STRONG,
    WEAK,
    Counts,
    finished_run,
    write_evaluation,
    write_plan,
    write_training,
)


def test_figures_of_a_level_are_those_counted(tmp_path):
    level = summarise(finished_run(tmp_path)).arms["sft"].levels["iid"]
    # 10 problems: 5 right, 2 of those with wrong steps, the last one not judged
    assert level.n == 10
    assert level.pass_at_1.value == 0.5
    wilson = binomtest(5, 10).proportion_ci(0.95, method="wilson")
    assert (level.pass_at_1.low, level.pass_at_1.high) == pytest.approx((wilson.low, wilson.high))
    assert level.derivation_correct is not None
    assert level.derivation_correct.value == pytest.approx(0.3)
    assert level.right_answer_wrong_steps == pytest.approx(2 / 5)
    assert (level.unscored, level.completions) == (1, 50)
    assert level.chance == 0.125


def test_pass_at_k_is_the_mean_over_problems_of_the_unbiased_estimate(tmp_path):
    arms = summarise(finished_run(tmp_path)).arms
    # one of ten problems has 1 right of 4: pass@1 .25/10, pass@2 .5/10, pass@4 1/10
    weak = arms["sft"].levels["zero_shot"].pass_at_k
    assert {k: estimate.value for k, estimate in weak.items()} == pytest.approx({1: 0.025, 2: 0.05, 4: 0.1})
    assert weak[4].low == 0.0 and 0.2 <= weak[4].high <= 0.4
    # every problem 2 right of 4: pass@2 = 1 - C(2,2)/C(4,2) = 5/6, and no spread over problems
    strong = arms["sft_rl"].levels["zero_shot"].pass_at_k[2]
    assert (strong.low, strong.value, strong.high) == pytest.approx((5 / 6, 5 / 6, 5 / 6))


def counted(problem: str, greedy: bool, n: int, right: int, derived: int, checked: bool) -> dict[str, Any]:
    steps = {"checked": n * checked, "right_checked": right * checked, "right_derived": derived}
    return {
        "seed": 0,
        "problem": problem,
        "greedy": greedy,
        "n": n,
        "judged": n,
        "right": right,
        "derived": derived,
    } | steps


def level_of(checked: bool) -> LevelSummary | None:
    """Two problems: 2 of 4 samples right and none of them derived; 4 of 4 right, one derived."""
    rows = [counted(problem, True, 1, 1, 0, checked) for problem in ("a", "b")]
    rows += [counted("a", False, 4, 2, 0, checked), counted("b", False, 4, 4, int(checked), checked)]
    return summarise_level(pd.DataFrame(rows), [1, 4, 8], None)


def test_samples_with_every_step_right_are_counted_beside_right_answers():
    level = level_of(checked=True)
    assert level is not None
    assert {k: estimate.value for k, estimate in level.pass_at_k.items()} == {1: 0.75, 4: 1.0}
    assert {k: estimate.value for k, estimate in level.derived_at_k.items()} == {1: 0.125, 4: 0.5}
    assert level.as_json()["derived_at_k"] == {"1": 0.125, "4": 0.5}
    unchecked = level_of(checked=False)
    assert unchecked is not None and unchecked.derived_at_k == {} and unchecked.pass_at_k == level.pass_at_k


def test_probes_stand_apart_from_levels(tmp_path):
    arm = summarise(finished_run(tmp_path)).arms["sft"]
    assert list(arm.levels) == ["iid", "zero_shot"]
    assert list(arm.probes) == ["contextual"]
    assert (arm.probes["contextual"].n, arm.probes["contextual"].pass_at_1.value) == (4, 1.0)


def test_an_arm_that_was_not_evaluated_is_listed_not_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    write_evaluation(folder, "evaluate-sft-0", WEAK, ATOMIC)
    summary = summarise(folder)
    assert summary.arms["sft_rl"].levels == {}
    assert summary.missing == (
        "arm sft_rl, seed 0: its evaluation (evaluate-rl-0) has not finished",
        "stage atomic (sft-0) has not finished",
        "stage atomic → rl (rl-0) has not finished",
    )


def test_records_of_an_unfinished_evaluation_are_not_shown(tmp_path):
    folder = finished_run(tmp_path)
    (folder.stage("evaluate-rl-0") / "done.json").unlink()
    assert summarise(folder).arms["sft_rl"].levels == {}


def test_missing_levels_and_too_few_samples_are_named(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    write_training(folder)
    write_evaluation(folder, "evaluate-sft-0", WEAK, ATOMIC)
    write_evaluation(folder, "evaluate-rl-0", {"iid": STRONG["iid"]})
    plan = folder.plan_path.read_text().replace('"k": [\n      1,', '"k": [\n      8,\n      1,')
    folder.plan_path.write_text(plan)
    missing = summarise(folder).missing
    assert "arm sft_rl: no completions on level zero_shot" in missing
    assert "arm sft_rl: no completions on probe contextual" in missing
    assert "arm sft, iid: pass@8 needs more samples than the 4 there are" in missing


def test_seeds_are_pooled_by_problem_and_shown_one_by_one(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder, seeds=(0, 1))
    for seed, right in ((0, 10), (1, 4)):
        write_evaluation(folder, f"evaluate-sft-{seed}", {"iid": Counts(right, [right // 2 % 4] * 10)})
    level = summarise(folder).arms["sft"].levels["iid"]
    assert level.n == 10
    assert level.pass_at_1.value == pytest.approx(0.7)
    assert level.per_seed == {0: 1.0, 1: 0.4}
    # seed 0 has 1 of 4 right on each problem, seed 1 has 2 of 4: pass@1 (.25 + .5)/2, pass@2 (.5 + 5/6)/2
    assert level.pass_at_k[1].value == pytest.approx(0.375)
    assert level.pass_at_k[2].value == pytest.approx(2 / 3)


def test_training_is_summed_up_by_its_first_and_last_tenth(tmp_path):
    curves = {each.stage: each for each in summarise(finished_run(tmp_path)).curves}
    assert curves["rl-0"].label == "atomic → rl"
    assert curves["rl-0"].before_after("reward_mean") == (0.0, 1.0)
    # 20 updates: the mean of the first two losses, 2.0 and 1.9, and of the last two, 0.2 and 0.1
    assert curves["sft-0"].before_after("loss") == pytest.approx((1.95, 0.15))
    assert curves["rl-0"].before_after("entropy") is None  # recorded, but never defined
    assert curves["rl-0"].phases() == {"generate": 3.0, "learn": 1.0, "other": 0.0}
    assert (curves["sft-0"].arm, curves["rl-0"].arm) == ("sft", "sft_rl")


def test_a_stage_of_one_update_has_a_before_and_an_after():
    curves = Curves("s", "s", "sft", 0, "", pd.DataFrame({"loss": [2.0]}, index=[1]))
    assert curves.before_after("loss") == (2.0, 2.0)


def test_a_shared_stage_stands_once_in_the_tree(tmp_path):
    root = lineage(summarise(finished_run(tmp_path)).plan)
    [atomic] = root.children.values()
    assert (atomic.name, atomic.updates, atomic.arms) == ("atomic", 20, ["sft"])
    assert [child.arms for child in atomic.children.values()] == [["sft_rl"]]


def test_a_run_that_cannot_be_trusted_says_so(tmp_path):
    folder = finished_run(tmp_path)
    manifest = folder.manifest_path.read_text()
    folder.manifest_path.write_text(manifest.replace('"git_dirty": false', '"git_dirty": true'))
    summary = summarise(folder)
    assert summary.unclean == ("The code that ran had changes that were not committed.",)
    cautions = summary.cautions
    assert any(caution.startswith("One seed") for caution in cautions)
    assert "Completions that could not be judged: 1. They count as not right." in cautions


def test_seconds_are_those_recorded_and_the_wall_time_is_the_manifests(tmp_path):
    summary = summarise(finished_run(tmp_path))
    assert summary.wall_seconds == 100.0
    assert summary.stages["rl-0"].seconds == 80.0
    assert summary.stages["sft-0"].figures["tokens"] == 1000


def test_nan_metrics_do_not_reach_json(tmp_path):
    folder = finished_run(tmp_path)
    write_part(
        folder,
        "updates",
        "rl-0",
        2,
        {"stage": ["rl-0"], "update": [21], "metric": ["reward_mean"], "value": [math.nan]},
    )
    changed = summarise(folder).as_json()["training"]["rl-0"]["metrics"]
    assert changed["reward_mean"] == {"before": 0.0, "after": 1.0}
    assert "entropy" not in changed


def test_a_folder_without_a_plan_is_not_a_run(tmp_path):
    with pytest.raises(RecordsError, match=r"plan\.json does not exist"):
        summarise(RunFolder(tmp_path))
