"""`rlreason reward ...` on the command line: what is printed, exit codes, and what is said of words that are wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rlreason import cli

SOUND = "def score(problem, completion, derivation, *, bonus=0.0):\n    return derivation.answer_correct + bonus\n"
TWO_TASKS = """
extends: quickstart
name: two
tasks: {a: {type: lookup}}
stages:
  atomic: {data: [{cells: ["parametric/*"], task: people}]}
  composite: {data: [{cells: ["complementary/*"], task: people}]}
  mixture: {data: [{cells: ["complementary/*"], task: people}]}
  rl: {data: [{cells: ["complementary/*"], task: people}]}
evaluation: {task: people}
"""
SMALL = ("--set", "people=16", "--count", "2")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """call("check", ...) in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlreason", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, " ".join(printed.err.split())

    return run


def test_a_new_reward_says_what_to_do_next_and_the_next_step_works(call):
    code, out, _ = call("reward", "new", "mine", "--kind", "answer")
    assert code == 0 and Path("rewards/mine.py").exists() and Path("rewards/test_mine.py").exists()
    assert "rlreason reward check rewards/mine.py:score" in out and "pytest rewards/test_mine.py" in out
    code, out, _ = call("reward", "check", "rewards/mine.py:score", *SMALL)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["gold", "derivation", "2", "1.00", "1.00", "1.00"] in lines
    assert max(map(len, out.splitlines())) <= 80
    code, _, err = call("reward", "new", "mine")
    assert code == 2 and "is there already and is not overwritten" in err


def test_a_serious_finding_is_exit_code_1_unless_it_is_meant(call):
    Path("mine.py").write_text(SOUND)
    bonus = ("reward", "check", "mine.py:score", "--kwargs", "bonus=0.5", *SMALL)
    code, out, _ = call(*bonus)
    assert code == 1 and "serious (empty): pays an empty answer 0.50 in 2 of 2" in out
    allowed = [word for name in ("empty", "prompt", "every_answer") for word in ("--allow", name)]
    assert call(*bonus, *allowed)[0] == 0
    code, out, _ = call(*bonus, "--kwargs", '{"bonus": -1}', "--json")  # the later one counts
    found = json.loads(out)
    assert code == 0 and found["ok"] is True
    assert found["rows"][0]["mean"] == 0.0 and found["rows"][0]["kind"] == "gold derivation"
    assert {finding["severity"] for finding in found["findings"]} <= {"note"}


def test_a_recipes_own_folder_and_task_are_used(call, tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "mine.py").write_text(SOUND)
    (folder / "mine.yaml").write_text("extends: quickstart\nname: mine\n")
    code, out, _ = call("reward", "check", "mine.py:score", "--task", "deep/mine.yaml:people", *SMALL)
    assert code == 0 and "gold derivation" in out


def test_examples_of_ones_own_are_used(call):
    Path("mine.py").write_text(SOUND)
    Path("mine.jsonl").write_text('{"prompt": "2+2=?", "answer": "4", "wrong": ["5"]}\n')
    code, out, _ = call("reward", "check", "mine.py:score", "--examples", "mine.jsonl", "--json")
    assert code == 0
    assert [(row["kind"], row["n"], row["mean"]) for row in json.loads(out)["rows"][:2]] == [
        ("right (given)", 1, 1.0),
        ("wrong (given)", 1, 0.0),
    ]


def test_rewards_are_listed(call):
    code, out, _ = call("reward", "list", "--json")
    assert code == 0
    assert {"rewards/exact.py:score", "rlreason.rewards.builtin:answer"} <= {one["spec"] for one in json.loads(out)}
    assert "rewards/exact.py:score" in call("reward", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "rewards/exat.py:score"), "did you mean 'rewards/exact.py'?"),
        (
            ("check", "rewards/exact.py:scor"),
            "reward of rewards/exact.py 'scor' is not one of score; did you mean 'score'?",
        ),
        (("check", "rlreason.rewards.builtin:anwser"), "did you mean 'answer'?"),
        (("check", "exact"), "installed reward 'exact' is not one of"),
        (("check", "no.such:thing"), "there is no module 'no.such'"),
        (("check", "wrong.py:few"), "takes (problem, text); a reward takes (problem, completion, derivation)"),
        (("check", "wrong.py:constant"), "is of type int; a reward is a function, or a class with __call__"),
        (("check", "broken.py:score"), "ZeroDivisionError: division by zero"),
        (("check", "rewards/exact.py:score", "--kwargs", "size=3"), "does not accept kwargs {'size': 3}"),
        (("check", "rewards/exact.py:score", "--kwargs", "size"), "is neither KEY=VALUE nor a JSON object"),
        (("check", "rewards/exact.py:score", "--kwargs", "[1]"), "is neither KEY=VALUE nor a JSON object"),
        (("check", "rewards/exact.py:score", "--kwargs", "{"), "--kwargs {"),
        (("check", "rewards/exact.py:score", "--task", "quikstart"), "quickstart"),
        (("check", "rewards/exact.py:score", "--task", "quickstart:peple"), "did you mean 'people'?"),
        (("check", "rewards/exact.py:score", "--task", "two.yaml"), "people, a; name one with --task two.yaml:NAME"),
        (("check", "rewards/exact.py:score", "--examples", "none.jsonl"), "cannot be read"),
        (("check", "rewards/exact.py:score", "--allow", "wrong_anser"), "did you mean 'wrong_answer'?"),
        (("new", "my-reward"), "such as 'my_reward'"),
        (("new", "mine", "--kind", "stps"), "did you mean 'steps'?"),
    ],
)
def test_a_wrong_word_is_one_paragraph_with_the_remedy_and_exit_code_2(arguments, says, call):
    Path("wrong.py").write_text("constant = 3\ndef few(problem, text): return 1\n")
    Path("broken.py").write_text("1 / 0\n")
    Path("two.yaml").write_text(TWO_TASKS)
    code, out, err = call("reward", *arguments)
    assert code == 2 and out == ""
    assert err.startswith("rlreason: ") and says in err
    assert "rlreason/rewards" not in err  # of a traceback, only the user's lines


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ("[{spec: 'rewards/exact.py:score', weight: heavy}]", "rewards.parts[0].weight"),
        ("[{spec: 'rewards/exact.py:score', weight: .nan}]", "rewards.parts[0].weight"),
        ("[{spec: 'rewards/exact.py:score'}, {spec: 'rewards/answer_and_steps.py:score'}]", "'score'"),
        ("[{spec: 'rewards/exat.py:score'}]", "did you mean 'rewards/exact.py'?"),
    ],
)
def test_a_recipe_with_an_impossible_rubric_is_refused_when_it_is_loaded(parts, says, call):
    Path("mine.yaml").write_text(f"extends: quickstart\nname: mine\nrewards: {{parts: {parts}}}\n")
    code, _, err = call("plan", "mine.yaml")
    assert code == 2 and says in err and "Traceback" not in err
