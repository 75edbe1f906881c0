"""Which evaluations took fewer samples than they might have, as their closing figures tell; for the report's cautions.

When to stop is decided where samples are taken; what stopping does to the figures is said in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlreason.records import PlanRecord


def early_stops(plan: PlanRecord, figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence a level, or probe, of each arm and seed on which sampling ended early.

    Args:
        figures: stage -> what its done.json says; of those that have one.
    """
    most = plan.evaluation.samples
    several = any(len(arm.seeds) > 1 for arm in plan.arms.values())
    for name, arm in plan.arms.items():
        for seed, run in arm.seeds.items():
            told = figures.get(run.evaluation, {})
            for level in (*plan.evaluation.levels, *plan.evaluation.probes):
                taken = told.get(f"samples_{level}")
                if taken is None or taken >= most:
                    continue
                beyond = ", ".join(str(k) for k in plan.evaluation.k if k > taken)
                where = f"Arm {name}{f', seed {seed}' if several else ''}, {level}"
                yield (
                    f"{where}: sampling ended after {taken:g} of {most} samples a problem, when the 95% interval of "
                    f"pass@1 was within {100 * told[f'half_width_{level}']:.1f} points either way (evaluation.stop_at)"
                    + (f"; there is no pass@{beyond}." if beyond else ".")
                )
