import json
import re

import pytest

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, read_plan
from rlreason.report.errors import summarise_errors
from rlreason.report.errors_figures import OTHER_KINDS, kind_colors
from rlreason.report.errors_tables import error_tables
from tests.report.synthetic import write_plan
from tests.report.wrong_run import Told, write_told

TWO = {"gold_steps": 2}


@pytest.fixture
def folder(tmp_path):
    write_plan(RunFolder(tmp_path))
    return RunFolder(tmp_path)


def errors_of(folder):
    found = summarise_errors(folder, read_plan(folder))
    assert found is not None
    return found


def counted(frame, category, number="n", **only):
    for column, value in ({"arm": "sft", "level": "iid"} | only).items():
        frame = frame[frame[column] == value]
    return {name: int(count) for name, count in zip(frame[category], frame[number], strict=True) if count}


def test_first_errors_are_counted_among_all_and_among_wrong_answers(folder):
    told = [
        Told("a", True, "rr"),
        Told("b", True, "wr", "premise", 0),
        Told("c", False, "rw", "context_hop", 1),
        Told("d", False, "rw", "context_hop", 1),
        Told("e", False, "r", "stop", 1),
        Told("f", None),
        Told("g", False, "w"),  # a check that gives no kind
    ]
    write_told(
        folder, "evaluate-sft-0", {"iid": told}, sampled=(Told("a", False, "w", "format", 0), Told("a", True, "r"))
    )
    errors = errors_of(folder)
    assert counted(errors.kinds, "kind", "all") == {
        "context_hop": 2, "premise": 1, "stop": 1, "not judged": 1, "not named": 1,
    }  # fmt: skip
    assert counted(errors.kinds, "kind", "wrong") == {"context_hop": 2, "stop": 1, "not named": 1}
    assert counted(errors.kinds, "kind", "sampled") == {"format": 1}
    assert errors.kind_names[0] == "context_hop"
    assert errors.totals.iloc[0][["completions", "wrong", "not_judged"]].tolist() == [7, 4, 1]


def test_the_first_error_is_placed_by_the_steps_that_the_gold_derivation_has(folder):
    # of 4 gold steps: none stand before it; 1 does; 2 and 3 do; all do
    told = [Told(str(at), False, "rrrr", "k", at) for at in range(5)]
    write_told(folder, "evaluate-sft-0", {"iid": told}, {str(at): {"gold_steps": 4} for at in range(5)})
    assert counted(errors_of(folder).places, "place") == {
        "first step": 1, "first half": 1, "second half": 2, "past the last step": 1,
    }  # fmt: skip


def test_a_right_answer_with_fewer_right_steps_than_needed_is_a_shortcut(folder):
    told = [
        Told("a", True, "rr"),
        Told("b", True, "rwr", "order", 1),  # both needed steps, and another
        Told("c", True, "rw", "premise", 1),
        Told("d", True, "ww", "premise", 0),
        Told("e", True, "r", "stop", 1),
        Told("f", False, "r", "stop", 1),  # not right: none of them
    ]
    write_told(folder, "evaluate-sft-0", {"iid": told}, dict.fromkeys("abcdef", TWO))
    errors = errors_of(folder)
    assert counted(errors.ways, "way") == {
        "every step right": 1, "other steps beside": 1, "a needed step wrong": 2, "a needed step left out": 1,
    }  # fmt: skip
    (table,) = error_tables(errors)["error_ways"]
    assert [cell.text for cell in table.rows[0][:3]] == ["sft", "5", "60.0%"]


def test_without_the_number_of_gold_steps_shortcuts_are_not_told_apart_and_the_report_says_so(folder):
    write_told(folder, "evaluate-sft-0", {"iid": [Told("a", True, "w", "k", 0), Told("b", True, "r")]})
    errors = errors_of(folder)
    assert counted(errors.ways, "way") == {"every step right": 1, "steps not right": 1}
    assert errors.places.empty
    assert any("how many steps the gold derivations have" in line for line in errors.not_told)


def test_a_path_says_how_many_steps_are_needed_where_an_older_evaluation_does_not(folder):
    write_told(folder, "evaluate-sft-0", {"iid": [Told("a", True, "r", "stop", 1)]}, {"a": {"path": ["x", "y"]}})
    assert counted(errors_of(folder).ways, "way") == {"a needed step left out": 1}


