"""How the rules of a run stand to rules that were frozen before it, in one sentence."""

from __future__ import annotations

from datetime import datetime

from rlreason.records import ManifestRecord, PlanRecord


def registration_sentence(plan: PlanRecord, manifest: ManifestRecord) -> str:
    """Frozen when and unchanged or changed in what, or not frozen before the run."""
    said = plan.registration
    if said is None:
        return "Rules not frozen before the run: it was planned before rules could be, so these are the defaults."
    if said.frozen is None:
        return f"Rules not frozen before the run (their hash: {said.hash})."
    frozen = f"Rules frozen at {said.frozen.at}, hash {said.frozen.hash}"
    if not _before(said.frozen.at, manifest.started):
        return f"{frozen}: not before the run, which began at {manifest.started}."
    if said.frozen.changes:
        return f"{frozen}; changed since: {'; '.join(said.frozen.changes)}."
    return f"{frozen}, unchanged."


def _before(time: str, start: str) -> bool:
    """Whether the time is known to be before; two times that cannot be compared are not."""
    try:
        return datetime.fromisoformat(time) <= datetime.fromisoformat(start)
    except (TypeError, ValueError):  # not ISO 8601, or one of the two without a time zone
        return False
