"""Finding a reward by its name, and saying what is wrong with it."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint

import pytest

from rlreason.errors import RewardError
from rlreason.rewards.loader import GROUP, resolve

GOOD = "def score(problem, completion, derivation, bonus=0):\n    return 1 + bonus\n"


def write(folder, name, text):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_a_file_is_looked_for_in_the_folders_first_then_here(tmp_path, monkeypatch):
    beside, here = tmp_path / "recipe", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    write(here, "mine.py", GOOD)
    assert resolve("mine.py:score", [beside]).call(None, "", None) == 1
    write(beside, "mine.py", GOOD.replace("1 +", "5 +"))
    loaded = resolve("mine.py:score", [beside], {"bonus": 2})
    assert loaded.call(None, "", None) == 7
    assert (loaded.batch, loaded.is_async) == (False, False)


def test_what_ships_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("rewards/exact.py:score").call is not None


def test_classes_are_made_with_the_kwargs_and_async_forms_are_seen(tmp_path):
    write(
        tmp_path,
        "forms.py",
        "from rlreason.rewards.contract import reward\n"
        "class Scaled:\n    def __init__(self, by): self.by = by\n"
        "    async def __call__(self, problem, completion, derivation): return self.by\n"
        "@reward(batch=True)\nclass Many:\n    def __call__(self, problems, completions, derivations): return [1]\n",
    )
    scaled = resolve("forms.py:Scaled", [tmp_path], {"by": 3})
    assert scaled.is_async and scaled.call.by == 3
    assert resolve("forms.py:Many", [tmp_path]).batch
    with pytest.raises(RewardError, match=r"cannot be made with kwargs \{\}"):
        resolve("forms.py:Scaled", [tmp_path])


def test_an_unknown_file_or_function_lists_the_near_names(tmp_path):
    write(tmp_path, "rewards/boxed.py", GOOD)
    with pytest.raises(RewardError, match=r"did you mean 'rewards/boxed.py'\?.*looked in"):
        resolve("rewards/boxd.py:score", [tmp_path])
    with pytest.raises(RewardError, match=r"'scor' is not one of score; did you mean 'score'\?"):
        resolve("rewards/boxed.py:scor", [tmp_path])
    with pytest.raises(RewardError, match="did you mean 'answer'"):
        resolve("rlreason.rewards.builtin:anwser")


def test_an_unknown_module_is_refused():
    with pytest.raises(RewardError, match=r"there is no module 'no_such\.module'"):
        resolve("no_such.module:score")


def test_an_import_error_shows_only_the_users_lines(tmp_path):
    write(tmp_path, "broken.py", "def deep():\n    return 1 / 0\n\ndeep()\n" + GOOD)
    with pytest.raises(RewardError) as raised:
        resolve("broken.py:score", [tmp_path])
    message = str(raised.value)
    assert message.count('broken.py", line') == 2 and "ZeroDivisionError" in message
    assert "loader.py" not in message and "importlib" not in message


def test_a_syntax_error_names_the_line(tmp_path):
    write(tmp_path, "typo.py", "def score(:\n")
    with pytest.raises(RewardError, match=r'typo.py", line 1'):
        resolve("typo.py:score", [tmp_path])


def test_a_value_that_cannot_be_called_is_refused(tmp_path):
    write(tmp_path, "value.py", "score = 3\nclass Empty: pass\n")
    with pytest.raises(RewardError, match="is of type int; a reward is a function"):
        resolve("value.py:score", [tmp_path])
    with pytest.raises(RewardError, match="has no __call__"):
        resolve("value.py:Empty", [tmp_path])


def test_an_installed_entry_point_is_found_by_name(monkeypatch):
    offered = [EntryPoint("right_answer", "rlreason.rewards.builtin:answer", GROUP)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offered if group == GROUP else [])
    assert resolve("right_answer").spec == "right_answer"
    with pytest.raises(RewardError, match="did you mean 'right_answer'"):
        resolve("right_anser")
