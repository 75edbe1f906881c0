"""What failures cost in the long run, in closed form: each GPU fails at random, independently of its age.

They are hours apart and updates seconds, so they are no events of the pipelines' models: a pipeline gives the seconds
of an update, and this module what is left of an hour.
"""

from __future__ import annotations

import math

from rlreason.simulate.costs import Costs, Layout
from rlreason.simulate.rates import Failing


def useful_share(work_s: float, checkpoint_s: float, between_s: float, restart_s: float) -> float:
    """Share of the time that goes into work which is kept, when failures go back to the last checkpoint.

    Args:
        work_s: seconds of work between two checkpoints.
        checkpoint_s: seconds of a checkpoint, which a failure can interrupt too.
        between_s: mean seconds between failures, exponential; infinite: none.
        restart_s: seconds until work goes on after a failure; a failure meanwhile begins it anew.
    Source:
        Daly 2006, equation 13's exact form: a segment of s = work + checkpoint takes M e^(R/M) (e^(s/M) - 1) seconds
        on average.
    """
    if math.isinf(between_s):
        return work_s / (work_s + checkpoint_s)
    spent = between_s * math.exp(restart_s / between_s) * math.expm1((work_s + checkpoint_s) / between_s)
    return work_s / spent


def best_interval_s(checkpoint_s: float, between_s: float) -> float:
    """Seconds of work between two checkpoints that lose the least, to first order: sqrt(2 C M) (Young 1974)."""
    return math.sqrt(2 * checkpoint_s * between_s)


def seconds_between(failing: Failing, gpus: int) -> float:
    """Mean seconds between failures of any of so many GPUs; infinite where there are none."""
    hours = failing.gpu_hours_between
    return math.inf if hours is None or gpus == 0 else hours * 3600 / gpus


def kept_share(costs: Costs, update_s: float, generating_s: float, *, phases: bool) -> float:
    """Share of an hour that is left after checkpoints and failures.

    A failure among the learner's GPUs goes back to the last checkpoint. One of a generator costs no update: in `phases`
    all wait until it serves again and has written half of its share anew; else its part of the fleet is gone meanwhile.
    Co-located, every failure is one of the learner.

    Args:
        update_s: mean seconds of an update.
        generating_s: of that, a phase of generation.
    """
    failing, layout = costs.rates.failing, costs.layout
    between = seconds_between(failing, layout.learners)
    work = costs.work.checkpoint_every * update_s
    kept = useful_share(work, failing.checkpoint_s, between, failing.restart_s)
    if layout.colocated:
        return kept
    lost = failing.generator_restart_s
    lost = lost + generating_s / 2 if phases else lost / layout.generators
    return kept / (1 + lost / seconds_between(failing, layout.generator_gpus))


def best_checkpoint_every(failing: Failing, layout: Layout, update_s: float) -> int | None:
    """Updates between checkpoints that lose the least; None where nothing fails, or a checkpoint costs nothing."""
    between = seconds_between(failing, layout.learners)
    if math.isinf(between) or not failing.checkpoint_s:
        return None
    return max(1, round(best_interval_s(failing.checkpoint_s, between) / update_s))
