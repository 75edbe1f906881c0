"""What scripts share that print one table over the arms of a run: their arguments, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from rlreason.errors import RlreasonError, UserError
from rlreason.records import PlanRecord, RunFolder


def arguments_of(about: str) -> argparse.ArgumentParser:
    """RUN, --arms (a list) and --json; `about` is a script's docstring."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("run", type=lambda path: RunFolder(Path(path)))
    parser.add_argument("--arms", type=_names, default=[], help="their names, separated by commas; default all")
    parser.add_argument("--json", action="store_true", help="rows as JSON instead of Markdown")
    return parser


def _names(said: str) -> list[str]:
    return [name for name in said.split(",") if name]


def arms_asked(folder: RunFolder, plan: PlanRecord, names: Sequence[str]) -> list[str]:
    """Those names, or all arms of the plan where there are none.

    Raises:
        UserError: the plan lacks an arm.
    """
    if unknown := sorted(set(names) - set(plan.arms)):
        raise UserError(f"--arms: {', '.join(unknown)} not in {folder.path}; its arms: {', '.join(plan.arms)}")
    return list(names or plan.arms)


def print_table(
    script: str, make: Callable[[], pd.DataFrame], lines: Callable[[pd.DataFrame], Iterator[str]], *, as_json: bool
) -> int:
    """Print what `make` gives, as JSON or as the lines of a Markdown table.

    Returns:
        The exit status: 2, after a sentence, where it cannot be made.
    """
    try:
        found = make()
    except RlreasonError as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    print(found.to_json(orient="records") if as_json else "\n".join(lines(found)))
    return 0
