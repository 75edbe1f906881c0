"""Problems that a reward's writer brings along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlreason.errors import TaskError, UserError
from rlreason.recipe.schema import Reward
from rlreason.rewards import samples as kinds
from rlreason.rewards.check import check_reward
from rlreason.rewards.examples import build_examples, read_examples, trial_of_examples

GOOD = {"prompt": "2+2=?", "answer": "4", "detail": {"unit": "m"}, "right": ["= 4 m"], "wrong": ["= 5 m", "4"]}


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_given_completions_become_samples_of_their_problem(tmp_path):
    file = write(tmp_path / "mine.jsonl", GOOD, "", {"prompt": "1+1=?", "answer": "2"})
    trial = trial_of_examples(read_examples(file))
    given = [
        (one.kind, one.problem.answer, one.text) for one in trial.samples if one.kind in (kinds.RIGHT, kinds.WRONG)
    ]
    assert given == [
        (kinds.RIGHT, "4", "= 4 m"),
        (kinds.RIGHT, "2", "2"),  # the answer itself, where no right completion is given
        (kinds.WRONG, "4", "= 5 m"),
        (kinds.WRONG, "4", "4"),
    ]
    assert trial.samples[0].problem.detail == {"unit": "m"}
    assert trial.around == ("= ", " m")


def test_the_tasks_own_check_takes_the_whole_text_for_the_answer():
    problem = trial_of_examples([*map(read, [GOOD])]).samples[0].problem
    task = build_examples("examples", "examples", {})
    assert task.check(problem, " 4\n").answer_correct and not task.check(problem, "= 4").answer_correct
    assert task.check(problem, "").answer is None
    with pytest.raises(TaskError, match="come from a file"):
        task.problem("given", "examples/1", 0)


def read(fields):
    from rlreason.rewards.examples import Example

    return Example.model_validate(fields)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"mine.jsonl:2 is not JSON"),
        ("[1]", r"mine.jsonl:2 is a JSON list; an example is an object"),
        ({"prompt": "", "answer": "1", "wrnog": []}, r"key 'wrnog' is not one of .*did you mean 'wrong'.*mine.jsonl:2"),
        ({"prompt": ""}, r"mine.jsonl:2: answer: Field required"),
        ({"prompt": "", "answer": 4}, r"mine.jsonl:2: answer: Input should be a valid string"),
    ],
)
def test_a_bad_line_is_named(line, words, tmp_path):
    with pytest.raises(UserError, match=words):
        read_examples(write(tmp_path / "mine.jsonl", GOOD, line))


def test_a_missing_or_empty_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="is empty; write one JSON object a line"):
        read_examples(write(tmp_path / "mine.jsonl", ""))


def test_a_reward_of_units_is_tried_on_given_completions(tmp_path):
    (tmp_path / "unit.py").write_text(
        "def score(problem, completion, derivation):\n"
        "    return completion.endswith(f'{problem.answer} {problem.detail[\"unit\"]}')\n"
        "def lax(problem, completion, derivation):\n"
        "    return problem.answer in completion\n"
    )
    trial = trial_of_examples([read(GOOD)])
    assert check_reward(Reward(spec="unit.py:score"), trial, [tmp_path]).findings == ()
    found = check_reward(Reward(spec="unit.py:lax"), trial, [tmp_path]).findings
    assert [finding.name for finding in found] == ["wrong_answer", "repeated"]
    assert "1.00 (right: 1.00) for '4'" in found[0].says
