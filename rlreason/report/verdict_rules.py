"""The rules of the verdict: from evidence to clauses that hold, fail or cannot be said, and from these to one label.

`decide` is the whole of it, and docs/verdict.md says the same in prose. Nothing is measured here (`verdict_evidence`),
and nothing is chosen: every threshold comes from the recipe, as the run's plan has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rlreason.records.documents import PlanVerdict
from rlreason.report.statistics_crossed import Estimate
from rlreason.report.tables import p_value
from rlreason.report.verdict_evidence import Evidence

Label = Literal["synthesis", "amplification", "no gain", "not enough evidence"]
LABELS: tuple[Label, ...] = get_args(Label)
SYNTHESIS: Label = "synthesis"
AMPLIFICATION: Label = "amplification"
NO_GAIN: Label = "no gain"
NOT_ENOUGH: Label = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Clause:
    """One question of the verdict.

    Attributes:
        holds: None where the evidence cannot say.
        numbers: what was measured, in words.
        threshold: what it was held against, in words.
        lacking: what would let it hold or say, for the list of what is missing; "" where it holds.
    """

    name: str
    question: str
    holds: bool | None
    numbers: str
    threshold: str
    lacking: str = ""

    def as_json(self) -> dict[str, Any]:
        """The entry in report.json."""
        return {name: getattr(self, name) for name in ("question", "holds", "numbers", "threshold", "lacking")}


@dataclass(frozen=True, slots=True)
class Decision:
    """The label, the one that more seeds would have let stand (None: the same), and what is missing or against it."""

    label: Label
    capped: Label | None
    missing: tuple[str, ...]


def decide(clauses: Mapping[str, Clause], seeds: int, rules: PlanVerdict) -> Decision:
    """The verdict.

    No gain: neither one try nor the most tries show a gap of the size that matters.
    Amplification: there is a gain in one try, and the gap closes with more of them, though not by guessing.
    Synthesis: there is a gain, the gap does not close, it is there where the base fails, no control reaches it, it
    rests on right derivations and on skills that the base has, and guessing does not explain it; and where it was
    recorded how likely the base finds these derivations, they are out of its reach.
    All else is not enough evidence; so is each of these under fewer seeds than the rules ask for.
    """

    def holds(*names: str) -> bool:
        return all(clauses[name].holds is True for name in names)

    def fails(*names: str) -> bool:
        return all(clauses[name].holds is False for name in names)

    found: Label
    if fails("gain", "gap"):
        found = NO_GAIN
    elif holds("gain") and fails("gap") and not fails("guessing"):
        found = AMPLIFICATION
    elif holds(*REQUIRED) and not fails("reach"):
        found = SYNTHESIS
    else:
        found = NOT_ENOUGH
    against = [
        clause.lacking for name, clause in clauses.items() if clause.lacking and (name != "reach" or fails(name))
    ]
    missing = against if found == NOT_ENOUGH else []
    if seeds < rules.minimal_seeds:
        few = f"seeds: {seeds} of the {rules.minimal_seeds} that the rules ask for"
        return Decision(NOT_ENOUGH, found if found != NOT_ENOUGH else None, (few, *missing))
    return Decision(found, None, tuple(missing))


REQUIRED = ("gain", "gap", "unsolved", "controls", "derivations", "prerequisites", "guessing")
"""The clauses that synthesis needs, all of them. The other, `reach`, counts where it was recorded."""


def read_clauses(found: Evidence, rules: PlanVerdict) -> dict[str, Clause]:
    """Each clause by its name, in the order of the report."""
    clauses = (
        _gain(found, rules),
        _gap(found, rules),
        _unsolved(found, rules),
        _controls(found, rules),
        _derivations(found, rules),
        _prerequisites(found, rules),
        _guessing(found, rules),
        _reach(found, rules),
    )
    return {clause.name: clause for clause in clauses}


def _gain(found: Evidence, rules: PlanVerdict) -> Clause:
    gain = found.course.gaps[min(found.course.gaps)]
    holds = True if gain.difference.low > 0 else False if gain.difference.high < rules.minimal_gap else None
    return Clause(
        "gain",
        "Does one try solve more?",
        holds,
        f"{_points(gain.difference)} points in one try",
        f"above 0; no gain: below {_plain(rules.minimal_gap)}",
        "" if holds else _power("a gain in one try", gain.difference, gain.detectable),
    )


def _gap(found: Evidence, rules: PlanVerdict) -> Clause:
    """Held: above the threshold at the largest k, and not narrowing. Closed: below it there."""
    course, largest = found.course, found.course.largest
    gap, slope = course.gaps[largest], course.slope
    narrows = slope is not None and slope.high < 0
    closed = gap.difference.high < rules.minimal_gap
    held = gap.difference.low > rules.minimal_gap and slope is not None and not narrows
    numbers = f"{_points(gap.difference)} points at k = {largest}"
    if slope is not None:
        numbers += f"; {_points(slope)} a doubling of k"
    lacking = ""
    if slope is None:
        lacking = "samples: the gap was measured at one k alone"
    elif not held and not closed and narrows:
        lacking = f"samples: the gap still narrows at k = {largest}; a larger k would show whether it closes"
    elif not held:
        lacking = _power(f"a gap at k = {largest}", gap.difference, gap.detectable)
    return Clause(
        "gap",
        "Does the gap hold, or widen, as both may try more often?",
        True if held else False if closed else None,
        numbers,
        f"above {_plain(rules.minimal_gap)} and not narrowing; closed: below {_plain(rules.minimal_gap)}",
        lacking,
    )


def _unsolved(found: Evidence, rules: PlanVerdict) -> Clause:
    """One try of the arm must beat the base's many, where the base failed as many others."""
    name, question = "unsolved", "Does it solve what its base leaves unsolved, in one try more than its base in many?"
    split = found.split_half
    threshold = f"above 0 on at least {rules.minimal_unsolved} problems a seed"
    if split is None:
        return Clause(name, question, None, "no problem that half of the base's samples leaves unsolved", threshold,
                      "problems that the base leaves unsolved")  # fmt: skip
    bound = f"none of {split.half} right bounds the base's chance below {min(1.0, 3 / split.half):.0%}"
    numbers = (
        f"{split.unsolved:.0f} problems a seed that one half of the base's samples leaves unsolved ({bound}): the arm "
        f"solves {split.arm:.1%} in one try, its base in the other half {split.base_one:.1%} in one and "
        f"{split.base_many:.1%} in {split.tries}; {_points(split.lead_one)} against one, "
        f"{_points(split.lead_many)} against {split.tries}"
    )
    enough = split.unsolved >= rules.minimal_unsolved
    holds = None if not enough else True if split.lead_many.low > 0 else False if split.lead_many.high < 0 else None
    lacking = f"problems that the base leaves unsolved: {split.unsolved:.0f} of {rules.minimal_unsolved} a seed"
    if enough:
        lacking = (
            f"a lead on what the base leaves unsolved: {_points(split.lead_many)} points of one try over {split.tries} "
            f"of its base, so amplification by {split.tries} would do"
        )
    return Clause(name, question, holds, numbers, threshold, "" if holds else lacking)


