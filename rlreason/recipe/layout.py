"""Which engine gets which device, from a recipe's `resources` and the number of GPUs alone. Pure.

`rlreason plan` asks before there is a cluster, `orchestration.cluster` on one. Left out: which node a bundle lands on,
and how many cores an engine gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlreason.errors import MachineError
from rlreason.recipe.schema import Recipe, Resources
from rlreason.recipe.stages import OnPolicy

Accelerator = Literal["cpu", "cuda"]
Kind = Literal["generator", "learner", "scorer"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Bundles of devices, each found on one node, and who has which.

    Attributes:
        accelerator: what engines run on.
        colocated: generators and learners share GPUs.
        bundles: [B] GPUs of each bundle; 0 on a CPU.
        seats: kind -> bundle of its first, second ... engine.
        shares: kind -> GPUs that one engine takes of its bundle.
    """

    accelerator: Accelerator
    colocated: bool
    bundles: tuple[int, ...]
    seats: Mapping[Kind, tuple[int, ...]]
    shares: Mapping[Kind, float]

    @property
    def gpus(self) -> int:
        """GPUs of all bundles; one that engines share counts once."""
        return sum(self.bundles)

    @property
    def engines(self) -> int:
        """Engines of all kinds."""
        return sum(map(len, self.seats.values()))

    def tenants(self, bundle: int) -> list[Kind]:
        """The kinds of the engines in a bundle."""
        return [kind for kind, seats in self.seats.items() for seat in seats if seat == bundle]


def uses_gpus(resources: Resources, gpus: float) -> bool:
    """Whether engines run on GPUs where there are that many."""
    return resources.accelerator == "cuda" or (resources.accelerator == "auto" and gpus > 0)


def asked_gpus(resources: Resources, scorers: int = 0) -> int:
    """GPUs that a recipe asks for where it runs on GPUs; with placement auto, those with which no engine shares."""
    if resources.placement == "colocated":
        return max(resources.generators, resources.learners)
    return resources.generators * resources.tensor_parallel + resources.learners + scorers


def shares_gpus(resources: Resources, gpus: int | None, scorers: int = 0) -> bool:
    """Whether a generator and a learner share a GPU, where there are that many; None: whether they may."""
    if resources.placement != "auto":
        return resources.placement == "colocated"
    return resources.tensor_parallel == 1 and (gpus is None or gpus < asked_gpus(resources, scorers))


def lay_out(resources: Resources, gpus: float, scorers: int = 0) -> Layout:
    """Where every engine goes.

    Args:
        gpus: how many there are.
        scorers: step scorers, 0 or 1.
    Raises:
        MachineError: fewer GPUs than asked for, or a setting that needs GPUs where there are none.
    """
    counts: dict[Kind, int] = {"generator": resources.generators, "learner": resources.learners, "scorer": scorers}
    if not uses_gpus(resources, gpus):
        if resources.needs_gpus:
            raise MachineError(f"resources.{resources.needs_gpus} needs GPUs, and this run is on a CPU; leave it out")
        return _apart("cpu", counts, dict.fromkeys(counts, 0))
    asked = asked_gpus(resources, scorers)
    if asked <= gpus:
        if resources.placement == "colocated":
            return _together(counts)
        return _apart("cuda", counts, {"generator": resources.tensor_parallel, "learner": 1, "scorer": 1})
    shared = max(resources.generators, resources.learners)
    can_share = resources.tensor_parallel == 1 and shared <= gpus
    if resources.placement == "auto" and can_share:
        return _together(counts)
    if resources.placement == "colocated":
        wanted = f"{resources.generators} generators and {resources.learners} learners that share GPUs"
    else:
        wanted = (
            f"{resources.generators} generators x {resources.tensor_parallel} GPUs, {resources.learners} learners and "
            f"{scorers} step scorers"
        )
    raise MachineError(
        f"the recipe asks for {wanted}, {asked} GPUs; the cluster has {gpus:g}. Lower resources.generators, "
        "resources.tensor_parallel or resources.learners"
        + (", or set resources.placement to colocated" if can_share else "")
    )


def check_turns(recipe: Recipe, layout: Layout) -> None:
    """Refuse stages that sample while they learn where engines share GPUs: placement auto says so only here.

    Raises:
        MachineError: there is such a stage, and they do.
    """
    names = [name for name, stage in recipe.stages.items() if isinstance(stage, OnPolicy) and stage.asynchrony]
    if layout.colocated and names:
        raise MachineError(
            f"stages.{names[0]}.asynchrony does not go with GPUs that engines share, and resources.placement "
            f"{recipe.resources.placement} has them share {layout.gpus} here; provide "
            f"{asked_gpus(recipe.resources, int(bool(recipe.scorers)))} GPUs, lower resources.generators or "
            "resources.learners, or drop asynchrony"
        )


def _apart(accelerator: Accelerator, counts: Mapping[Kind, int], gpus: Mapping[Kind, int]) -> Layout:
    """A bundle an engine: generators first, then learners, then the scorer."""
    seats: dict[Kind, tuple[int, ...]] = {}
    bundles: list[int] = []
    for kind, count in counts.items():
        seats[kind] = tuple(range(len(bundles), len(bundles) + count))
        bundles += [gpus[kind]] * count
    return Layout(accelerator, False, tuple(bundles), seats, {kind: float(each) for kind, each in gpus.items()})


def _together(counts: Mapping[Kind, int]) -> Layout:
    """A bundle a GPU: generator i and learner i in bundle i, so that no two of a kind share; a scorer in the last."""
    bundles = max(counts["generator"], counts["learner"])
    seats: dict[Kind, tuple[int, ...]] = {
        "generator": tuple(range(counts["generator"])),
        "learner": tuple(range(counts["learner"])),
        "scorer": (bundles - 1,) * counts["scorer"],
    }
    # Ray only counts these; what an engine takes of the memory is its own affair
    shares: dict[Kind, float] = {"generator": 0.4, "learner": 0.4, "scorer": 0.2}
    return Layout("cuda", True, (1,) * bundles, seats, shares)
