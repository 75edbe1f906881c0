"""Whether a recipe's engines fit the memory there is, and which settings make them. Pure; sizes are `recipe.sizes`'."""

from __future__ import annotations

from dataclasses import dataclass

from rlreason.errors import MachineError
from rlreason.recipe.sizes import LIBRARY_BYTES, Estimate, gib

_LEARNER = (
    "lower resources.micro_batch_tokens, raise resources.zero_stage with more resources.learners, set resources.offload"
)
_SCORER = "lower resources.gpu_memory_share where a generator is on its GPU, or take a smaller model for the scorer"
_GENERATOR = "raise resources.gpu_memory_share or resources.tensor_parallel, lower resources.max_tokens"


@dataclass(frozen=True, slots=True)
class Demand:
    """What one engine needs of a GPU at one time, and what it may have.

    Attributes:
        what: the engine, and when.
        need, room: bytes.
        remedy: settings that lower the one or raise the other.
    """

    what: str
    need: int
    room: float
    remedy: str

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.need <= self.room

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.what} needs {gib(self.need)} of {gib(max(0, int(self.room)))}"


def gpu_demands(estimate: Estimate, memory_bytes: int) -> list[Demand]:
    """What is asked of GPUs of that memory, each engine with its libraries.

    On a GPU of its own a learner has all of it. One that is shared is divided by `gpu_memory_share`; where the
    generator sleeps, the learner has all but the sleeper's libraries while it works, and beside the generator it only
    rests: without activations. A step scorer has a GPU of its own, or sits on the last of those that are shared: with a
    learner, a generator or both, and it never sleeps.
    """
    generator, learner = estimate.generator.total + LIBRARY_BYTES, estimate.learner.total + LIBRARY_BYTES
    taken = estimate.gpu_memory_share * memory_bytes
    first = Demand("a generator", generator, taken, _GENERATOR)
    scorer = estimate.scorer + LIBRARY_BYTES if estimate.scorer else 0
    if not estimate.colocated:
        alone = [Demand("the step scorer", scorer, memory_bytes, _SCORER)] if scorer else []
        return [first, Demand("a learner rank", learner, memory_bytes, _LEARNER), *alone]
    beside = []
    if scorer and estimate.generators > estimate.learners:
        beside = [Demand("the step scorer beside a generator", scorer, memory_bytes - taken, _SCORER)]
    who = "a learner rank beside the step scorer" if scorer and not beside else "a learner rank"

    def left(held: float) -> float:
        """For the learner that has the least, where a generator holds so much of a GPU."""
        if estimate.learners > estimate.generators:  # the scorer sits with a learner that no generator is beside
            return memory_bytes - max(held, scorer)
        return memory_bytes - held - (0 if beside else scorer)

    shared = "lower resources.gpu_memory_share, "
    if not estimate.sleep_level:
        sleep = ", set resources.placement colocated with resources.sleep_level 1"
        return [first, Demand(who, learner, left(taken), shared + _LEARNER + sleep), *beside]
    resting = learner - estimate.learner.activations
    return [
        first,
        Demand(f"{who} at rest", resting, left(taken), shared + _LEARNER),
        Demand(f"{who} while the generator sleeps", learner, left(LIBRARY_BYTES), _LEARNER),
        *beside,
    ]


def fits(estimate: Estimate, memory_bytes: int) -> bool:
    """Whether it fits: where `on_gpu`, the engines of a GPU into one of that memory; else all into that memory."""
    if not estimate.on_gpu:
        return estimate.host_bytes <= memory_bytes
    return all(demand.fits for demand in gpu_demands(estimate, memory_bytes))


def check_memory(estimate: Estimate, memory_bytes: int) -> None:
    """Refuse what does not fit.

    Raises:
        MachineError: with what is needed, what there is, and the settings that lower it.
    """
    if fits(estimate, memory_bytes):
        return
    learner, generator = estimate.learner, estimate.generator
    parts = (
        f"a learner rank needs {gib(learner.total)} (weights {gib(learner.weights)}, gradients "
        f"{gib(learner.gradients)}, optimizer {gib(learner.optimizer)}, activations {gib(learner.activations)}"
        f"{f', reference {gib(learner.reference)}' if learner.reference else ''}), "
        f"a generator {gib(generator.total)} (weights {gib(generator.weights)}, cache {gib(generator.cache)}), "
        f"and the libraries of each {gib(LIBRARY_BYTES)}"
    )
    raise MachineError(f"too little memory: {parts}; {_shortage(estimate, memory_bytes)}, or take a smaller model")


def _shortage(estimate: Estimate, memory_bytes: int) -> str:
    """What there is, and what to do about it."""
    if not estimate.on_gpu:
        return (
            f"{gib(estimate.host_bytes)} in all, and {gib(memory_bytes)} are free. Lower resources.micro_batch_tokens "
            "(activations), raise resources.zero_stage with more resources.learners, lower resources.kv_cache_gib, run "
            "fewer resources.generators or resources.learners"
        )
    short = [demand for demand in gpu_demands(estimate, memory_bytes) if not demand.fits]
    told = "; ".join(f"{demand.told}: {demand.remedy}" for demand in short)
    share = estimate.gpu_memory_share
    return f"a GPU has {gib(memory_bytes)}, of which resources.gpu_memory_share {share} is the generator's. {told}"
