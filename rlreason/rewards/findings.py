"""What the rewards of a trial say about the reward itself: how it could be cheated, and where it breaks.

Pure: Scores in, sentences out. Which completions are tried is in `samples`, scoring them in `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlreason.rewards import samples as kinds
from rlreason.rewards.failures import FailureKind, kind_of, one_line
from rlreason.rewards.samples import Sample
from rlreason.types import Score

Severity = Literal["serious", "note"]
FINDINGS: dict[str, Severity] = {
    "fails": "serious",
    "fails_on_hostile": "serious",
    "runs_text": "serious",
    "gold_unpaid": "serious",
    "wrong_answer": "serious",
    "empty": "serious",
    "prompt": "serious",
    "every_answer": "serious",
    "unsteady": "serious",
    "order": "serious",
    "wrong_step": "note",
    "cut": "note",
    "repeated": "note",
    "declines": "note",
}
"""Name -> severity. serious: training on it would be fooled or broken; note: may well be meant so."""
CHEAP_SHARE = 0.25
"""Of what the right completion is paid on average: an echoed prompt or a list of answers that is paid less is a note,
since rewards for steps pay for the true facts in it."""

RUNS_TEXT = "runs the completion as code: a file was written that nothing but its text asks for"
_SAME = 1e-9
_SHOWN = 60
"""Characters of a completion that a sentence quotes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One plain sentence. `name` is one of `FINDINGS`."""

    name: str
    severity: Severity
    says: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A completion that was scored. `seconds`: wall time through the pool, the task's check included."""

    sample: Sample
    score: Score
    seconds: float


def find(
    tried: Sequence[Tried],
    again: Mapping[int, Score],
    elsewhere: Mapping[int, Score],
    ran_text: bool,
    allowed: Sequence[str] = (),
) -> list[Finding]:
    """Everything worth saying, serious findings first.

    Args:
        tried: the completions in the order tried.
        again: index into `tried` -> the Score when it was scored a second time, in the same order and worker.
        elsewhere: the same in another order, all at once, in another worker.
        ran_text: a text that was only ever to be read was run as code.
        allowed: names of findings that are meant to be so: these are notes.
    """
    found = [
        *_failures(tried),
        *([_finding("runs_text", RUNS_TEXT)] if ran_text else []),
        *_gold(tried),
        *_cheats(tried),
        *_changes(tried, again, elsewhere),
    ]
    findings = [replace(one, severity="note") if one.name in allowed else one for one in found]
    return sorted(findings, key=lambda finding: finding.severity != "serious")


def _finding(name: str, says: str) -> Finding:
    return Finding(name, FINDINGS[name], says)


def _failures(tried: Sequence[Tried]) -> Iterator[Finding]:
    declined = [one for one in tried if kind_of(one.score.failure) == FailureKind.UNSCORABLE]
    failed = [one for one in tried if kind_of(one.score.failure) not in (None, FailureKind.UNSCORABLE)]
    ordinary = [one for one in failed if one.sample.kind not in kinds.HOSTILE]
    hostile = [one for one in failed if one.sample.kind in kinds.HOSTILE]
    if ordinary:
        count = sum(one.sample.kind not in kinds.HOSTILE for one in tried)
        says = f"has no score for {len(ordinary)} of {count} ordinary completions: {ordinary[0].score.failure}"
        yield _finding("fails", says)
    if hostile:
        names = ", ".join(dict.fromkeys(one.sample.kind for one in hostile))
        yield _finding("fails_on_hostile", f"has no score for hostile text ({names}): {hostile[0].score.failure}")
    if declined:
        says = f"declines to judge {len(declined)} of {len(tried)} completions: {declined[0].score.failure}"
        yield _finding("declines", says)


def _gold(tried: Sequence[Tried]) -> Iterator[Finding]:
    """Whether right is paid more than wrong."""
    gold = [one for one in tried if one.sample.kind in (kinds.GOLD, kinds.RIGHT)]
    name = {kinds.GOLD: "gold derivation", kinds.RIGHT: "right completion"}[gold[0].sample.kind]
    if all(one.score.reward is None for one in gold):
        yield _finding("gold_unpaid", f"has no score for any {name}")
        return
    unpaid = _unpaid(tried, gold)
    if unpaid:
        whole = any(_reward(one) > 0 for one in _of(tried, kinds.BARE))
        remark = "; it pays the answer alone, so it judges the whole text" if whole else ""
        says = f"pays {len(unpaid)} of {len(gold)} {name}s nothing, such as {_quote(unpaid[0])}{remark}"
        yield _finding("gold_unpaid", says)
    paid = _least([one for one in gold if one not in unpaid])
    for kind, words in (
        (kinds.WRONG_ANSWER, "a wrong final answer"),
        (kinds.ANOTHER, "another problem's gold derivation"),
        (kinds.WRONG, "a wrong completion"),
    ):
        yield from _as_much_as_gold("wrong_answer", words, _of(tried, kind), paid)
    yield from _as_much_as_gold("wrong_step", "a right answer after a wrong step", _of(tried, kinds.WRONG_STEP), paid)
    yield from _as_much_as_gold("cut", "a derivation cut in half", _of(tried, kinds.TRUNCATED), paid)
    yield from _as_much_as_gold("repeated", "the answer said 1000 times", _of(tried, kinds.REPEATED), paid)