def test_a_detail_of_the_same_name_that_is_no_path_is_left_alone(folder):
    write_told(folder, "evaluate-sft-0", {"iid": [Told("a", False, "w", "k", 0)]}, {"a": {"path": "x.png"}})
    errors = errors_of(folder)
    assert errors.breakdowns.by_operation.empty
    assert errors.places.empty


def test_seeds_are_pooled_and_an_arm_without_errors_is_listed_with_none(tmp_path):
    folder = RunFolder(tmp_path)
    write_plan(folder, seeds=(0, 1))
    for seed, steps in ((0, "rw"), (1, "ww")):
        told = Told("a", False, steps, "k", steps.index("w"))
        write_told(folder, f"evaluate-sft-{seed}", {"iid": [told]}, {"a": TWO})
        write_told(folder, f"evaluate-rl-{seed}", {"iid": [Told("a", True, "rr")]}, {"a": TWO})
    errors = errors_of(folder)
    assert counted(errors.places, "place") == {"first step": 1, "second half": 1}
    (table,) = error_tables(errors)["error_kinds"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["sft", "100.0%", "100.0%"],
        ["sft_rl", "0.0%", "0.0%"],
    ]


def test_a_damaged_evaluation_is_named_and_the_others_are_counted(folder):
    write_told(folder, "evaluate-sft-0", {"iid": [Told("a", True, "r")]})
    write_told(folder, "evaluate-rl-0", {"iid": [Told("a", True, "r")]})
    part = folder.records / "evaluations" / "evaluate-rl-0" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:100])
    errors = errors_of(folder)
    assert set(errors.totals["arm"]) == {"sft"}
    assert any(line.startswith("evaluate-rl-0 is left out") and "truncated" in line for line in errors.not_told)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("evaluations", "steps", "{}"), ("evaluations", "steps", ""), ("problems", "detail", "[1")],
)
def test_malformed_json_in_the_records_names_stage_problem_column_and_value(folder, monkeypatch, table, column, value):
    from tests.report import wrong_run

    write = wrong_run.write_part

    def write_malformed(folder, name, stage, part, rows):
        return write(folder, name, stage, part, rows | {column: [value]} if name == table else rows)

    monkeypatch.setattr(wrong_run, "write_part", write_malformed)
    write_told(folder, "evaluate-sft-0", {"iid": [Told("a", False, "w", "k", 0)]})
    message = f"{table}, stage evaluate-sft-0, problem a: column '{column}' holds {re.escape(repr(value))}, not"
    with pytest.raises(RecordsError, match=message):
        summarise_errors(folder, read_plan(folder))


def test_no_finished_evaluation_makes_no_section(folder):
    assert summarise_errors(folder, read_plan(folder)) is None


def test_kinds_beyond_the_palette_share_one_colour(folder):
    told = [Told(str(kind), False, "w", f"kind_{kind}", 0) for kind in range(12)]
    write_told(folder, "evaluate-sft-0", {"iid": told})
    colors = kind_colors(errors_of(folder))
    assert len(set(colors.values())) == len(colors) == 7
    assert list(colors)[-1] == OTHER_KINDS


def test_the_report_tells_it_in_all_forms(plain_page):
    report = plain_page.parent
    told = json.loads((report / "report.json").read_text())["errors"]
    # of 10 greedy completions of sft on iid: 3 right throughout, 2 right with a wrong step, 4 wrong, 1 not judged
    assert {
        "arm": "sft",
        "level": "iid",
        "probe": False,
        "kind": "context_hop",
        "all": 6,
        "wrong": 4,
        "sampled": 20,
    } in told["kinds"]
    assert told["definitions"]["error_ways"].startswith("A right answer is a shortcut where")
    assert "Where it goes wrong" in (report / "report.html").read_text()
    assert "### First errors" in (report / "report.md").read_text()


def test_steps_that_a_task_does_not_check_have_no_kind_and_the_report_says_so(folder):
    unchecked = [Told("a", False, checked=False), Told("b", True, checked=False)]
    write_told(folder, "evaluate-sft-0", {"iid": unchecked})
    errors = errors_of(folder)
    assert counted(errors.kinds, "kind", "wrong") == {"steps not checked": 1}
    assert errors.ways.empty
    assert any("task people did not check the steps" in line for line in errors.not_told)
