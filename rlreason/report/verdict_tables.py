"""The verdict as tables: one of labels, one of clauses for each pair and level, and how large the differences are."""

from __future__ import annotations

from collections.abc import Sequence

from rlreason.report.statistics import Estimate
from rlreason.report.tables import NOTHING, Cell, Table, points
from rlreason.report.verdict import Judgement, Verdicts

ANSWERS = {True: "yes", False: "no", None: "cannot say"}
"""How a clause's answer is worded."""


def verdict_tables(verdicts: Verdicts) -> dict[str, list[Table]]:
    """Tables by part of the section: "verdict" (labels), "verdict_clauses" and "verdict_sizes"."""
    judged = verdicts.judgements
    measured = [each for each in judged if each.evidence is not None]
    return {
        "verdict": [_labels(judged)] if judged else [],
        "verdict_clauses": [_clauses(each) for each in measured],
        "verdict_sizes": [_sizes(measured)] if measured else [],
    }


def title(judgement: Judgement) -> str:
    """ "rl against sft on zero_shot"."""
    pair = judgement.pair
    return f"{pair.arm} against {pair.base or 'no base'} on {judgement.level}"


def _labels(judged: Sequence[Judgement]) -> Table:
    rows = []
    for each in judged:
        decision = each.decision
        capped = f"without the cap on seeds: {decision.capped}" if decision.capped else ""
        course = each.evidence.course if each.evidence else None
        gaps = [_estimate(course.gaps[k].difference) for k in (min(course.gaps), course.largest)] if course else []
        rows.append(
            (
                Cell(each.pair.arm, f"against {each.pair.base}" if each.pair.base else "", arm=each.pair.arm),
                Cell(each.level),
                Cell(decision.label, capped, strong=decision.label != "not enough evidence"),
                *(gaps or [NOTHING, NOTHING]),
                Cell("; ".join(decision.missing) or "-"),
            )
        )
    headings = ("arm", "level", "verdict", "gap in one try", "gap at the largest k", "missing, or against it")
    return Table(headings, tuple(rows))


def _estimate(estimate: Estimate) -> Cell:
    return Cell(points(estimate.value), f"{points(estimate.low)} to {points(estimate.high)}")


def _clauses(judgement: Judgement) -> Table:
    rows = [
        (Cell(clause.question), Cell(ANSWERS[clause.holds], strong=clause.holds is True), Cell(clause.numbers),
         Cell(clause.threshold))
        for clause in judgement.clauses.values()
    ]  # fmt: skip
    headings = ("question", "answer", "measured", "held against")
    return Table(headings, tuple(rows), f"{title(judgement)}: {judgement.decision.label}")


def _sizes(measured: Sequence[Judgement]) -> Table:
    """Effect sizes in one try, the spread of the differences, and what could have been seen."""
    rows = []
    for each in measured:
        assert each.evidence is not None
        found, course = each.evidence, each.evidence.course
        odds, h, mixed = found.effects.odds_ratio, found.effects.cohens_h, found.mixed
        detectable = (course.gaps[k].detectable for k in (min(course.gaps), course.largest))
        rows.append(
            (
                Cell(title(each), arm=each.pair.arm),
                Cell(f"{odds.value:.2f}", f"{odds.low:.2f} to {odds.high:.2f}"),
                Cell(f"{h.value:+.2f}", f"{h.low:+.2f} to {h.high:+.2f}"),
                *(Cell(f"{100 * size:.1f}") for size in detectable),
                Cell(f"{100 * mixed.between_seeds:.1f}", mixed.method) if mixed else NOTHING,
                Cell(f"{100 * mixed.between_problems:.1f}") if mixed else NOTHING,
                Cell(f"{found.problems:,}"),
                Cell(f"{len(found.seeds)}"),
                Cell(f"{found.samples}"),
            )
        )
    headings = ("pair", "odds ratio", "Cohen's h", "detectable in one try", "at the largest k", "between seeds")
    more = ("between problems", "problems", "seeds", "samples")
    return Table((*headings, *more), tuple(rows), "How large, and what could have been seen")
