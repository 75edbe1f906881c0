"""How many steps derivations have beside how many they need: `python scripts/steps_written.py RUN [--arms A,B]`.

Of the greedy derivations of each arm, seeds pooled, by level or probe and by the steps of the gold derivation: how many
have fewer steps, as many, more, what the median is, and how often every step is right. A model that goes on beyond what
it was trained on writes as many as are needed; one that learned how long its texts were stops where they stopped.
`--grouped` has two rows a level: problems that need no more steps than those of the first level, and the others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pandas as pd
from arm_tables import arguments_of, arms_asked, print_table

from rlreason.errors import RecordsError, UserError
from rlreason.records import RunFolder, read_plan
from rlreason.report.greedy import read_greedy

COLUMNS = ("arm", "level", "needed", "derivations", "fewer", "as_many", "more", "median", "all_right")


def steps_written(folder: RunFolder, arms: list[str], grouped: bool = False) -> pd.DataFrame:
    """A row for each arm, level or probe, and number of steps needed, with `COLUMNS`: numbers of derivations, and the
    median number of steps written.

    Args:
        grouped: "needed" is a range: up to the most that the arm's problems of the first level need, and beyond.
    Raises:
        UserError: an arm is not in the run, or no derivation was checked whose gold derivation's length is known.
        RecordsError: an evaluation cannot be read.
    """
    plan = read_plan(folder)
    asked_for = arms_asked(folder, plan, arms)
    read = read_greedy(folder, plan)
    if read.unreadable:
        raise RecordsError("; ".join(read.unreadable.values()))
    rows = read.rows
    if len(rows):
        rows = rows[rows["checked"] & rows["gold_steps"].notna() & rows["arm"].isin(asked_for)]
    if not len(rows):
        raise UserError(
            f"{folder.path} has no checked derivations with a gold one; give a run that has evaluated an arm on a task "
            "with derivations"
        )
    rows = rows.assign(
        level=rows["level"].astype(str),
        needed=rows["gold_steps"].astype(int),
        fewer=rows["written"] < rows["gold_steps"],
        as_many=rows["written"] == rows["gold_steps"],
        more=rows["written"] > rows["gold_steps"],
    )
    if grouped:
        rows["needed"] = _grouped(rows, plan.evaluation.levels[0])
    rows["arm"] = pd.Categorical(rows["arm"], list(plan.arms))
    rows["level"] = pd.Categorical(rows["level"], [*plan.evaluation.levels, *plan.evaluation.probes])
    found = rows.groupby(["arm", "level", "needed"], observed=True).agg(
        derivations=("written", "size"),
        fewer=("fewer", "sum"),
        as_many=("as_many", "sum"),
        more=("more", "sum"),
        median=("written", "median"),
        all_right=("derived", "sum"),
    )
    return found.reset_index()[list(COLUMNS)]


def _grouped(rows: pd.DataFrame, first: str) -> pd.Series:
    """The range that each row's number of steps lies in."""
    most = rows["arm"].map(rows[rows["level"] == first].groupby("arm")["needed"].max())
    beyond = rows["needed"] > most
    ranges = rows.groupby([rows["arm"], rows["level"], beyond])["needed"].transform
    low, high = ranges("min"), ranges("max")
    return low.astype(str).where(low == high, low.astype(str) + " to " + high.astype(str))


def markdown(found: pd.DataFrame) -> Iterator[str]:
    """The table's lines."""
    yield "| arm | level | needed | derivations | fewer | as many | more | median written | every step right |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in found.itertuples():
        shares = " | ".join(f"{count / row.derivations:.0%}" for count in (row.fewer, row.as_many, row.more))
        yield (
            f"| {row.arm} | {row.level} | {row.needed} | {row.derivations} | {shares} | {row.median:g} | "
            f"{row.all_right / row.derivations:.0%} |"
        )


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("--grouped", action="store_true", help="two rows a level: as on the first level, and beyond")
    said = parser.parse_args(arguments)

    def make() -> pd.DataFrame:
        return steps_written(said.run, said.arms, said.grouped)

    return print_table("steps_written", make, markdown, as_json=said.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
