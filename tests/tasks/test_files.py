"""A user's own rows as problems: layouts, cells, levels, answers and steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import TaskError
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards import builtin
from rlreason.rewards.pool import ScoringPool
from rlreason.tasks import build_task, task_spec
from rlreason.tasks.sampling import sample
from tests.tasks.own_files import files_task, write_lines

PEARS = {
    "question": "Mira packs 48 pears in April and half as many in May. How many pears does she pack?",
    "answer": "In May she packs 48/2 = <<48/2=24>>24 pears.\nThat makes 48+24 = <<48+24=72>>72 pears.\n#### 72",
}
PUMP = {
    "question": "A pump moves 12 litres a minute. How many litres does it move in 2 hours?",
    "answer": "2 hours are 2*60=<<2*60=120>>120 minutes.\nIt moves 12*120=<<12*120=1440>>1440 litres.\n#### 1,440",
}
HALVES = {
    "problem": "What is $\\frac{1}{4}+\\frac{1}{4}$?",
    "solution": "Two quarters are a half, so the sum is $\\boxed{\\frac{1}{2}}$.",
    "level": "Level 3",
    "type": "Intermediate Algebra",
}


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gsm8k")
    levels = {"test": write_lines(folder / "test.jsonl", [PUMP]), "train": write_lines(folder / "train.jsonl", [PEARS])}
    return files_task(levels, layout="gsm8k")


def test_a_gsm8k_row_is_read_as_it_stands(gsm8k):
    assert gsm8k.levels == ("train", "test"), "for training first"
    assert [cell.name for cell in gsm8k.cells] == ["own/all"]
    problem = gsm8k.problem("train", "own/all", 0)
    assert problem.prompt == f"Question: {PEARS['question']}\nAnswer:"
    assert (problem.id, problem.answer, problem.target) == ("train/own-all/1", "72", f" {PEARS['answer']}")
    check = gsm8k.check(problem, problem.target)
    assert [problem.target[step.start : step.end] for step in check.steps] == ["<<48/2=24>>", "<<48+24=72>>"]
    assert builtin.derivation(problem, problem.target, check) == 1.0


@pytest.mark.parametrize(
    ("text", "answer_right", "first_error", "kind"),
    [
        (" 48 / 2 = 24 and 48 + 24 = 72. The answer is 72.", True, None, ""),
        (" 48/2=<<48/2=24>>24. 48+24=<<48+24=72>>72. #### 72.00", True, None, ""),
        (" <<48/2=25>> <<48+25=73>> #### 73", False, 0, "arithmetic"),
        (" <<48/2=24>> <<48+24=72>> #### 24", False, 2, "answer"),
        (" <<48/2=24>> #### 72", True, 1, "stop"),  # no step gives 72
        (" <<48+24=72>> #### 72", True, 0, "premise"),  # where does 24 come from?
        (" <<9+63=72>> #### 72", True, 0, "premise"),
        (" <<2/48=24>> <<48+24=72>> #### 72", True, 0, "arithmetic"),
        (" <<48/2=24>> <<48/2=24>> <<48+24=72>> #### 72", True, 1, "repeated"),
        (" <<half of 48>> <<48+24=72>> #### 72", True, 0, "format"),
        (" 48/2=24, 48+24=72", False, 2, "stop"),
        ("", False, 0, "stop"),
    ],
)
def test_the_first_error_is_found_where_it_is(gsm8k, text, answer_right, first_error, kind):
    check = gsm8k.check(gsm8k.problem("train", "own/all", 0), text)
    assert (check.answer_correct, check.first_error, check.first_error_kind) == (answer_right, first_error, kind)
    assert check.derivation_correct == (first_error is None)


def test_a_constant_that_the_gold_derivation_brings_in_is_known(gsm8k):
    problem = gsm8k.problem("test", "own/all", 0)
    assert gsm8k.check(problem, problem.target).derivation_correct
    assert gsm8k.check(problem, " 60 * 2 = 120, 120 * 12 = 1440 #### 1440").derivation_correct
    assert gsm8k.check(problem, " 1 + 60 = 61 #### 1440").first_error_kind == "premise"


def test_a_math_row_has_its_subject_and_level_as_cell_and_its_box_as_answer(tmp_path):
    task = files_task({"train": write_lines(tmp_path / "math.jsonl", [HALVES])}, layout="math")
    (cell,) = task.cells
    assert (cell.name, cell.family, cell.difficulty) == ("intermediate_algebra/level_3", "intermediate_algebra", 3)
    problem = task.problem("train", cell.name, 0)
    assert (problem.answer, problem.target) == ("\\frac{1}{2}", f" {HALVES['solution']}")
    for text, right in (
        (problem.target, True),
        ("so it is \\boxed{\\frac{2}{4}}", True),
        ("The answer is $0.5$.", True),
        ("The answer is 1/2", True),
        ("\\boxed{\\frac{1}{3}}", False),
        ("\\boxed{" + "{" * 600 + "}" * 600 + "}", False),
        ("\\boxed{(1, 2}", False),
        ("nothing", False),
    ):
        assert task.check(problem, text).answer_correct is right, text


def test_steps_that_cannot_be_judged_are_said_not_to_be(tmp_path):
    task = files_task({"train": write_lines(tmp_path / "math.jsonl", [HALVES])}, layout="math")
    problem = task.problem("train", task.cells[0].name, 0)
    check = task.check(problem, problem.target)
    assert (check.steps, check.derivation_correct, check.first_error) == ((), None, None)
    with pytest.raises(ValueError, match=r"task 'own' does not check the steps of problem 'train/.*/1'; use .*answer"):
        builtin.derivation(problem, problem.target, check)


def test_a_task_of_text_answers_closes_the_derivation_with_the_answer(tmp_path):
    rows = [
        {"q": "Which?", "a": "Blue whale", "why": "It is the largest."},
        {"q": "Whose?", "a": "Ann", "why": "So, the answer is: Ann."},
    ]
    columns = {"question": "q", "answer": "a", "derivation": "why"}
    task = files_task({"train": write_lines(tmp_path / "a.jsonl", rows)}, columns=columns, prompt="{question}\n")
    first, second = (task.problem("train", "own/all", index) for index in range(2))
    assert (first.prompt, first.target) == ("Which?\n", " It is the largest.\nSo, the answer is: Blue whale")
    assert second.target == " So, the answer is: Ann."
    assert task.check(first, " The answer is  Blue  whale.\nTrue.").answer_correct
    assert not task.check(first, " The answer is blue").answer_correct
    assert task.check(first, first.target).derivation_correct is None, "no arithmetic to check"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder", "split"])
def test_every_format_gives_the_same_problems(tmp_path, kind):
    rows = [{"id": f"r{number}", "question": f"{number}+1?", "answer": str(number + 1)} for number in range(5)]
    path = tmp_path / f"rows.{kind}"
    match kind:
        case "jsonl":
            write_lines(path, rows)
        case "csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        case "parquet":
            pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
            pq.write_table(pa.Table.from_pylist(rows), path)
        case _:
            datasets = pytest.importorskip("datasets")
            made = datasets.Dataset.from_list(rows[::-1]).select(range(4, -1, -1))  # rows behind an index
            (made if kind == "folder" else datasets.DatasetDict({"train": made})).save_to_disk(str(path))
    task = files_task({"train": path}, columns={"id": "id"}, grade="number")
    made = [task.problem("train", "own/all", index) for index in range(5)]
    assert [(one.id, one.answer) for one in made] == [(f"train/own-all/r{n}", str(n + 1)) for n in range(5)]


def test_numbers_as_answers_are_written_as_people_do(tmp_path):
    rows = [{"question": "a?", "answer": 3.0}, {"question": "b?", "answer": 2.5}, {"question": "c?", "answer": -7}]
    task = files_task({"train": write_lines(tmp_path / "n.jsonl", rows)})
    assert [task.problem("train", "own/all", index).answer for index in range(3)] == ["3", "2.5", "-7"]


def test_several_files_of_a_level_follow_each_other(tmp_path):
    one = write_lines(tmp_path / "1.jsonl", [PEARS])
    two = write_lines(tmp_path / "2.jsonl", [PUMP])
    task = build_task("own", "files", {"levels": {"train": [str(one), str(two)]}, "layout": "gsm8k"})
    assert [task.problem("train", "own/all", index).id for index in (0, 1)] == [
        "train/own-all/1-1",
        "train/own-all/2-1",
    ]


def test_cells_come_from_a_column_the_easiest_first(tmp_path):
    rows = [
        {"question": f"{n}?", "answer": n, "hard": hard} for n, hard in enumerate(["Level 5", "level 10", "Level ?"])
    ]
    task = files_task({"train": write_lines(tmp_path / "a.jsonl", rows)}, columns={"cell": "hard"})
    assert [(cell.name, cell.difficulty) for cell in task.cells] == [
        ("own/level", 0),
        ("own/level_5", 5),
        ("own/level_10", 10),
    ]
    rows = [{"question": f"{n}?", "answer": n, "hard": hard} for n, hard in enumerate(["easy", "Hard", "easy"])]
    task = files_task({"train": write_lines(tmp_path / "b.jsonl", rows)}, columns={"cell": "hard"})
    assert [(cell.name, cell.difficulty) for cell in task.cells] == [("own/easy", 1), ("own/hard", 2)]
    assert [task.problem("train", "own/easy", index).answer for index in (0, 1)] == ["0", "2"]


def test_a_level_without_rows_in_a_cell_says_which_it_has(tmp_path):
    train = write_lines(tmp_path / "a.jsonl", [{"question": f"{n}?", "answer": n, "hard": n % 2} for n in range(5)])
    test = write_lines(tmp_path / "b.jsonl", [{"question": "x?", "answer": 1, "hard": 1}])
    task = files_task({"train": train, "test": test}, columns={"cell": "hard"})
    with pytest.raises(TaskError, match=r"level 'test' has no rows in cell 'own/0' \(its rows: own/1 1\)"):
        task.problem("test", "own/0", 0)
    with pytest.raises(TaskError, match="cell of task 'own' 'own/2' is not one of own/0, own/1"):
        task.problem("test", "own/2", 0)
    with pytest.raises(TaskError, match="level of task 'own' 'iid' is not one of train, test"):
        task.problem("iid", "own/1", 0)


def test_training_goes_round_and_an_evaluation_asks_no_question_twice(tmp_path):
    rows = [{"question": f"{n}?", "answer": n} for n in (1, 2, 3, 2)]
    task = files_task({"train": write_lines(tmp_path / "a.jsonl", rows)})
    drawn = [task.problem("train", "own/all", index) for index in range(9)]
    assert [one.answer for one in drawn] == ["1", "2", "3", "2", "1", "2", "3", "2", "1"]
    assert len({one.id for one in drawn}) == 9, "two draws of a row are told apart"
    assert drawn[8].id == "train/own-all/1/again-2"
    assert [one.answer for one in sample(task, "train", ["own/all"], 100)] == ["1", "2", "3"]


def test_chance_is_the_share_of_the_most_frequent_answer(tmp_path):
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate("AABAC")]
    task = files_task({"train": write_lines(tmp_path / "a.jsonl", rows)})
    assert task.chance("train", "own/all") == 3 / 5


def test_the_words_are_those_of_the_texts_and_numbers_are_spelled(gsm8k):
    words = gsm8k.words()
    assert {"Question", "Answer", "Mira", "pears", "litres", ".", "?", "#"} <= set(words)
    assert not any(character.isdigit() for word in words for character in word)
    assert "{" not in words and len(words) == len(set(words))


def test_a_worker_scores_and_never_opens_the_files(tmp_path):
    path = write_lines(tmp_path / "train.jsonl", [PEARS])
    task = files_task({"train": path}, layout="gsm8k")
    problem = task.problem("train", "own/all", 0)
    spec = task_spec(task)
    path.unlink()
    assert build_task(**spec).check(problem, problem.target).derivation_correct
    rubric = Rubric(parts=(Reward(spec="rlreason.rewards.builtin:derivation"),))
    with ScoringPool(rubric, {"own": spec}) as pool:
        right, wrong = pool.score([(problem, problem.target), (problem, " #### 71")])
    assert (right.reward, right.correct, wrong.reward, wrong.correct) == (1.0, True, 0.0, False)


def test_the_commands_know_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "train.jsonl", [PEARS])
    asked = ["--set", "levels={train: train.jsonl}", "--set", "layout=gsm8k", "--json"]
    (problem,) = json.loads(CliRunner().invoke(app, ["sample", "files", *asked]).stdout)
    assert problem["answer"] == "72" and problem["task"] == "files"
    (cell,) = json.loads(CliRunner().invoke(app, ["difficulty", "files", "--level", "train", *asked]).stdout)
    assert (cell["cell"], cell["problems"], cell["chance"]) == ("files/all", 1, 1.0)
    assert "levels" in CliRunner().invoke(app, ["tasks", "files"]).output
    missing = CliRunner().invoke(app, ["sample", "files", "--set", "levels={train: trian.jsonl}"])
    assert "did you mean 'train.jsonl'?" in str(missing.exception)
    assert not Path("trian.jsonl").exists()
