"""Pipelines whose generators begin and end a batch together: synchronous, and one step off.

A phase of generation ends with its slowest generator. Each gets its share of the completions at once, in order, as
`RayGenerator` cuts them. Pipelines without such phases are in `streaming`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from rlreason.simulate.costs import Costs
from rlreason.simulate.timeline import SHARES, Timeline


def occupancy(lengths: np.ndarray, sequences: int) -> np.ndarray:
    """Decoding steps that generators spend with each number of running sequences, under continuous batching.

    Every running sequence gets a token a step; where one ends, the next that waits takes its place in the same step.

    Args:
        lengths: [R, n] int, tokens of the completions of each of R generators; 0 where there is none.
        sequences: that run together at most.
    Returns:
        [R, sequences + 1] int64. A row's sum is the generator's steps, its product with 0, 1, 2 ... the tokens.
    """
    count, steps = lengths.shape[1], np.zeros((len(lengths), sequences + 1), dtype=np.int64)
    if count <= sequences:
        ends = np.sort(lengths, axis=1)
        steps[:, count - np.arange(count)] = np.diff(ends, prepend=0, axis=1)
        return steps
    for own, row in zip(lengths, steps, strict=True):
        present = own[own > 0].tolist()
        running, now = present[:sequences], 0
        heapq.heapify(running)
        for length in present[sequences:]:
            end = running[0]
            row[sequences] += end - now
            now = heapq.heapreplace(running, end + length)
        ends = np.diff(np.sort(np.array(running, dtype=np.int64)), prepend=now)
        row[len(running) - np.arange(len(running))] += ends
    return steps


@dataclass(frozen=True, slots=True)
class Generation:
    """A phase: `seconds` until its last generator is done, `full` generator-seconds that the same prompts and tokens
    take as long as the batch is full."""

    seconds: float
    full: float


def generate(costs: Costs, lengths: np.ndarray) -> Generation:
    """The phase in which the generators write completions of these lengths, [P, G] int."""
    generators, step = costs.layout.generators, costs.step_seconds
    flat = lengths.reshape(-1)
    sizes = np.array([len(share) for share in np.array_split(flat, generators)])
    shares = np.zeros((generators, sizes.max()), dtype=np.int64)
    shares[np.arange(sizes.max()) < sizes[:, None]] = flat
    ends = np.cumsum(sizes)
    # prompts of a contiguous share, those that two generators share counted for both
    prompts = np.where(sizes > 0, (ends - 1) // costs.work.group - (ends - sizes) // costs.work.group + 1, 0)
    reading = prompts * costs.prompt_s
    busy = reading + occupancy(shares, costs.work.sequences) @ step
    together = np.minimum(sizes, costs.work.sequences)
    full = reading + shares.sum(axis=1) * step[together] / np.maximum(together, 1)
    return Generation(float(busy.max()), float(full.sum()))


def run_phases(costs: Costs, updates: int, random: np.random.Generator, *, one_step_off: bool) -> Timeline:
    """Updates in phases: generate, then learn; or, `one_step_off`, learn from one batch while the next is generated."""
    layout = costs.layout
    seconds, spent = np.zeros(updates), dict.fromkeys(SHARES, 0.0)
    drive, sync, score = costs.drive_s, costs.sync_s, costs.score_s(costs.work.completions)
    trained, tokens = costs.draw(random), 0
    for update in range(updates):
        if one_step_off:
            lengths, trained = trained, costs.draw(random)
            phase, learn = generate(costs, trained), costs.learn_s(lengths)
            both = max(phase.seconds + score, learn)
            held, starved = both - phase.seconds - score, both - learn
            seconds[update] = both + drive + sync
            spent["driver"] += layout.generator_gpus * score
        else:
            lengths = costs.draw(random)
            phase, learn = generate(costs, lengths), costs.learn_s(lengths)
            held, starved = (0.0, 0.0) if layout.colocated else (learn, phase.seconds)
            seconds[update] = phase.seconds + score + learn + drive + sync
            spent["driver"] += layout.gpus * score
        tokens += int(lengths.sum())
        full = layout.tensor_parallel * phase.full
        spent["generate"] += full
        spent["tail"] += layout.generator_gpus * phase.seconds - full
        spent["held"] += layout.generator_gpus * held
        spent["learn"] += layout.learners * learn
        spent["starved"] += layout.learners * starved
        spent["sync"] += layout.gpus * sync
        spent["driver"] += layout.gpus * drive
    staleness = np.zeros(2, dtype=np.int64)
    staleness[int(one_step_off)] = updates * costs.work.completions
    return Timeline(seconds, spent, staleness, tokens)
