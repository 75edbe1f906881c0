"""What a control may spend: the budget of the stage that it is matched with, read off that stage's ledger.

A stage stops with the first update that uses it up, or at its own `updates` where these are over before; the two
amounts stand in its done.json either way. Which stage is whose partner is in `recipe.partners`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from rlreason.algorithms.budget import Spending
from rlreason.engines.meter import supervised_spending
from rlreason.engines.protocols import SupervisedRows
from rlreason.errors import RunFailed
from rlreason.recipe.match import MatchBy
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.stages import OnPolicyStage, Sft
from rlreason.records.documents import Ledger, read_ledger
from rlreason.stages.context import Context
from rlreason.stages.ledger import ledger_of

WORDS = {"samples": "samples", "tokens": "trained tokens", "flops": "FLOPs"}


@dataclass(slots=True)
class Allowance:
    """A budget and what of it is spent.

    Attributes:
        by: what is compared.
        amount: what the partner spent.
        spent: what the stage has spent so far.
    """

    by: MatchBy
    amount: float
    spent: float = 0.0

    def take(self, spending: Spending) -> bool:
        """Count what was spent; whether the budget is used up now."""
        self.spent += ledger_of(spending).amount(self.by) or 0.0
        return self.spent >= self.amount


def allowance_of(context: Context, stage: PlannedStage) -> Allowance | None:
    """What a stage may spend, nothing of it spent yet; None for one that is not matched.

    Raises:
        RunFailed: the partner's ledger does not say what it spent, or says nothing.
    """
    if stage.match is None:
        return None
    ledger = read_ledger(context.folder, stage.match.stage)
    amount = ledger.amount(stage.match.by) if ledger else None
    if not amount:
        raise RunFailed(
            f"{stage.name!r} is matched with {stage.match.name!r} by {stage.match.by}, and the ledger of that stage "
            f"({context.folder.stage(stage.match.stage) / 'done.json'}) has no {WORDS[stage.match.by]}; match by "
            "something that it spent, or run it again in a new folder where it is older than ledgers are"
        )
    return Allowance(stage.match.by, amount)


def within_samples(config: OnPolicyStage, allowance: Allowance | None) -> OnPolicyStage:
    """The section of an `rl` stage with the updates that its samples allow, where every update samples the same."""
    if allowance is None or config.length_is_open:
        return config
    needed = math.ceil(allowance.amount / (config.prompts_per_update * config.group_size))
    return config.model_copy(update={"updates": min(config.updates, needed)})


def within_rows(context: Context, stage: PlannedStage, rows: SupervisedRows) -> tuple[PlannedStage, SupervisedRows]:
    """An `sft` stage and its rows, both cut behind the update that uses the budget up; as they are where none does."""
    config, allowance = stage.config, allowance_of(context, stage)
    if allowance is None:
        return stage, rows
    assert isinstance(config, Sft)
    frozen = config.lora is not None
    spending = supervised_spending(rows, config.batch_rows, context.meter.cost, frozen=frozen)
    updates = next((done for done, spent in enumerate(spending, start=1) if allowance.take(spent)), config.updates)
    kept = slice(updates * config.batch_rows)
    return (
        replace(stage, config=config.model_copy(update={"updates": updates})),
        SupervisedRows(rows.tokens[kept], rows.labels[kept], rows.positions[kept]),
    )


def match_figures(context: Context, stage: PlannedStage, ledger: Ledger) -> dict[str, Any]:
    """The entry "match" of a control's done.json: what it got beside what its partner had; nothing for other stages."""
    allowance = allowance_of(context, stage)
    if allowance is None or stage.match is None:
        return {}
    own = ledger.amount(allowance.by)
    return {"match": {"stage": stage.match.stage, "by": allowance.by, "partner": allowance.amount, "own": own}}


def short_text(stage: PlannedStage, figures: dict[str, Any]) -> str:
    """What to say of a control that stopped before its partner's budget; "" for any other stage."""
    said = figures.get("match")
    if said is None or stage.match is None or said["own"] >= said["partner"]:
        return ""
    return (
        f"{stage.name} stopped at its own updates: {said['own']:,.0f} of the {said['partner']:,.0f} "
        f"{WORDS[said['by']]} of {stage.match.name}"
    )
