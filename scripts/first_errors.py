"""At which relation derivations go wrong first: `python scripts/first_errors.py RUN [--arms ARM,ARM] [--json]`.

For runs over a `complementary` task. Of the greedy derivations of each arm, seeds pooled: how many problems ask for a
relation, and in how many of these the first wrong step stands where it is asked. Relations are put together by whether
composites of training ask for them ("new": only zero_shot's do) and by whether they are known or told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
from arm_tables import arguments_of, arms_asked, print_table

from rlreason.errors import UserError
from rlreason.records import RunFolder, read_plan, read_table


def steps_asked(problems: pd.DataFrame, where: str) -> pd.DataFrame:
    """A row for each hop of each problem: stage, problem, step, kind ("seen known", "new told", ...).

    Raises:
        UserError: the problems are not of a `complementary` task.
    """
    rows = []
    for stage, problem, level, detail in problems[["stage", "problem", "level", "detail"]].itertuples(index=False):
        told = json.loads(detail)
        if "path" not in told or "groups" not in told:
            raise UserError(f"{where}: {problem} has no path of relations; give a run over a `complementary` task")
        rows += [
            (stage, problem, str(level), step, relation, "known" if group == "parametric" else "told")
            for step, (relation, group) in enumerate(zip(told["path"], told["groups"], strict=True))
        ]
    asked = pd.DataFrame(rows, columns=["stage", "problem", "level", "step", "relation", "group"])
    seen = set(asked.loc[asked["level"] != "zero_shot", "relation"])
    asked["kind"] = [
        f"{'seen' if relation in seen else 'new'} {group}" for relation, group in asked[["relation", "group"]].values
    ]
    return asked


def first_errors(folder: RunFolder, arms: list[str]) -> pd.DataFrame:
    """arm, level, kind of relation, how many problems ask for it, how many go wrong first there."""
    plan = read_plan(folder)
    asked_for = arms_asked(folder, plan, arms)
    evaluations, problems = read_table(folder, "evaluations"), read_table(folder, "problems")
    levels = problems[
        ~problems["level"].astype(str).isin(set(evaluations.loc[evaluations["probe"], "level"].astype(str)))
    ]
    asked = steps_asked(levels, str(folder.path))
    rows: list[dict[str, Any]] = []
    for arm in asked_for:
        stages = [run.evaluation for run in plan.arms[arm].seeds.values()]
        greedy = evaluations[evaluations["stage"].isin(stages) & evaluations["greedy"] & ~evaluations["probe"]]
        both = asked.merge(greedy[["stage", "problem", "first_error"]], on=["stage", "problem"])
        both["wrong"] = both["step"] == both["first_error"]
        of_each = both.groupby(["level", "kind", "stage", "problem"])["wrong"].any()  # a path may ask for two of a kind
        for (level, kind), wrong in of_each.groupby(["level", "kind"], sort=False):
            rows.append({"arm": arm, "level": level, "kind": kind, "asked": len(wrong), "wrong": int(wrong.sum())})
    return pd.DataFrame(rows)


def markdown(found: pd.DataFrame) -> Iterator[str]:
    """The table's lines."""
    yield "| arm | level | relation | problems that ask for it | first wrong there |\n|---|---|---|---|---|"
    for row in found.itertuples():
        yield f"| {row.arm} | {row.level} | {row.kind} | {row.asked} | {row.wrong} ({row.wrong / row.asked:.0%}) |"


def main(arguments: list[str]) -> int:
    """Print the table."""
    said = arguments_of(__doc__).parse_args(arguments)
    return print_table("first_errors", lambda: first_errors(said.run, said.arms), markdown, as_json=said.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
