"""Counting completions: by hand, against pandas row by row, and past damaged files."""

import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.records import RunFolder, read_plan, write_part
from rlreason.report import counts as module
from rlreason.report.consistency import asked_differently
from rlreason.report.counts import KEYS, SUMS, count, count_outcomes
from rlreason.report.summary import summarise
from tests.report.synthetic import ATOMIC, STRONG, WEAK, Counts, finished_run, write_evaluation, write_plan

VERDICTS = st.sampled_from([True, False, None])
ROW = st.tuples(st.sampled_from("st"), st.sampled_from("ab"), st.sampled_from("pqr"), st.booleans(), VERDICTS, VERDICTS)


def as_table(rows: list[tuple]) -> pa.Table:
    names = ("stage", "level", "problem", "greedy", "correct", "derivation_correct")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    schema = pa.schema([(name, pa.string() if at < 3 else pa.bool_()) for at, name in enumerate(names)])
    return pa.table(columns, schema=schema).append_column("probe", pa.array([False] * len(rows), pa.bool_()))


@given(st.lists(ROW, max_size=30))
def test_counts_are_those_of_going_through_the_rows(rows):
    expected: dict[tuple, list[int]] = {}
    for stage, level, problem, greedy, correct, derived in rows:
        sums = expected.setdefault((stage, level, False, problem, greedy), [0] * len(SUMS))
        both = [correct and derived is not None, correct and derived]
        for at, one in enumerate((True, correct is not None, correct, derived is not None, derived, *both)):
            sums[at] += bool(one)
    found = count(as_table(rows)).to_pylist()
    # in the order in which keys first occur, too
    assert [(tuple(row[key] for key in KEYS), [row[name] for name in SUMS]) for row in found] == list(expected.items())


def test_counts_of_a_run_by_hand(tmp_path):
    folder = finished_run(tmp_path)
    counts = count_outcomes(folder, ["evaluate-sft-0", "evaluate-rl-0"])
    table = counts.table.set_index(list(KEYS))
    # the first of sft's problems: right, but with a wrong step; all four samples right
    assert table.loc[("evaluate-sft-0", "iid", False, "iid/0", True), list(SUMS)].tolist() == [1, 1, 1, 1, 0, 1, 0]
    assert table.loc[("evaluate-sft-0", "iid", False, "iid/0", False), list(SUMS)].tolist() == [4, 4, 4, 4, 4, 4, 4]
    # the last one could not be judged
    assert table.loc[("evaluate-sft-0", "iid", False, "iid/9", True), list(SUMS)].tolist() == [1, 0, 0, 0, 0, 0, 0]
    # two arms, ten problems of two levels and four of a probe, greedy and sampled
    assert len(table) == 2 * (10 + 10 + 4) * 2
    assert counts.failures.to_dict("records") == [
        {"stage": "evaluate-sft-0", "level": "iid", "cause": "PluginTimeout", "n": 1}
    ]
    assert counts.unreadable == {}


def test_batches_leave_no_seam(tmp_path, monkeypatch):
    folder = finished_run(tmp_path)
    # a second part that goes on with the first one's problems
    rows = pd.read_parquet(folder.records / "evaluations/evaluate-sft-0/part-000000.parquet")
    write_part(folder, "evaluations", "evaluate-sft-0", 1, rows)
    whole = count_outcomes(folder, ["evaluate-sft-0"]).table
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    pd.testing.assert_frame_equal(count_outcomes(folder, ["evaluate-sft-0"]).table, whole)
    assert whole["n"].sum() == 2 * len(rows)
    assert not whole.duplicated(list(KEYS)).any()


def test_no_completions_make_an_empty_table(tmp_path):
    counts = count_outcomes(RunFolder(tmp_path), ["evaluate-sft-0"])
    assert list(counts.table) == [*KEYS, *SUMS]
    assert counts.table.empty and counts.failures.empty


def truncate(folder: RunFolder, table: str, stage: str) -> None:
    path = folder.records / table / stage / "part-000000.parquet"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("table", ["evaluations", "problems"])
def test_a_truncated_file_is_named_and_the_other_arm_still_reported(tmp_path, table):
    folder = finished_run(tmp_path)
    truncate(folder, table, "evaluate-rl-0")
    summary = summarise(folder)
    what = {"evaluations": "completions", "problems": "problems"}[table]
    assert summary.missing[0].startswith(f"{what} of stage evaluate-rl-0 could not be read: ")
    assert "part-000000.parquet is not a whole Parquet file" in summary.missing[0]
    assert summary.arms["sft"].levels["iid"].pass_at_1.value == 0.5
    assert (summary.arms["sft_rl"].levels == {}) == (table == "evaluations")


def test_records_of_an_older_schema_are_named(tmp_path, monkeypatch):
    folder = finished_run(tmp_path)
    monkeypatch.setattr("rlreason.records.tables.SCHEMA_VERSION", 1)
    write_evaluation(folder, "evaluate-rl-0", STRONG, ATOMIC)
    monkeypatch.undo()
    missing = " ".join(summarise(folder).missing)
    assert "completions of stage evaluate-rl-0 could not be read" in missing
    assert "has records schema version 1" in missing


def test_damaged_updates_take_away_their_curve_alone(tmp_path):
    folder = finished_run(tmp_path)
    path = folder.records / "updates/rl-0/part-000001.parquet"
    path.write_bytes(b"PAR1")
    summary = summarise(folder)
    assert [curves.stage for curves in summary.curves] == ["sft-0"]
    assert summary.missing[0].startswith("updates of stage rl-0 could not be read: ")


def test_arms_that_were_asked_differently_are_told_apart(tmp_path):
    folder = finished_run(tmp_path)
    assert asked_differently(read_plan(folder), summarise(folder).counts.table) == []
    fewer = {"iid": Counts(4, [4] * 8), "zero_shot": STRONG["zero_shot"]}
    write_evaluation(folder, "evaluate-rl-0", fewer, ATOMIC)
    plan = folder.plan_path.read_text().replace('"config": {},', '"config": {"sampling": {"temperature": 1.0}},', 1)
    folder.plan_path.write_text(plan)
    assert summarise(folder).cautions[-2:] == (
        "The evaluations differ in sampling.temperature: 1.0 (sft, seed 0); not set (sft_rl, seed 0).",
        "Not all were asked the same problems on iid: 8 (sft_rl, seed 0); 10 (sft, seed 0); 8 are shared by all.",
    )


def test_differing_numbers_of_samples_are_told(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    write_plan(folder)
    write_evaluation(folder, "evaluate-sft-0", WEAK)
    monkeypatch.setattr("tests.report.synthetic.SAMPLES", 2)
    write_evaluation(folder, "evaluate-rl-0", {name: Counts(1, [1] * 10) for name in WEAK})
    said = "The number of samples a problem differs: 2 (sft_rl, seed 0); 4 (sft, seed 0)."
    assert said in summarise(folder).cautions


def test_a_folder_without_chances_has_none(tmp_path):
    folder = finished_run(tmp_path)
    problems = pd.read_parquet(folder.records / "problems/evaluate-sft-0/part-000000.parquet")
    write_part(folder, "problems", "evaluate-sft-0", 0, problems[problems["level"] == "zero_shot"])
    levels = summarise(folder).arms["sft"].levels
    assert levels["iid"].chance is None
    assert levels["zero_shot"].chance is not None and math.isclose(levels["zero_shot"].chance, 0.125)
