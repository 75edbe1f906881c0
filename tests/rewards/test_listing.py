"""Listing rewards reads files and runs none of them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rlreason.errors import RewardError
from rlreason.recipe.shipped import shipped_folder
from rlreason.rewards.listing import Entry, check_file, list_rewards, read_file
from rlreason.rewards.loader import GROUP, resolve

FORMS = '''"""Of the file."""
raise RuntimeError("this module must not be run")
def score(problem, completion, derivation, *, share=1): "Of one."
async def later(problem, completion, derivation): pass
class Many:
    """Of many.

    More.
    """
    def __call__(self, problems, completions, derivations): pass
def _hidden(problem, completion, derivation): pass
def helper(problem, text): pass
'''


def test_forms_and_first_lines_are_read_without_running_the_file(tmp_path):
    (tmp_path / "forms.py").write_text(FORMS)
    assert read_file("rewards/forms.py", tmp_path / "forms.py") == [
        Entry("rewards/forms.py:score", "one", "Of one."),
        Entry("rewards/forms.py:later", "async", "Of the file."),
        Entry("rewards/forms.py:Many", "batch", "Of many."),
    ]


def test_a_file_that_cannot_be_used_is_listed_with_the_reason(tmp_path):
    folder = tmp_path / "rewards"
    folder.mkdir()
    (folder / "typo.py").write_text("def score(:\n")
    (folder / "lone.py").write_text("import no_such_package.inner\ndef score(problem, completion, derivation): pass\n")
    (folder / "none.py").write_text("def score(completion): pass\n")
    (folder / "test_lone.py").write_text("def score(problem, completion, derivation): pass\n")
    mine = [entry for entry in list_rewards(tmp_path) if entry.form == "broken"]
    assert [(entry.spec, entry.says.partition("(")[0]) for entry in mine] == [
        ("rewards/lone.py:score", "needs no_such_package, which is not installed"),
        ("rewards/none.py", "no function or class in it takes "),
        ("rewards/typo.py", "SyntaxError: invalid syntax "),
    ]


def test_everything_that_ships_is_listed_and_has_a_line_about_it(tmp_path):
    entries = list_rewards(tmp_path)
    assert all(entry.says and entry.form != "broken" for entry in entries), entries
    specs = [entry.spec for entry in entries]
    assert specs[:3] == [f"rlreason.rewards.builtin:{name}" for name in ("answer", "derivation", "format")]
    listed = {spec.partition(":")[0] for spec in specs}
    assert {f"rewards/{file.name}" for file in shipped_folder("rewards").glob("*.py")} <= listed


def test_what_is_listed_as_a_form_is_what_the_loader_finds(tmp_path):
    by_spec = {entry.spec: entry.form for entry in list_rewards(tmp_path)}
    for spec in ("rewards/answer_and_steps.py:score", "rewards/exact.py:score", "rlreason.rewards.builtin:format"):
        loaded = resolve(spec)
        assert by_spec[spec] == ("batch" if loaded.batch else "async" if loaded.is_async else "one")


def test_a_file_of_ones_own_hides_the_shipped_one(tmp_path):
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "exact.py").write_text("def score(problem, completion, derivation): 'My own.'\n")
    assert [entry.says for entry in list_rewards(tmp_path) if "exact.py" in entry.spec] == ["My own."]


def test_installed_rewards_are_named_and_not_imported(tmp_path, monkeypatch):
    point = EntryPoint("mine", "no_such_package:score", GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == GROUP else [])
    assert list_rewards(tmp_path)[-1] == Entry("mine", "", "installed: no_such_package:score")


def test_listing_imports_no_heavy_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rlreason.rewards.listing import list_rewards;"
        "list_rewards(Path('.')); print(sorted({'torch', 'sympy', 'openai', 'ray', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "def score(problem, completion, derivation): ...",
            "reward of mine.py 'scroe' is not one of score; did you mean",
        ),
        ("def score(:", "mine.py cannot be parsed: invalid syntax"),
        ("scroe = make()", ""),
        ("from other import scroe", ""),
        ("from other import *", ""),
        ("if True:\n    def scroe(p, c, d): ...", ""),
    ],
)
def test_a_name_that_a_file_cannot_hold_is_refused_without_running_it(tmp_path, text, words):
    (tmp_path / "mine.py").write_text(f"raise SystemExit\n{text}\n")
    if not words:
        return check_file("mine.py:scroe", [tmp_path])
    with pytest.raises(RewardError, match=words):
        check_file("mine.py:scroe", [tmp_path])


def test_modules_and_entry_points_are_left_to_the_loader():
    check_file("package.module:score", [])
    check_file("installed_name", [])