def _as_much_as_gold(name: str, words: str, tried: Sequence[Tried], gold: Mapping[str, float]) -> Iterator[Finding]:
    compared = [one for one in tried if one.sample.problem.id in gold and one.score.reward is not None]
    equal = [one for one in compared if _reward(one) >= gold[one.sample.problem.id] - _SAME]
    if equal:
        right = gold[equal[0].sample.problem.id]
        says = f"{_reward(equal[0]):.2f} (right: {right:.2f}) for {_quote(equal[0])}"
        yield _finding(name, f"pays {words} as much as the right one in {len(equal)} of {len(compared)}: {says}")


def _unpaid(tried: Sequence[Tried], gold: Sequence[Tried]) -> list[Tried]:
    """The right completions that are paid nothing, and no more than anything else of their problem (0 may be the best
    that a reward made of penalties pays)."""
    least = _least([one for one in tried if one.sample.kind not in kinds.HOSTILE])
    return [one for one in gold if _reward(one) <= min(_SAME, least.get(one.sample.problem.id, 0.0) + _SAME)]


def _cheats(tried: Sequence[Tried]) -> Iterator[Finding]:
    """What costs nothing to write must be worth nothing."""
    gold = [one for one in tried if one.sample.kind in (kinds.GOLD, kinds.RIGHT) and one.score.reward is not None]
    unpaid = _unpaid(tried, gold)
    right = _least([one for one in gold if one not in unpaid])
    for name, kind, words in (
        ("empty", kinds.EMPTY, "an empty answer"),
        ("prompt", kinds.PROMPT, "the prompt echoed"),
        ("every_answer", kinds.EVERY_ANSWER, "every answer at once"),
    ):
        scored = [one for one in _of(tried, kind) if one.score.reward is not None]
        # more than nothing, or as much as the right one where even that is paid nothing (penalties)
        paid = [one for one in scored if _reward(one) > min(_SAME, right.get(one.sample.problem.id, 1.0) - _SAME)]
        if paid:
            quoted = f", such as {_quote(paid[0])}" if paid[0].sample.text else ""
            finding = _finding(name, f"pays {words} {_mean(paid):.2f} in {len(paid)} of {len(scored)}{quoted}")
            cheap = name != "empty" and _mean(scored) < CHEAP_SHARE * _mean(gold)
            yield replace(finding, severity="note") if cheap else finding


def _changes(tried: Sequence[Tried], again: Mapping[int, Score], elsewhere: Mapping[int, Score]) -> Iterator[Finding]:
    unsteady = _changed(tried, again)
    if unsteady:
        yield _finding("unsteady", f"gives another reward when scored again: {unsteady}")
        return
    moved = _changed(tried, elsewhere)
    if moved:
        yield _finding("order", f"gives another reward in another order, worker or company: {moved}")


def _changed(tried: Sequence[Tried], later: Mapping[int, Score]) -> str:
    """How many rewards differ, with the first of them; "" where none does."""
    pairs = [(tried[index], score) for index, score in sorted(later.items())]
    changed = [(one, score) for one, score in pairs if not _equal(one.score.reward, score.reward)]
    if not changed:
        return ""
    one, score = changed[0]
    now = f"{score.reward:.4g}" if score.reward is not None else f"no score ({score.failure})"
    return f"{_reward(one):.4g}, then {now}, for {one.sample.kind} ({len(changed)} of {len(pairs)} changed)"


def _equal(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and abs(first - second) <= _SAME * max(1.0, abs(first))


def _least(tried: Sequence[Tried]) -> dict[str, float]:
    """Problem id -> the least that any of these completions of it is paid."""
    least: dict[str, float] = {}
    for one in tried:
        if one.score.reward is not None:
            key = one.sample.problem.id
            least[key] = min(one.score.reward, least.get(key, one.score.reward))
    return least


def _of(tried: Sequence[Tried], kind: str) -> list[Tried]:
    return [one for one in tried if one.sample.kind == kind]


def _reward(one: Tried) -> float:
    return float("nan") if one.score.reward is None else one.score.reward


def _mean(tried: Sequence[Tried]) -> float:
    return sum(map(_reward, tried)) / len(tried) if tried else 0.0


def _quote(one: Tried) -> str:
    text = one_line(one.sample.text)
    return repr(text if len(text) <= _SHOWN else "..." + text[-_SHOWN:])
