"""Which pipeline and which split of the GPUs is fastest, size by size.

Splits are estimated first (a phase of generation and an update of the learner, and what of them overlaps); from the
best of these the search goes to its neighbours, simulated, as long as they are faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlreason.errors import UserError
from rlreason.simulate.costs import Costs, Layout, Work
from rlreason.simulate.failures import best_checkpoint_every, kept_share
from rlreason.simulate.phases import generate, run_phases
from rlreason.simulate.rates import Rates
from rlreason.simulate.streaming import fill, run_stream
from rlreason.simulate.timeline import Timeline

FAILURES = "failures"
_SIXTEENTHS = range(1, 16)
_EVENTS = 100_000
"""Completions that a stream is simulated with, as far as that is enough for two updates."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How generation and learning follow each other.

    Attributes:
        colocated: they take turns on the same GPUs; only in phases that do not overlap.
        max_staleness: None: in phases. Else streaming under that bound.
        one_step_off: phases that overlap.
        partial: of streaming: new weights interrupt a completion.
    """

    colocated: bool = False
    one_step_off: bool = False
    max_staleness: int | None = None
    partial: bool = False


def pipelines(max_staleness: int) -> dict[str, Pipeline]:
    """Those that are compared, the first being the yardstick."""
    return {
        "synchronous, co-located": Pipeline(colocated=True),
        "synchronous": Pipeline(),
        "one step off": Pipeline(one_step_off=True),
        f"staleness {max_staleness}": Pipeline(max_staleness=max_staleness),
        f"staleness {max_staleness}, partial": Pipeline(max_staleness=max_staleness, partial=True),
    }


PIPELINES = tuple(pipelines(1))
"""Their names where one version of staleness is allowed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pipeline reaches on one layout.

    Attributes:
        pipeline: its name.
        layout: who has which GPUs.
        prompts: of an update.
        update_s: mean seconds of an update, without failures. update_p95_s: 95% of the updates take at most that.
        updates_per_hour, completions_per_s, tokens_per_s: in the long run, failures and checkpoints included.
        shares: of all GPU-seconds: the names of `timeline.SHARES`, and "failures".
        staleness: versions -> share of the trained completions.
        dropped: completions that were too old, for each one trained.
        checkpoint_every: updates between checkpoints that would lose the least; None where nothing fails.
    """

    pipeline: str
    layout: Layout
    prompts: int
    update_s: float
    update_p95_s: float
    updates_per_hour: float
    completions_per_s: float
    tokens_per_s: float
    shares: Mapping[str, float]
    staleness: Mapping[int, float]
    dropped: float
    checkpoint_every: int | None

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        layout = self.layout
        return {
            "gpus": layout.gpus,
            "pipeline": self.pipeline,
            "generators": layout.generators,
            "tensor_parallel": layout.tensor_parallel,
            "learners": layout.learners,
            "colocated": layout.colocated,
            "prompts": self.prompts,
            "seconds_an_update": self.update_s,
            "seconds_an_update_p95": self.update_p95_s,
            "updates_per_hour": self.updates_per_hour,
            "completions_per_s": self.completions_per_s,
            "tokens_per_s": self.tokens_per_s,
            "shares": dict(self.shares),
            "staleness": {str(versions): share for versions, share in self.staleness.items()},
            "dropped_per_trained": self.dropped,
            "best_checkpoint_every": self.checkpoint_every,
        }


def run_pipeline(costs: Costs, pipeline: Pipeline, updates: int, seed: int) -> Timeline:
    """Simulate; the same for the same seed."""
    random = np.random.default_rng(seed)
    if pipeline.max_staleness is None:
        return run_phases(costs, updates, random, one_step_off=pipeline.one_step_off)
    return run_stream(costs, updates, random, max_staleness=pipeline.max_staleness, partial=pipeline.partial)


def simulate(
    rates: Rates, work: Work, layout: Layout, name: str, pipeline: Pipeline, *, updates: int, seed: int
) -> Outcome:
    """One pipeline on one layout."""
    costs = Costs(rates, work, layout)
    timeline = run_pipeline(costs, pipeline, updates, seed)
    update_s, total = float(timeline.seconds.mean()), float(timeline.seconds.sum())
    phases = pipeline.max_staleness is None
    phase_s = generate(costs, costs.draw(np.random.default_rng(seed))).seconds if phases else 0.0
    kept = kept_share(costs, update_s, phase_s, phases=phases)
    shares = {name: kept * seconds / (layout.gpus * total) for name, seconds in timeline.gpu_seconds.items()}
    trained = int(timeline.staleness.sum())
    return Outcome(
        pipeline=name,
        layout=layout,
        prompts=work.prompts,
        update_s=update_s,
        update_p95_s=float(np.quantile(timeline.seconds, 0.95)),
        updates_per_hour=3600 * kept / update_s,
        completions_per_s=work.completions * kept / update_s,
        tokens_per_s=timeline.tokens * kept / total,
        shares={**shares, FAILURES: 1 - kept},
        staleness={versions: count / trained for versions, count in enumerate(timeline.staleness.tolist()) if count},
        dropped=timeline.dropped / trained,
        checkpoint_every=best_checkpoint_every(rates.failing, layout, update_s),
    )


def layouts(gpus: int, tensor_parallel: int, min_learners: int, *, colocated: bool) -> list[Layout]:
    """The ways in which so many GPUs are split: the learner has about 1/16, 2/16 ... of them. Empty where none can."""
    if colocated:
        fits = gpus % tensor_parallel == 0 and gpus >= min_learners
        return [Layout(gpus // tensor_parallel, gpus, tensor_parallel, colocated=True)] if fits else []
    generators = {round((gpus - gpus * share / 16) / tensor_parallel) for share in _SIXTEENTHS}
    return [
        Layout(count, gpus - count * tensor_parallel, tensor_parallel)
        for count in sorted(generators)
        if count >= 1 and gpus - count * tensor_parallel >= min_learners
    ]


def estimate_s(costs: Costs, pipeline: Pipeline, seed: int) -> float:
    """Seconds of an update, roughly: what the splits are sifted by."""
    lengths = costs.draw(np.random.default_rng(seed))
    generation, learning = generate(costs, lengths), costs.learn_s(lengths)
    score, rest = costs.score_s(lengths.size), costs.drive_s + costs.sync_s
    if pipeline.max_staleness is not None:
        return max(generation.full / costs.layout.generators + costs.sync_s, learning + rest)
    if pipeline.one_step_off:
        return max(generation.seconds + score, learning) + rest
    return generation.seconds + score + learning + rest


def best_split(
    rates: Rates, work: Work, gpus: int, name: str, pipeline: Pipeline, *, updates: int, seed: int
) -> Outcome | None:
    """The fastest layout of so many GPUs, uphill from the one estimated best; None where there is none."""
    found = layouts(gpus, work.tensor_parallel, rates.learning.min_gpus, colocated=pipeline.colocated)
    if not found:
        return None
    if pipeline.max_staleness is not None:
        updates = min(updates, max(2, _EVENTS // work.completions - fill(pipeline.max_staleness)))
    outcomes: dict[int, Outcome] = {}
    at = int(np.argmin([estimate_s(Costs(rates, work, layout), pipeline, seed) for layout in found]))
    while True:
        for near in range(max(0, at - 1), min(len(found), at + 2)):
            if near not in outcomes:
                outcomes[near] = simulate(rates, work, found[near], name, pipeline, updates=updates, seed=seed)
        best = max(outcomes, key=lambda each: outcomes[each].updates_per_hour)
        if best == at:
            return outcomes[at]
        at = best


def sweep(
    rates: Rates,
    work: Work,
    gpus: Sequence[int],
    compared: Mapping[str, Pipeline],
    *,
    updates: int,
    seed: int,
    grow: bool = False,
) -> list[Outcome]:
    """Every pipeline at every number of GPUs, each with its best split.

    Args:
        grow: prompts of an update grow with the GPUs, from the recipe's at the fewest.
    Raises:
        UserError: too few GPUs for any pipeline.
    """
    outcomes = []
    for count in gpus:
        own = replace(work, prompts=math.ceil(work.prompts * count / min(gpus))) if grow else work
        found = [
            best_split(rates, own, count, name, pipeline, updates=updates, seed=seed)
            for name, pipeline in compared.items()
        ]
        outcomes += [outcome for outcome in found if outcome is not None]
        if not any(found):
            raise UserError(
                f"--gpus {count}: too few for a generator of tensor_parallel {work.tensor_parallel} and a learner of "
                f"at least {rates.learning.min_gpus} (the rates' learning.min_gpus), or no multiple of "
                "tensor_parallel; ask for more, or lower one of these"
            )
    return outcomes
