"""Several runs side by side, refusals by name, and the page over many."""

import re
import shutil

import pytest
import yaml

from rlreason.errors import RecordsError, UserError
from rlreason.records import RunFolder, read_json, write_json, write_text
from rlreason.report import build_report
from rlreason.report.compare import RunsDiffer, compare_runs, open_run
from rlreason.report.compare_page import compared_tables, write_comparison
from rlreason.report.index import find_runs, index_runs, write_index
from tests.report.synthetic import ATOMIC, STRONG, WEAK, Counts, finished_run, write_evaluation

TASKS = {"people": {"type": "complementary", "people": 32}}


@pytest.fixture
def runs(tmp_path) -> tuple[RunFolder, RunFolder]:
    """Two runs of one recipe; in the second sft answers 7 of iid's 10 problems, in the first 5."""
    pair = (finished_run(tmp_path / "one"), finished_run(tmp_path / "two"))
    write_evaluation(pair[1], "evaluate-sft-0", {"iid": Counts(7, [4] * 10), "zero_shot": WEAK["zero_shot"]}, ATOMIC)
    for run in pair:
        write_text(run.recipe_path, yaml.safe_dump({"tasks": TASKS}))
    return pair


def test_arms_of_all_runs_meet_on_the_same_problems(runs):
    compared = compare_runs(runs)
    assert (list(compared.arms), compared.against) == (["one/sft", "one/sft_rl", "two/sft", "two/sft_rl"], "one/sft")
    assert {name: arm.levels["iid"].pass_at_1.value for name, arm in compared.arms.items()} == {
        "one/sft": 0.5,
        "one/sft_rl": 1.0,
        "two/sft": 0.7,
        "two/sft_rl": 1.0,
    }
    iid = {each.pair.arm: each.measures["pass_at_1"] for each in compared.comparisons("iid")}
    assert {arm: round(found.difference.value, 9) for arm, found in iid.items()} == {
        "one/sft_rl": 0.5,
        "two/sft": 0.2,
        "two/sft_rl": 0.5,
    }
    # two problems differ, both one way: McNemar 2 / 2^2
    assert iid["two/sft"].p == 0.5
    assert compared.missing == ()
    assert compared.as_json()["arms"]["two/sft"]["levels"]["iid"]["pass_at_1"] == 0.7


def test_any_arm_may_be_the_one_to_compare_with(runs):
    compared = compare_runs(runs, against="two/sft")
    [first, *_] = compared.comparisons("iid")
    assert (first.pair.arm, first.measures["pass_at_1"].difference.value) == ("one/sft", pytest.approx(-0.2))
    with pytest.raises(UserError, match=r"--against 'sft' is no arm of these runs; name one of one/sft, "):
        compare_runs(runs, against="sft")


def test_the_page_and_the_tables_say_the_same(runs, tmp_path):
    compared = compare_runs(runs)
    [levels] = compared_tables(compared)["levels"]
    assert [cell.text for cell in levels.rows[2]] == ["two/sft", "0", "70.0%", "10.0%"]
    write_comparison(compared, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    assert "two/sft vs one/sft" in page and "+20.0" in page
    assert page.count('class="plot"') == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"samples": 2}, "evaluation.samples is 4 in one and 2 in two"),
        ({"k": [1, 2]}, r"evaluation.k is \[1, 2, 4\] in one and \[1, 2\] in two"),
        ({"levels": ["iid"]}, r'evaluation.levels is \["iid", "zero_shot"\] in one and \["iid"\] in two'),
    ],
)
def test_runs_of_another_evaluation_are_refused_by_what_differs(runs, change, named):
    plan = read_json(runs[1].plan_path)
    plan["evaluation"] |= change
    write_json(runs[1].plan_path, plan)
    with pytest.raises(RunsDiffer, match=named):
        compare_runs(runs)


