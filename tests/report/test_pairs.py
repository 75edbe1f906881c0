import json
import re

import pandas as pd
import pyarrow as pa
import pytest

from rlreason.records import PlanRecord, RunFolder, read_plan, read_table
from rlreason.report import build_report
from rlreason.report.counts import READ, count
from rlreason.report.figures import charts
from rlreason.report.pairs import Pair, Paired, arm_pairs, compare_pairs
from rlreason.report.summary import summarise
from tests.report.synthetic import STRONG, WEAK, Counts, add_arm, finished_run, write_evaluation, write_plan


def plan_of(**paths: tuple[str, ...]) -> PlanRecord:
    arms = {name: {"seeds": {0: {"stages": path, "evaluation": f"evaluate-{name}"}}} for name, path in paths.items()}
    return PlanRecord.model_validate({"arms": arms, "stages": {}, "evaluation": {"levels": ["iid"], "samples": 1}})


def compared(folder: RunFolder) -> Paired:
    return summarise(folder).paired


def compare(plan: PlanRecord, rows: pd.DataFrame) -> Paired:
    """`compare_pairs` from completions."""
    return compare_pairs(plan, count(pa.Table.from_pandas(rows, preserve_index=False)).to_pandas())


@pytest.fixture
def evaluations(tmp_path) -> tuple[PlanRecord, pd.DataFrame]:
    """Plan and completions of the finished synthetic run: sft, and sft_rl that goes on from it; 10 problems a level."""
    folder = finished_run(tmp_path)
    return read_plan(folder), read_table(folder, "evaluations", columns=READ)


def test_an_arm_meets_the_longest_history_that_it_goes_on_from():
    plan = plan_of(rl_twice=("s", "r", "r2"), sft=("s",), sft_rl=("s", "r"), skipped=("s", "x", "r2"))
    assert arm_pairs(plan) == (
        Pair("rl_twice", "sft_rl", "base"),
        Pair("sft_rl", "sft", "base"),
        Pair("skipped", "sft", "base"),
        Pair("skipped", "sft_rl", "sibling"),
    )


def test_arms_that_begin_at_the_base_model_are_siblings_unless_it_is_an_arm_itself():
    assert arm_pairs(plan_of(a=("s",), b=("m",), c=("m", "r"))) == (Pair("c", "b", "base"), Pair("b", "a", "sibling"))
    assert arm_pairs(plan_of(a=("s",), untrained=())) == (Pair("a", "untrained", "base"),)


def test_differences_are_those_counted(evaluations):
    paired = compare(*evaluations)
    iid, zero_shot = paired.comparisons
    assert (iid.level, iid.pair, iid.seeds) == ("iid", Pair("sft_rl", "sft", "base"), (0,))
    assert (iid.problems, iid.left_out, iid.k) == (10, 0, 4)
    # iid: greedy 10 against 5, some of 4 samples right on 10 against 5, every step right on 10 against 3 of 10;
    # zero_shot: 9 against 1, 10 against 1, 9 against 1
    values = [{name: each.difference.value for name, each in c.measures.items()} for c in (iid, zero_shot)]
    assert values == [
        pytest.approx({"pass_at_1": 0.5, "pass_at_k": 0.5, "derivation_correct": 0.7}),
        pytest.approx({"pass_at_1": 0.8, "pass_at_k": 0.9, "derivation_correct": 0.8}),
    ]
    # 5 and 8 problems differ, all in favour of one arm: p 2 / 2^5 and 2 / 2^8, the smaller one twice by Holm
    assert [c.measures["pass_at_1"].p_corrected for c in (iid, zero_shot)] == [0.0625, 0.015625]


def test_an_answer_that_could_not_be_judged_counts_as_not_right(evaluations):
    plan, rows = evaluations
    strong = (rows["stage"] == "evaluate-rl-0") & rows["greedy"] & (rows["level"] == "iid")
    rows.loc[strong & (rows["problem"] == "iid/9"), "correct"] = pd.NA
    assert compare(plan, rows).comparisons[0].measures["pass_at_1"].difference.value == pytest.approx(0.4)


def test_problems_that_one_arm_was_not_asked_are_left_out_and_counted(evaluations):
    plan, rows = evaluations
    asked = ~((rows["stage"] == "evaluate-sft-0") & rows["problem"].isin(["iid/0", "iid/9"]))
    iid, zero_shot = compare(plan, rows[asked]).comparisons
    # without the first problem, which both solve, and the last, which only one does
    assert (iid.problems, iid.left_out, iid.measures["pass_at_1"].difference.value) == (8, 2, 0.5)
    assert (zero_shot.problems, zero_shot.left_out) == (10, 0)