def _controls(found: Evidence, rules: PlanVerdict) -> Clause:
    name, question = "controls", "Does it beat its matched controls?"
    threshold = f"above every control at k = {found.course.largest}, corrected p below {rules.alpha:g} (Holm)"
    if not found.controls:
        return Clause(name, question, None, "none", threshold, "matched controls, such as rejection fine-tuning "
                      "and more supervised training from the same base")  # fmt: skip
    numbers, lacking = [], []
    beaten: list[bool | None] = []
    for control in found.controls:
        if control.at_most is None or control.at_one is None:
            numbers.append(f"{control.name}: {control.reason}")
            lacking.append(f"the control {control.name}: {control.reason}")
            beaten.append(None)
            continue
        lead = control.at_most.difference
        p = control.at_most.p_corrected
        numbers.append(
            f"{control.name}: {_points(lead)} points, {p_value(p)} ({_points(control.at_one.difference)} in one)"
        )
        clear = p < rules.alpha and lead.value > 0
        beaten.append(True if clear else False if lead.high < rules.minimal_gap else None)
        if not clear:
            lacking.append(f"a lead over the control {control.name}: {_points(lead)} points")
    holds = False if False in beaten else None if None in beaten else True
    return Clause(name, question, holds, "; ".join(numbers), threshold, "; ".join(lacking))


