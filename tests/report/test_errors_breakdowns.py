import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from rlreason.records import RunFolder, read_plan
from rlreason.report.breakdowns import _length_range, break_down
from rlreason.report.errors import summarise_errors
from rlreason.report.greedy import read_greedy
from tests.report.synthetic import write_plan
from tests.report.wrong_run import Told, write_told


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder, seeds=(0, 1))
    return folder


def breakdowns(folder):
    return summarise_errors(folder, read_plan(folder)).breakdowns


def answers(right):
    """Problems 0, 1, ...: right where the letter is r."""
    return [
        Told(str(number), letter == "r", letter, "k" if letter == "w" else "") for number, letter in enumerate(right)
    ]


def test_a_problem_counts_once_with_its_mean_over_seeds(run):
    write_told(run, "evaluate-sft-0", {"iid": answers("rrww")})
    write_told(run, "evaluate-sft-1", {"iid": answers("rwww")})
    (row,) = breakdowns(run).by_difficulty.to_dict("records")
    low, high = proportion_confint(1.5, 4, method="wilson")
    assert (row["value"], row["problems"], row["right"]) == (2, 4, 0.375)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_a_question_counts_for_each_operation_of_its_path_once(run):
    details = {"0": {"path": ["boss", "boss", "pet"]}, "1": {"path": ["pet", "rival"]}}
    write_told(run, "evaluate-sft-0", {"iid": answers("rw")}, details)
    found = breakdowns(run).by_operation
    assert {row["value"]: (row["problems"], row["right"]) for row in found.to_dict("records")} == {
        "boss": (1, 1.0), "pet": (2, 0.5), "rival": (1, 0.0),
    }  # fmt: skip


def test_lengths_are_told_only_where_they_are_not_the_difficulty(run):
    same = {"0": {"gold_steps": 5}, "1": {"gold_steps": 7}}
    write_told(run, "evaluate-sft-0", {"iid": answers("rw")}, same)
    assert breakdowns(run).by_length.empty
    write_told(run, "evaluate-sft-0", {"iid": answers("rw")}, {"0": {"gold_steps": 2}, "1": {"gold_steps": 7}})
    found = breakdowns(run).by_length
    assert dict(zip(found["value"], found["right"], strict=True)) == {"2": 1.0, "5 to 8": 0.0}


@given(st.integers(1, 10**6))
def test_every_number_of_steps_falls_in_one_range_and_ranges_meet(steps):
    first, last = _length_range(steps)
    assert first <= steps <= last < 2 * first
    assert _length_range(last + 1)[0] == last + 1


def test_cells_are_held_against_the_base_arm(run):
    write_told(run, "evaluate-sft-0", {"iid": answers("rwww")})
    write_told(run, "evaluate-rl-0", {"iid": answers("rrrw")})
    base, arm = breakdowns(run).transfer.to_dict("records")
    assert (base["arm"], base["right"]) == ("sft", 0.25)
    assert base["difference"] != base["difference"]  # it has no base
    assert (arm["against"], arm["value"], arm["difference"]) == ("sft", "people/2", 0.5)


def test_a_forgotten_skill_shows_as_a_paired_difference_to_the_base(run):
    # one seed both were asked under; the base right on 8 of 10, the arm on 2 of them: McNemar 6 against 0, 2 * .5^6
    write_told(run, "evaluate-sft-0", {"contextual": answers("rrrrrrrrww")}, probes=("contextual",))
    write_told(run, "evaluate-sft-1", {"contextual": answers("rrrrrrrrww")}, probes=("contextual",))
    write_told(run, "evaluate-rl-0", {"contextual": answers("rrwwwwwwww")}, probes=("contextual",))
    (skill,) = breakdowns(run).forgetting
    assert (skill.probe, skill.arm, skill.against, skill.seeds, skill.problems) == (
        "contextual",
        "sft_rl",
        "sft",
        (0,),
        10,
    )
    assert (skill.before, skill.after) == (0.8, 0.2)
    assert skill.difference.difference.value == pytest.approx(-0.6)
    assert skill.difference.p == pytest.approx(2 * 0.5**6)


def test_probes_are_not_among_the_levels(run):
    write_told(run, "evaluate-sft-0", {"contextual": answers("rw")}, probes=("contextual",))
    read = read_greedy(run, read_plan(run))
    told = break_down(read.rows, read_plan(run))
    assert told.by_difficulty.empty
    assert told.transfer["level"].tolist() == ["contextual"]
    assert told.forgetting == ()
