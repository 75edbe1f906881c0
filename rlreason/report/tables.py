"""The report's tables as plain cells of text, worded once and rendered in every form (HTML, Markdown).

Figures come from `report.summary`; how a cell looks is the templates' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlreason.report.controls import Control
from rlreason.report.levels import LevelSummary
from rlreason.report.pairs import MEASURES, Comparison, Pair
from rlreason.report.statistics import Estimate, PairedDifference
from rlreason.report.summary import ArmSummary, Summary
from rlreason.report.training import ON_POLICY, Curves

TRAINING_METRICS = {
    "reward_mean": "reward",
    "correct_mean": "share right",
    "loss": "loss",
    "entropy": "entropy",
    "completion_tokens_mean": "tokens a completion",
    "mismatch_mean": "mismatch",
}
"""Metrics of the tables of training, with their headings; report.json has all that were recorded."""

RATES = {"completions_per_second": "completions/s", "trained_tokens_per_second": "trained tokens/s"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as it is read, and the number behind it for the tables that programs read.

    Attributes:
        text: what stands in the cell.
        detail: smaller, after it.
        strong: stands out.
        arm: the arm it names, if it names one; gets its colour.
        value, low, high: the number, unrounded (shares in [0, 1], seconds), and its interval; None: the cell is text.
    """

    text: str
    detail: str = ""
    strong: bool = False
    arm: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of equal length; the first column names the row."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""


NOTHING = Cell("-")


def share_cell(share: float) -> Cell:
    """A share as percent."""
    return Cell(percent(share), value=share)


def estimate_cell(estimate: Estimate, strong: bool = False) -> Cell:
    """A share as percent with its interval."""
    return Cell(
        percent(estimate.value), interval(estimate), strong, value=estimate.value, low=estimate.low, high=estimate.high
    )


def number_cell(value: float) -> Cell:
    """A number, large ones with thousands separated."""
    return Cell(number(value), value=value)


def duration_cell(seconds: float | None) -> Cell:
    """Seconds, for people to read."""
    return Cell(duration(seconds), value=seconds)


def tables(summary: Summary) -> dict[str, list[Table]]:
    """All tables by section of the report; a section without records has none."""
    levels, probes = _asked(summary, "levels"), _asked(summary, "probes")
    return {
        "levels": _greedy_table(summary, "levels", levels),
        "seeds": _by_level(summary, "levels", levels, _per_seed) if len(summary.manifest.seeds) > 1 else [],
        "steps": _steps(summary, levels),
        "unscored": _unscored(summary, levels),
        "paired": paired_tables(summary.plan.evaluation.levels, summary.paired.comparisons),
        "probes": _greedy_table(summary, "probes", probes),
        "pass_at_k": _pass_at_k(summary, levels),
        "training": _training(summary.curves),
        "phases": _phases(summary.curves),
        "stages": [_stages(summary)],
    }


def _asked(summary: Summary, which: str) -> list[str]:
    """Levels or probes that some arm has figures on, in the recipe's order."""
    return [
        name
        for name in getattr(summary.plan.evaluation, which)
        if any(name in getattr(arm, which) for arm in summary.arms.values())
    ]


def _by_level(
    summary: Summary,
    which: str,
    names: list[str],
    cell: Callable[[LevelSummary, list[LevelSummary]], Cell],
    title: str = "",
) -> list[Table]:
    """Arms by levels (or probes). `cell` gets the arm's figures and the other arms' figures on the same level."""
    if not names:
        return []
    columns = {name: _column(summary, which, name) for name in names}
    rows = []
    for arm_name, arm in summary.arms.items():
        asked: Mapping[str, LevelSummary] = getattr(arm, which)
        cells = [
            cell(asked[name], [other for other in columns[name] if other is not asked[name]])
            if name in asked
            else Cell("not evaluated")
            for name in names
        ]
        rows.append((arm_cell(arm_name, arm), *cells))
    return [Table(("arm", *names), tuple(rows), title)]


def _column(summary: Summary, which: str, name: str) -> list[LevelSummary]:
    """The figures of the arms that were asked a level (or probe)."""
    asked: list[Mapping[str, LevelSummary]] = [getattr(arm, which) for arm in summary.arms.values()]
    return [levels[name] for levels in asked if name in levels]