def test_a_setting_that_an_older_run_does_not_know_and_is_off_is_no_difference(runs):
    plan = read_json(runs[1].plan_path)
    for stage in plan["stages"].values():
        stage["config"]["interpolation"] = None
    write_json(runs[1].plan_path, plan)
    assert compare_runs(runs).missing == ()


def test_other_sampling_tasks_and_problems_are_refused(runs):
    plan = read_json(runs[1].plan_path)
    for stage in plan["stages"].values():
        if stage["type"] == "evaluate":
            stage["config"] = {"sampling": {"temperature": 0.7}}
    write_json(runs[1].plan_path, plan)
    write_text(runs[1].recipe_path, yaml.safe_dump({"tasks": {"people": {"type": "complementary", "people": 64}}}))
    for stage in ("evaluate-sft-0", "evaluate-rl-0"):
        write_evaluation(runs[1], stage, {"iid": Counts(3, [4] * 8), "zero_shot": STRONG["zero_shot"]}, ATOMIC)
    with pytest.raises(RunsDiffer) as refused:
        compare_runs(runs)
    said = str(refused.value)
    assert "evaluation.sampling.temperature is not set in one and 0.7 in two" in said
    assert "tasks.people.people is 32 in one and 64 in two" in said
    assert re.search(r"the problems of iid \(number, hash\) is 14, [0-9a-f]{12} in one and 12, ", said)  # 4 of a probe
    assert "zero_shot" not in said


def test_what_cannot_be_compared_at_all_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="nothing to compare one run with"):
        compare_runs(runs[:1])
    with pytest.raises(UserError, match="is named twice"):
        compare_runs([runs[0], runs[0]])
    for stage in ("evaluate-sft-0", "evaluate-rl-0"):
        (runs[1].stage(stage) / "done.json").unlink()
    with pytest.raises(UserError, match="the run two has no finished evaluation"):
        compare_runs(runs)
    with pytest.raises(RecordsError, match=r"is no run's folder: it has no plan\.json"):
        open_run(tmp_path)


def test_an_unfinished_arm_and_a_damaged_file_are_named(runs):
    (runs[1].stage("evaluate-rl-0") / "done.json").unlink()
    path = runs[0].records / "evaluations/evaluate-rl-0/part-000000.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    compared = compare_runs(runs)
    damaged, unfinished = compared.missing
    assert damaged.startswith("one: stage evaluate-rl-0 could not be read: ")
    assert unfinished == "two: arm sft_rl, seed 0: its evaluation has not finished"
    assert compared.arms["one/sft_rl"].levels == {}
    assert len(compared.comparisons("iid")) == 1


def test_the_index_lists_every_run_and_what_is_wrong_with_it(runs, tmp_path):
    build_report(runs[0])
    report = read_json(runs[0].report / "report.json")
    verdicts = [{"verdict": "synthesis", "arm": "sft_rl", "level": "zero_shot"}]
    write_json(runs[0].report / "report.json", {**report, "verdict": {"verdicts": verdicts}})
    damaged = tmp_path / "deep" / "three"
    shutil.copytree(runs[1].path, damaged)
    write_json(damaged / "report" / "report.json", {"recipe": "old"})
    told = {str(run.path): run for run in index_runs(tmp_path)}
    assert list(told) == ["one", "deep/three", "two"]
    assert told["one"].verdict == "synthesis: sft_rl on zero_shot"
    figures = told["one"].as_json()["arms"]
    assert figures == {"sft": {"iid": 0.5, "zero_shot": 0.1}, "sft_rl": {"iid": 1.0, "zero_shot": 0.9}}
    assert told["two"].problem == f"it has no report yet; rlreason report {tmp_path / 'two'} writes one"
    assert told["deep/three"].problem.startswith("its report.json cannot be read (KeyError('provenance'))")
    page = write_index(tmp_path).read_text()
    assert 'href="one/report/report.html"' in page
    assert "it has no report yet" in page


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run in"):
        find_runs(tmp_path)
    with pytest.raises(UserError, match=r"nowhere is no folder"):
        find_runs(tmp_path / "nowhere")
