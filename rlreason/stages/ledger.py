"""The ledger of a stage: what the work in its result cost, each piece once, however often the stage was resumed.

    metered engines -> pieces: metrics of an update, or kept in the stage's folder -> the ledger in done.json

A piece is written down with the work that it paid for, and replaces itself when that work is done again. How engines
are counted is in `engines.meter`, what stops at a budget in `stages.allowance`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rlreason.algorithms.budget import METRIC_PREFIX, Spending
from rlreason.recipe.plan import PlannedStage
from rlreason.records.documents import Ledger
from rlreason.records.run_folder import RunFolder, read_json, write_json
from rlreason.records.tables import read_table
from rlreason.stages.context import Context

SPENT = "spent.json"


def keep_spending(context: Context, stage: PlannedStage, piece: str, *, new_prompts: bool = True) -> None:
    """Write down what was spent since the meter was last read, as a piece of the stage: work that no update tells of.

    Called directly before the work itself is written down: where only the first of the two happens, both happen again.
    With `new_prompts` False its prompts are those of a piece before, and count once.
    """
    kept = _kept(context.folder, stage)
    spent = context.meter.take()
    if not new_prompts:
        spent = replace(spent, prompts=0)
    kept["pieces"][piece] = {**asdict(spent), "flops": spent.known_flops}  # JSON has no NaN
    write_json(_path(context.folder, stage), kept)


def keep_seconds(context: Context, stage: PlannedStage, seconds: float) -> None:
    """Write down how long a start took that ends before the stage is done."""
    kept = _kept(context.folder, stage)
    write_json(_path(context.folder, stage), {**kept, "seconds": kept["seconds"] + seconds})


def forget_spending(context: Context, stage: PlannedStage) -> None:
    """Remove what was kept; the ledger has it."""
    _path(context.folder, stage).unlink(missing_ok=True)


def spent_by_updates(folder: RunFolder, stage: str, through: int | None = None) -> Spending:
    """What the updates of a stage spent, of those up to `through` where it is given."""
    rows = read_table(folder, "updates", [stage], ["update", "metric", "value"])
    rows = rows[rows["metric"].str.startswith(METRIC_PREFIX)]
    if through is not None:
        rows = rows[rows["update"] <= through]
    # numpy's sum: an update whose operations are not known makes their sum unknown, where pandas would skip it
    return Spending.of_metrics(rows.groupby("metric")["value"].agg(lambda values: values.to_numpy().sum()).to_dict())


def stage_ledger(context: Context, stage: PlannedStage, seconds: float) -> Ledger:
    """What a stage that is done spent, this start having taken `seconds`."""
    kept = _kept(context.folder, stage)
    spent = spent_by_updates(context.folder, stage.id)
    for piece in kept["pieces"].values():
        spent += Spending(**{**piece, "flops": math.nan if piece["flops"] is None else piece["flops"]})
    asked = read_table(context.folder, "rollouts", [stage.id], ["task", "problem"])
    devices = max(1, int(context.engines.description.get("gpus", 0)))
    return ledger_of(
        spent,
        # where rollouts are recorded they tell which problems came again in a later update
        prompts=len(asked.drop_duplicates()) or spent.prompts,
        device_seconds=devices * (kept["seconds"] + seconds),
    )


def ledger_of(spent: Spending, **more: float) -> Ledger:
    """The entries of a ledger; `more` are those that `spent` has not, or has otherwise."""
    return Ledger.model_validate({**asdict(spent), "flops": spent.known_flops, **more})


def _path(folder: RunFolder, stage: PlannedStage) -> Path:
    return folder.stage(stage.id) / SPENT


def _kept(folder: RunFolder, stage: PlannedStage) -> dict[str, Any]:
    path = _path(folder, stage)
    return read_json(path) if path.exists() else {"seconds": 0.0, "pieces": {}}
