"""What a file may not hold: each refusal names file, row and column, what stands there and what may."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task
from tests.tasks.own_files import files_task, write_lines

GOOD = {"question": "1+1?", "answer": "2"}


def cells_of(path: Path, **parameters) -> None:
    _ = files_task({"train": path}, **parameters).cells


@pytest.mark.parametrize(
    ("rows", "parameters", "message"),
    [
        (
            [GOOD, {"qestion": "?", "answer": "2"}],
            {},
            r"column 'question' is not one of qestion, answer; did you .* \(.*rows\.jsonl row 2\); say under `columns`",
        ),
        ([GOOD, {**GOOD, "answer": ""}], {}, r"rows\.jsonl row 2, column 'answer': is empty; fill it in"),
        ([GOOD, {**GOOD, "answer": None}], {}, r"row 2, column 'answer': is empty"),
        ([GOOD, {**GOOD, "question": "  "}], {}, r"row 2, column 'question': is empty"),
        (
            [GOOD, {**GOOD, "answer": 2}],
            {},
            r"row 2, column 'answer': a number \('2'\), where row 1 has text; write one kind",
        ),
        (
            [GOOD, {**GOOD, "answer": ["2"]}],
            {},
            r"row 2, column 'answer': a list cannot be read; give text or a number",
        ),
        (
            [GOOD, {**GOOD, "answer": "two\nlines"}],
            {},
            r"row 2, .*answer 'two\\nlines' could not be found again .* one line",
        ),
        (
            [GOOD, {**GOOD, "answer": "few"}],
            {"grade": "number"},
            r"row 2, .*answer 'few' holds no single number; say grade: exact or math",
        ),
        (
            [{**GOOD, "n": "a"}, {**GOOD, "n": "b"}, {**GOOD, "n": "a"}],
            {"columns": {"id": "n"}},
            r"row 3, column 'n': 'a' is the id of row 1 too",
        ),
        (
            [GOOD],
            {"layout": "gsm8k"},
            r"row 1, column 'answer': holds no \"#### answer\" at its end; is the layout plain\?",
        ),
        (
            [{"question": "?", "answer": "1=1 #### "}],
            {"layout": "gsm8k"},
            r"row 1, column 'answer': the answer is empty",
        ),
        (
            [{"problem": "?", "solution": "so 2", "level": 1, "type": "a"}],
            {"layout": "math"},
            r"row 1, column 'solution': holds no answer in .*boxed",
        ),
        ([], {}, r"rows\.jsonl has no rows"),
    ],
)
def test_a_row_that_cannot_be_a_problem_is_named(tmp_path, rows, parameters, message):
    with pytest.raises(TaskError, match=message):
        cells_of(write_lines(tmp_path / "rows.jsonl", rows), **parameters)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"question": "1?", "answer": "1"}\n\n{"question": "1?", "ans',
            r"a\.jsonl row 3 is not JSON: .*cut off there",
        ),
        (
            "a.json",
            b'[{"question": "1?", "answer": "1"}]\n',
            r"a\.json row 1 is JSON, but not an object .*one object a line",
        ),
        ("a.jsonl", b'{"question": "\xff", "answer": "1"}\n', r"row 1 is not JSON: 'utf-8' codec"),
        ("a.csv", b"question,answer\n1?,1\n2?\n", r"a\.csv row 2 has 1 fields, and the header 2"),
        (
            "a.csv",
            b'question,answer\n1?,1\n2?,"2',
            r"a\.csv: cannot be read as CSV after row 1: unexpected end of data",
        ),
        ("a.csv", b"q,answer\n1?,1\n", r"column 'question' is not one of q, answer \(.*a\.csv\)"),
        ("a.csv", b"", r"column 'question' is not one of nothing"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet: cannot be read as Parquet, it may be cut off: "),
        ("a.xlsx", b"x", r"a\.xlsx: '\.xlsx' is no format that can be read; give \.jsonl"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message):
        cells_of(tmp_path / name)


def test_a_folder_that_is_no_dataset_and_a_split_that_is_not_there_are_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        TaskError, match=r"empty: cannot be read as a dataset folder .*; give the folder that datasets'"
    ):
        cells_of(tmp_path / "empty")
    rows = datasets.Dataset.from_list([GOOD])
    datasets.DatasetDict({"training": rows}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(TaskError, match=r"split 'train' is not one of training; did you mean 'training'\?"):
        cells_of(tmp_path / "splits")
    datasets.Dataset.from_list([{**GOOD, "answer": {"text": "2"}}]).save_to_disk(str(tmp_path / "nested"))
    with pytest.raises(TaskError, match=r"nested row 1, column 'answer': a dict cannot be read"):
        cells_of(tmp_path / "nested")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "tasks.own.levels is missing: Level -> its file"),
        ({"levels": {}}, "tasks.own.levels: "),
        ({"levels": {"a b": "x.jsonl"}}, "tasks.own.levels.a b"),
        (
            {"levels": {"train": "x"}, "layout": "gsm"},
            "tasks.own.layout 'gsm': Input should be 'plain', 'gsm8k' or 'math'",
        ),
        ({"levels": {"train": "x"}, "columns": {"qestion": "q"}}, "'qestion' is not one of .*did you mean 'question'"),
        ({"levels": {"train": "x"}, "columns": {"answer": None}}, "there are no answers: name columns.answer"),
        (
            {"levels": {"train": "x"}, "prompt": "Q: {text}"},
            r"tasks.own.prompt 'Q: {text}': a prompt holds {question} and no other",
        ),
        ({"levels": {"train": "x"}, "prompt": "{question.__class__}"}, "a prompt holds {question} and no other"),
        ({"levels": {"train": "x"}, "prompt": "no question"}, "a prompt holds {question} and no other"),
        ({"levels": {"train": "x"}, "prompt": "{question"}, "tasks.own.prompt"),
        ({"levels": {"train": "x"}, "grade": "fuzzy"}, "tasks.own.grade 'fuzzy'"),
        ({"levels": {"train": "x"}, "overlap_words": -1}, "tasks.own.overlap_words -1"),
    ],
)
def test_parameters_that_mean_nothing_are_named(parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("own", "files", parameters)


def test_what_a_layout_fills_in_can_be_taken_out_and_travels(tmp_path):
    rows = [{"problem": "1+1?", "solution": "It is \\boxed{2}."}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(TaskError, match=re.escape("column 'level' is not one of problem, solution")):
        cells_of(path, layout="math")
    task = files_task({"train": path}, layout="math", columns={"cell": None, "family": None})
    assert [cell.name for cell in task.cells] == ["own/all"]
    again = build_task("own", "files", task.parameters.model_dump(mode="json"))
    assert again.parameters == task.parameters
