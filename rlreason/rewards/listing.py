"""What `rlreason reward list` shows: the rewards that ship, the user's own, and those of installed packages.

Files are read, not run: listing costs no import of torch or of a user's module, and a file that cannot be parsed, or
that needs a package which is not installed, is listed with what is wrong. Resolving and checking is `loader`'s work.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import symtable
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rlreason.errors import RewardError, one_of
from rlreason.recipe.shipped import shipped_folder
from rlreason.recipe.validation import resolve_plugin_path
from rlreason.rewards.contract import BATCH, SINGLE
from rlreason.rewards.loader import GROUP

Form = Literal["one", "batch", "async", "batch, async", "", "broken"]
FOLDER = "rewards"
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Entry:
    """One reward.

    Attributes:
        spec: as a recipe names it.
        form: "one": a completion at a time; "batch": lists; "async"; "" where that is not known without importing;
            "broken" where it could not be used.
        says: the first line of its docstring, or what is wrong.
    """

    spec: str
    form: Form
    says: str


def list_rewards(here: Path) -> list[Entry]:
    """The builtin ones, then the files of `here`/rewards and of what ships, then installed ones.

    Args:
        here: the current folder; a file of its own hides a shipped one of the same name, as it does in a recipe.
    """
    builtin = Path(__file__).with_name("builtin.py")
    files: dict[str, Path] = {}
    for folder in (here / FOLDER, shipped_folder("rewards")):
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith(("test_", "_", "conftest")):
                files.setdefault(file.name, file)
    entries = read_file("rlreason.rewards.builtin", builtin)
    for name, file in sorted(files.items()):
        entries += read_file(f"{FOLDER}/{name}", file)
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return entries + [Entry(point.name, "", f"installed: {point.value}") for point in points]


def read_file(place: str, file: Path) -> list[Entry]:
    """The rewards of a file, or one entry that says why there are none.

    Args:
        place: what stands before the colon of their specs.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return [Entry(place, "broken", f"{type(error).__name__}: {error}")]
    summary = _first_line(tree)
    found = [
        Entry(f"{place}:{node.name}", form, _first_line(node) or summary)
        for node in tree.body
        if isinstance(node, _Function | ast.ClassDef) and not node.name.startswith("_") and (form := _form(node))
    ]
    if missing := _missing(tree):
        return [replace(entry, form="broken", says=f"needs {missing}, which is not installed") for entry in found]
    return found or [Entry(place, "broken", f"no function or class in it takes ({', '.join(SINGLE)})")]


def check_file(spec: str, folders: Sequence[Path]) -> None:
    """Refuse a spec whose file cannot hold that name, without running the file; other specs are left to `loader`.

    Args:
        folders: where a relative file is looked for first.
    Raises:
        RewardError: there is no such file, it does not parse, or nothing in it has that name (the near ones are told).
    """
    file = resolve_plugin_path(spec, folders)
    if file is None:
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise RewardError(f"{spec}: {file} cannot be parsed: {error}") from None
    name = spec.rpartition(":")[2]
    symbols = symtable.symtable(file.read_text(encoding="utf-8"), str(file), "exec")
    stars = any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree))
    bound = [symbol.get_name() for symbol in symbols.get_symbols() if symbol.is_assigned() or symbol.is_imported()]
    if name not in bound and not stars:
        own = [node.name for node in tree.body if isinstance(node, _Function | ast.ClassDef)]
        raise RewardError(one_of(f"reward of {spec.rpartition(':')[0]}", name, own))


def _form(node: ast.stmt) -> Form:
    """How a reward is called, by the names of its parameters, which the contract fixes; "" for what is no reward."""
    if isinstance(node, ast.ClassDef):
        return next((_form(one) for one in node.body if isinstance(one, _Function) and one.name == "__call__"), "")
    assert isinstance(node, _Function)
    names = tuple(argument.arg for argument in node.args.args if argument.arg != "self")[: len(SINGLE)]
    is_async = isinstance(node, ast.AsyncFunctionDef)
    if names == BATCH:
        return "batch, async" if is_async else "batch"
    if names == SINGLE:
        return "async" if is_async else "one"
    return ""


def _first_line(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _missing(tree: ast.Module) -> str:
    """Packages imported at the module's top that are not installed, as a list in words."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    packages = {name.partition(".")[0] for name in names}
    return ", ".join(sorted(package for package in packages if importlib.util.find_spec(package) is None))