def _derivations(found: Evidence, rules: PlanVerdict) -> Clause:
    name, question = "derivations", "Do the right answers rest on right derivations?"
    measured, k = found.derivations, found.course.largest
    threshold = f"share above {rules.right_derivations:.0%}, and the gap counted so above {_plain(rules.minimal_gap)}"
    if rules.outcome == "derivation":
        threshold = "counted are only samples with every step right"
    if measured is None:
        return Clause(name, question, None, "steps were not checked", threshold, "derivations that the task can check")
    share, gap = measured.share, measured.gap.difference
    said = f"{share.value:.1%} ({_interval(share)}) of the right answers" if share else "no right answer"
    numbers = f"{said}; counted so the gap at k = {k} is {_points(gap)} points"
    if rules.outcome == "derivation":
        return Clause(name, question, True, numbers, threshold)
    if share is None:
        return Clause(name, question, None, numbers, threshold, "right answers")
    holds = share.low > rules.right_derivations and gap.low > rules.minimal_gap
    fails = share.high < rules.right_derivations or gap.high < rules.minimal_gap
    lacking = "" if holds else f"right derivations: they are under {said}, and counted so the gap is {_points(gap)}"
    return Clause(name, question, True if holds else False if fails else None, numbers, threshold, lacking)


def _prerequisites(found: Evidence, rules: PlanVerdict) -> Clause:
    name, question = "prerequisites", "Has the base the skills that the level composes?"
    threshold = f"each above {rules.mastery:.0%}"
    if not found.prerequisites:
        return Clause(name, question, None, "none was asked", threshold, "probes of the skills that the level composes")
    said, lacking = [], []
    verdicts: list[bool | None] = []
    for probe, share in found.prerequisites.items():
        if share is None:
            verdicts.append(None)
            said.append(f"{probe}: not asked of the base")
            lacking.append(f"the probe {probe} of the base")
            continue
        mastered = True if share.low > rules.mastery else False if share.high < rules.mastery else None
        verdicts.append(mastered)
        said.append(f"{probe}: {share.value:.1%} ({_interval(share)})")
        if not mastered:
            lacking.append(f"mastery of {probe} by the base: {share.value:.1%} ({_interval(share)})")
    holds = False if False in verdicts else None if None in verdicts else True
    return Clause(name, question, holds, "; ".join(said), threshold, "; ".join(lacking))


def _guessing(found: Evidence, rules: PlanVerdict) -> Clause:
    name, question, k = "guessing", "Is it more than guessing?", found.course.largest
    threshold = f"guessing {k} times solves at most {rules.chance:.0%}"
    if rules.outcome == "derivation":
        said = "a guessed answer does not count: every step must be right"
        return Clause(name, question, True, said, threshold)
    if found.chance is None:
        return Clause(name, question, None, "not known", threshold, "the chance of guessing an answer")
    numbers = f"guessing {k} times solves {found.chance:.1%}, the base {found.base[k]:.1%}, the arm {found.arm[k]:.1%}"
    if found.chance <= rules.chance:
        return Clause(name, question, True, numbers, threshold)
    lacking = (
        f"answers that cannot be guessed: {k} guesses solve {found.chance:.1%}; make the answer space larger, or judge "
        "derivations (verdict.outcome)"
    )
    return Clause(name, question, False, numbers, threshold, lacking)


def _reach(found: Evidence, rules: PlanVerdict) -> Clause:
    """Asked only of what the base left unsolved in all of its samples: the rest is within reach."""
    name, question = "reach", "Is what the base leaves unsolved out of its reach?"
    threshold = (
        f"less than half of these problems with a derivation likelier than 1 in {rules.reach:,}, of at least "
        f"{rules.minimal_unsolved} a seed"
    )
    reach = found.reach
    if reach is None:
        return Clause(name, question, None, "not recorded; the other clauses stand without it", threshold)
    numbers = (
        f"of {reach.problems:.0f} problems a seed that its base leaves unsolved and it derives, "
        f"{reach.within.value:.1%} ({_interval(reach.within)})"
    )
    enough = reach.problems >= rules.minimal_unsolved
    holds = None if not enough else True if reach.within.high < 0.5 else False if reach.within.low > 0.5 else None
    lacking = f"derivations out of the base's reach: {numbers} are likelier than 1 in {rules.reach:,}"
    return Clause(name, question, holds, numbers, threshold, "" if holds else lacking)


def _points(estimate: Estimate) -> str:
    """ "+4.2 (1.0 to 7.4)", in percentage points."""
    value, low, high = (f"{100 * each:.1f}" for each in (estimate.value, estimate.low, estimate.high))
    sign = "+" if estimate.value > 0 else ""
    return f"{sign}{value} ({low} to {high})".replace("-", "\N{MINUS SIGN}")


def _interval(estimate: Estimate) -> str:
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def _plain(share: float) -> str:
    return f"{100 * share:g} points"


def _power(what: str, difference: Estimate, detectable: float) -> str:
    """What is not shown, and what could have been."""
    seen = f"this evaluation finds differences from {100 * detectable:.1f} points on in four cases of five"
    return f"{what}: {_points(difference)} points ({seen})"