def test_k_is_the_largest_that_every_problem_has_samples_for(evaluations):
    plan, rows = evaluations
    first = rows[(rows["problem"] == "iid/5") & ~rows["greedy"]].index[0]
    iid, zero_shot = compare(plan, rows.drop(first)).comparisons
    assert (iid.k, zero_shot.k) == (2, 4)
    without = compare(plan, rows[rows["greedy"]]).comparisons[0]
    assert without.k is None
    assert list(without.measures) == ["pass_at_1", "derivation_correct"]


def test_steps_are_compared_only_where_both_arms_had_theirs_checked(evaluations):
    plan, rows = evaluations
    rows.loc[(rows["stage"] == "evaluate-sft-0") & (rows["level"] == "iid"), "derivation_correct"] = pd.NA
    iid, zero_shot = compare(plan, rows).comparisons
    assert list(iid.measures) == ["pass_at_1", "pass_at_k"]
    assert "derivation_correct" in zero_shot.measures
    # one comparison of steps is left, and is not corrected: 8 problems differ, all one way
    assert zero_shot.measures["derivation_correct"].p_corrected == 2 / 2**8


def test_only_seeds_that_both_arms_have_are_compared(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder, seeds=(0, 1, 2))
    for seed, right in enumerate((2, 4, 6)):
        write_evaluation(folder, f"evaluate-sft-{seed}", {"iid": Counts(right, [0] * 10)})
    for seed, right in ((2, 7), (1, 9)):
        write_evaluation(folder, f"evaluate-rl-{seed}", {"iid": Counts(right, [0] * 10)})
    paired = compared(folder)
    [iid] = paired.comparisons
    # (9 - 4 + 7 - 6) of 20
    assert (iid.seeds, iid.measures["pass_at_1"].difference.value) == ((1, 2), pytest.approx(0.3))
    assert paired.scope == "Intervals and p values cover the choice of problems and of seeds."
    assert paired.not_compared == ("sft_rl against sft on zero_shot: there is no seed under which both were evaluated",)


def test_pairs_that_share_no_seed_or_no_problem_are_named(evaluations):
    plan, rows = evaluations
    renamed = rows.assign(problem=rows["problem"].where(rows["stage"] == "evaluate-rl-0", "other " + rows["problem"]))
    reason = "there is no problem that both were asked under all shared seeds"
    assert compare(plan, renamed) == Paired((), (f"sft_rl against sft on iid, zero_shot: {reason}",))
    alone = compare(plan, rows[rows["stage"] == "evaluate-rl-0"])
    assert alone.comparisons == ()
    assert alone.not_compared == (
        "sft_rl against sft on iid, zero_shot: there is no seed under which both were evaluated",
    )
    assert compare(plan, rows[:0]) == Paired((), ())


def test_the_scope_says_where_seeds_were_not_sampled(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder, seeds=(0, 1))
    add_arm(folder, "other", "sft", "rl_other")
    for stage in ("sft-0", "sft-1", "rl-0", "rl-1", "rl_other-0"):
        write_evaluation(folder, f"evaluate-{stage}", WEAK if stage.startswith("sft") else STRONG)
    paired = compared(folder)
    assert [len(each.seeds) for each in paired.comparisons if each.level == "iid"] == [2, 1, 1]
    assert paired.scope.endswith("but where there is one seed only that of problems.")


def test_the_report_shows_them_in_every_form(plain_page):
    page = plain_page
    first_line = "One seed: seeds were not sampled."
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert re.search(rf"Differences on the same problems(</h2>)?\s+(<p>)?{first_line}", text)
    [iid, zero_shot] = json.loads(page.with_suffix(".json").read_text())["paired"]["comparisons"]
    assert (iid["arm"], iid["against"], iid["relation"], iid["seeds"]) == ("sft_rl", "sft", "base", [0])
    assert zero_shot["measures"]["pass_at_1"]["p_corrected"] == 0.015625
    # clear on zero_shot alone: a filled dot; both figures on one scale
    drawn = [each.figure for each in charts(summarise(RunFolder(page.parents[1]))) if each.section == "paired"]
    assert [figure.data[0].marker.symbol for figure in drawn] == ["circle-open", "circle"]
    assert [figure.data[0].x for figure in drawn] == [(50.0,), (80.0,)]
    assert drawn[0].layout.xaxis.range == drawn[1].layout.xaxis.range


def test_a_run_of_one_arm_has_no_such_section(tmp_path):
    folder = finished_run(tmp_path)
    plan = json.loads(folder.plan_path.read_text())
    del plan["arms"]["sft_rl"]
    folder.plan_path.write_text(json.dumps(plan))
    assert "Differences on the same problems" not in build_report(folder).read_text()
