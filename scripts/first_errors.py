"""At which relation derivations go wrong first: `python scripts/first_errors.py RUN [--arms ARM,ARM] [--json]`.

For runs over a `complementary` task. Of the greedy derivations of each arm, seeds pooled: how many problems ask for a
relation, and in how many of these the first wrong step stands where it is asked. Relations are put together by whether
composites of training ask for them ("new": only zero_shot's do) and by whether they are known or told.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from rlreason.errors import RlreasonError, UserError
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table


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
    plan = json.loads((folder.path / "plan.json").read_text(encoding="utf-8"))
    if unknown := sorted(set(arms) - set(plan["arms"])):
        raise UserError(f"--arms: {', '.join(unknown)} not in {folder.path}; its arms: {', '.join(plan['arms'])}")
    evaluations, problems = read_table(folder, "evaluations"), read_table(folder, "problems")
    levels = problems[
        ~problems["level"].astype(str).isin(set(evaluations.loc[evaluations["probe"], "level"].astype(str)))
    ]
    asked = steps_asked(levels, str(folder.path))
    rows: list[dict[str, Any]] = []
    for arm in arms or list(plan["arms"]):
        stages = [seed["evaluation"] for seed in plan["arms"][arm]["seeds"].values()]
        greedy = evaluations[evaluations["stage"].isin(stages) & evaluations["greedy"] & ~evaluations["probe"]]
        both = asked.merge(greedy[["stage", "problem", "first_error"]], on=["stage", "problem"])
        both["wrong"] = both["step"] == both["first_error"]
        of_each = both.groupby(["level", "kind", "stage", "problem"])["wrong"].any()  # a path may ask for two of a kind
        for (level, kind), wrong in of_each.groupby(["level", "kind"], sort=False):
            rows.append({"arm": arm, "level": level, "kind": kind, "asked": len(wrong), "wrong": int(wrong.sum())})
    return pd.DataFrame(rows)


def main(arguments: list[str]) -> int:
    """Print the table. Exit status 2 and a sentence where it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--arms", default="", help="their names, separated by commas; default all")
    parser.add_argument("--json", action="store_true", help="rows as JSON instead of Markdown")
    said = parser.parse_args(arguments)
    try:
        found = first_errors(RunFolder(said.run), [arm for arm in said.arms.split(",") if arm])
    except RlreasonError as error:
        print(f"first_errors: {error}", file=sys.stderr)
        return 2
    if said.json:
        print(found.to_json(orient="records"))
        return 0
    print("| arm | level | relation | problems that ask for it | first wrong there |\n|---|---|---|---|---|")
    for row in found.itertuples():
        print(f"| {row.arm} | {row.level} | {row.kind} | {row.asked} | {row.wrong} ({row.wrong / row.asked:.0%}) |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
