"""From the updates of the sides to rates, spreads and ratios. Pure: nothing is measured or printed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rlreason.bench.floor import Ceilings, UpdateFloor

GENERATE, LEARN = "generate", "learn"


@dataclass(frozen=True, slots=True)
class UpdateFigures:
    """One update of a side, as the side timed and counted it.

    Attributes:
        seconds: from the moment it might begin to the moment it reported.
        phases: seconds by name ("generate", "score", "learn", "sync"); what none of them claims is "other".
        completions: completions that were scored and trained on.
        generated_tokens: tokens of those completions.
        trained_tokens: prompt and completion tokens of the sequences that were trained on: a prompt counts with
            each of its completions, however often it was computed.
        forward_passes: passes of the learner's model, each with its backward pass.
        padded_share: share of the positions in those passes that held no token.
        computed_tokens: positions in those passes: fewer than trained where a prompt is computed once for its group.
    """

    seconds: float
    phases: Mapping[str, float]
    completions: int
    generated_tokens: int
    trained_tokens: int
    forward_passes: int
    padded_share: float
    computed_tokens: int

    @property
    def work(self) -> tuple[int, int, int]:
        """What must be equal where two sides did the same work."""
        return self.completions, self.generated_tokens, self.trained_tokens

    def rates(self) -> dict[str, float]:
        """completions_per_s of the whole update, generated_tokens_per_s of generate, trained_tokens_per_s of learn."""
        return {
            "completions_per_s": self.completions / self.seconds,
            "generated_tokens_per_s": self.generated_tokens / self.phases[GENERATE],
            "trained_tokens_per_s": self.trained_tokens / self.phases[LEARN],
        }

    def breakdown(self) -> dict[str, float]:
        """Seconds by phase, with "other"; they add up to `seconds`."""
        return {**self.phases, "other": self.seconds - sum(self.phases.values())}


@dataclass(frozen=True, slots=True)
class SideFigures:
    """A side of the benchmark.

    Attributes:
        engine: what it ran on, in words.
        start_s: from the start of its process to the end of its first update.
        peak_bytes: most memory its process tree held.
        updates: the measured updates; the first, which warms up, is not among them.
    """

    engine: str
    start_s: float
    peak_bytes: int
    updates: Sequence[UpdateFigures]

    def summary(self) -> dict[str, Any]:
        """Plain JSON values."""
        rates = [update.rates() for update in self.updates]
        parts = [update.breakdown() for update in self.updates]
        total = sum(update.seconds for update in self.updates)
        return {
            "engine": self.engine,
            "seconds_an_update": spread([update.seconds for update in self.updates]),
            **{name: spread([rate[name] for rate in rates]) for name in rates[0]},
            "phases": {
                name: {
                    "seconds": median(part[name] for part in parts),
                    "share": sum(part[name] for part in parts) / total,
                }
                for name in parts[0]
            },
            "forward_passes": self.updates[-1].forward_passes,
            "trained_tokens": self.updates[-1].trained_tokens,
            "computed_tokens": self.updates[-1].computed_tokens,
            "padded_share": max(update.padded_share for update in self.updates),
            "peak_memory_gib": self.peak_bytes / 2**30,
            "start_to_first_update_s": self.start_s,
        }


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """What the machine could do, and the least that an update would take it.

    Attributes:
        floor: the update's least work.
        ceilings: as measured, one a round.
        sizes: of what was multiplied and read for them, by name.
    """

    floor: UpdateFloor
    ceilings: Sequence[Ceilings]
    sizes: Mapping[str, float]

    def summary(self) -> dict[str, Any]:
        """Plain JSON values: ceilings with their sizes, and operations, bytes and seconds of either phase."""
        floors = [each.floor_seconds(self.floor) for each in self.ceilings]
        work = {GENERATE: (self.floor.prefill, self.floor.decode), LEARN: (self.floor.learn,)}
        return {
            "ceilings": {
                "wide_gflop_per_s": spread([each.wide_operations_per_s / 1e9 for each in self.ceilings]),
                "decode_gflop_per_s": spread([each.decode_operations_per_s / 1e9 for each in self.ceilings]),
                "read_gb_per_s": spread([each.bytes_per_s / 1e9 for each in self.ceilings]),
                **self.sizes,
            },
            "floor": {
                phase: {
                    "operations": sum(part.operations for part in parts),
                    "bytes": sum(part.moved_bytes for part in parts),
                    "seconds": spread([floor[phase] for floor in floors]),
                }
                for phase, parts in work.items()
            },
        }

    def shares(self, updates: Sequence[UpdateFigures]) -> dict[str, dict[str, float]]:
        """Share of a phase's seconds that no engine could have saved, round by round: 1 is the machine's limit."""
        rounds = [(each.floor_seconds(self.floor), made) for each, made in zip(self.ceilings, updates, strict=True)]
        return {
            phase: spread([floor[phase] / made.phases[phase] for floor, made in rounds]) for phase in (GENERATE, LEARN)
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """min, median and max."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def ratios(ours: Sequence[UpdateFigures], peer: Sequence[UpdateFigures]) -> dict[str, dict[str, float]]:
    """One side's rate over another's, pair by pair in the order they alternated: above 1 the first is faster.

    Args:
        ours, peer: equally many updates; the i-th of each ran in the same round.
    """
    pairs = [(mine.rates(), theirs.rates()) for mine, theirs in zip(ours, peer, strict=True)]
    return {name: spread([mine[name] / theirs[name] for mine, theirs in pairs]) for name in pairs[0][0]}