def _greedy_table(summary: Summary, which: str, names: list[str]) -> list[Table]:
    """Arms by levels (or probes), and below them what interpolators reached and guessing would."""
    found = _by_level(summary, which, names, _greedy)
    guesses = [_column(summary, which, name)[0].chance for name in names]
    guessing = (Cell("guessing"), *(NOTHING if chance is None else share_cell(chance) for chance in guesses))
    controls = [_control(control, getattr(control, which), names) for control in summary.controls]
    return [Table(table.headings, (*table.rows, *controls, guessing)) for table in found]


def _control(control: Control, asked: Mapping[str, LevelSummary], names: list[str]) -> tuple[Cell, ...]:
    """The row of an interpolator."""
    cells = (estimate_cell(asked[name].pass_at_1) if name in asked else NOTHING for name in names)
    return (Cell(control.title, f"fitted on {control.train_problems:,} problems"), *cells)


def arm_cell(name: str, arm: ArmSummary) -> Cell:
    """The cell that names a row's arm."""
    return Cell(name, detail=arm.title if arm.title != name else "", arm=name)


def _greedy(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    """Share right; strong only where the interval lies wholly above every other arm's."""
    strong = bool(others) and all(level.pass_at_1.is_above(other.pass_at_1) for other in others)
    return estimate_cell(level.pass_at_1, strong)


def _per_seed(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    return Cell(" · ".join(f"{seed}: {percent(share)}" for seed, share in level.per_seed.items()))


def _derivations(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    right = level.derivation_correct
    return estimate_cell(right) if right else NOTHING


def _wrong_steps(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    share = level.right_answer_wrong_steps
    return NOTHING if share is None else share_cell(share)


def _steps(summary: Summary, levels: list[str]) -> list[Table]:
    if all(level.derivation_correct is None for arm in summary.arms.values() for level in arm.levels.values()):
        return []
    return [
        *_by_level(summary, "levels", levels, _derivations, "Every step right"),
        *_by_level(
            summary, "levels", levels, _wrong_steps, "Of the right answers, those with steps that are not right"
        ),
    ]


def _unscored(summary: Summary, levels: list[str]) -> list[Table]:
    def cell(level: LevelSummary, others: list[LevelSummary]) -> Cell:
        return Cell(f"{level.unscored:,} of {level.completions:,}", value=level.unscored)

    if not any(level.unscored for arm in summary.arms.values() for level in arm.levels.values()):
        return []
    return _by_level(summary, "levels", levels, cell, "Completions that could not be judged")


def _pass_at_k(summary: Summary, levels: Iterable[str]) -> list[Table]:
    """Of each level a table of right answers, and one of right derivations where steps were checked."""
    found = []
    for level in levels:
        arms = {arm_cell(name, arm): arm.levels[level] for name, arm in summary.arms.items() if level in arm.levels}
        answers = {cell: figures.pass_at_k for cell, figures in arms.items() if figures.pass_at_k}
        derived = {cell: figures.derived_at_k for cell, figures in arms.items() if figures.derived_at_k}
        found += [
            at_k_table(figures, title)
            for figures, title in ((answers, level), (derived, f"{level}, every step right"))
            if figures
        ]
    return found


def at_k_table(figures: Mapping[Cell, Mapping[int, Estimate]], title: str) -> Table:
    """A row an arm, given by its cell, and a column a k."""
    ks = sorted({k for estimates in figures.values() for k in estimates})
    rows = [
        (cell, *(estimate_cell(estimates[k]) if k in estimates else NOTHING for k in ks))
        for cell, estimates in figures.items()
    ]
    return Table(("arm", *(f"pass@{k}" for k in ks)), tuple(rows), title)


def paired_tables(levels: Iterable[str], comparisons: Iterable[Comparison]) -> list[Table]:
    """A table a level, a row a pair."""
    comparisons = list(comparisons)
    found = []
    for level in levels:
        here = [each for each in comparisons if each.level == level]
        measures = [name for name in MEASURES if any(name in each.measures for each in here)]
        rows = [
            (
                _pair(each.pair),
                *(_difference(each.measures.get(name)) for name in measures),
                _points_cell(each.measures["pass_at_1"].detectable),
                Cell(f"{each.problems:,}", f"{each.left_out:,} left out" if each.left_out else "", value=each.problems),
                number_cell(len(each.seeds)),
            )
            for each in here
        ]
        if rows:
            titles = (here[0].title(name) for name in measures)  # all pairs of a level have the same k
            found.append(Table(("pair", *titles, "detectable", "problems", "seeds"), tuple(rows), level))
    return found


def _pair(pair: Pair) -> Cell:
    why = {"base": "its base", "sibling": "same base", "asked for": ""}
    return Cell(f"{pair.arm} vs {pair.against}", why[pair.relation], arm=pair.arm)


def _difference(found: PairedDifference | None) -> Cell:
    if found is None:
        return NOTHING
    difference = found.difference
    detail = f"{points(difference.low)} to {points(difference.high)}, {p_value(found.p_corrected)}"
    return Cell(
        points(difference.value),
        detail,
        found.is_clear,
        value=difference.value,
        low=difference.low,
        high=difference.high,
    )


def _points_cell(share: float) -> Cell:
    return Cell(f"{100 * share:.1f}", value=share)


def _training(curves: Iterable[Curves]) -> list[Table]:
    """A table a kind of stage, each with the metrics that its stages recorded."""
    found = []
    kinds = {
        "Reinforcement learning": ON_POLICY,
        "Supervised training": ("pretrain", "sft", "rft", "dpo"),
        "Step scorers": ("prm",),
    }
    for title, types in kinds.items():
        stages = [each for each in curves if each.type in types]
        metrics = [metric for metric in TRAINING_METRICS if any(each.before_after(metric) for each in stages)]
        rows = [
            (
                Cell(each.label, arm=each.arm),
                number_cell(each.updates),
                *(change(each.before_after(m)) for m in metrics),
            )
            for each in stages
        ]
        if rows:
            headings = ("stage", "updates", *(TRAINING_METRICS[metric] for metric in metrics))
            found.append(Table(headings, tuple(rows), title))
    return found


def _phases(curves: Iterable[Curves]) -> list[Table]:
    timed = [each for each in curves if each.phases()]
    phases = list(dict.fromkeys(phase for each in timed for phase in each.phases()))
    rates = {rate: title for rate, title in RATES.items() if any(rate in each.metrics for each in timed)}
    rows = []
    for each in timed:
        seconds = each.phases()
        total = sum(seconds.values())
        shares = [
            Cell(f"{seconds[phase]:.2f} s", percent(seconds[phase] / total) if total else "", value=seconds[phase])
            if phase in seconds
            else NOTHING
            for phase in phases
        ]
        means = [number_cell(float(each.metrics[rate].mean())) if rate in each.metrics else NOTHING for rate in rates]
        rows.append((Cell(each.label, arm=each.arm), Cell(f"{total:.2f} s", value=total), *shares, *means))
    return [Table(("stage", "an update", *phases, *rates.values()), tuple(rows), "An update, mean")] if rows else []


def _stages(summary: Summary) -> Table:
    """Every stage, its wall-clock time and whatever figures it left in its done.json."""
    figures = {identity: _numbers(stage.figures) for identity, stage in summary.stages.items()}
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    rows = [
        (
            Cell(stage.label, identity),
            Cell(stage.type),
            duration_cell(stage.seconds),
            *(number_cell(figures[identity][name]) if name in figures[identity] else NOTHING for name in names),
        )
        for identity, stage in summary.stages.items()
    ]
    return Table(("stage", "type", "time", *(name.replace("_", " ") for name in names)), tuple(rows), "Stages")


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value for name, value in figures.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def percent(share: float) -> str:
    """A share as percent with one decimal."""
    return f"{100 * share:.1f}%"


def interval(estimate: Estimate) -> str:
    """An interval in percent, "41.2 to 58.9"."""
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign, "+4.2"."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """A p value, "p 0.034"."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds as "4.2 s", "3 min 05 s" or "2 h 07 min"; "not finished" for None."""
    if seconds is None:
        return "not finished"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float) -> str:
    """A number for a table: thousands separated, small ones with three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def change(before_after: tuple[float, float] | None) -> Cell:
    """A metric before and after training."""
    return Cell(f"{before_after[0]:.3g} → {before_after[1]:.3g}") if before_after else NOTHING
