"""What was compared: the arms as one tree of stages, so that a stage which arms share stands there once."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlreason.records import PlanRecord


@dataclass(slots=True)
class Branch:
    """A stage, the arms that end in it, and the stages that go on from it. The root is the base model."""

    name: str
    type: str = ""
    updates: int | None = None
    arms: list[str] = field(default_factory=list)
    children: dict[str, Branch] = field(default_factory=dict)


def lineage(plan: PlanRecord) -> Branch:
    """The tree of each arm's first seed; other seeds differ in nothing but the seed."""
    root = Branch("base model")
    for name, arm in plan.arms.items():
        here = root
        for identity in next(iter(arm.seeds.values())).stages if arm.seeds else ():
            stage = plan.stages[identity]
            branch = Branch(stage.name, stage.type, stage.config.get("updates"))
            here = here.children.setdefault(identity, branch)
        here.arms.append(name)
    return root
