"""The report's tables as plain cells of text, worded once and rendered in every form (HTML, Markdown).

Figures come from `report.summary`; how a cell looks is the templates' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlreason.report.levels import LevelSummary
from rlreason.report.pairs import MEASURES, Pair
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
    """One cell: its text, a smaller detail after it, whether it stands out, and the arm it names, if it names one."""

    text: str
    detail: str = ""
    strong: bool = False
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of equal length; the first column names the row."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""


NOTHING = Cell("-")


def tables(summary: Summary) -> dict[str, list[Table]]:
    """All tables by section of the report; a section without records has none."""
    levels, probes = _asked(summary, "levels"), _asked(summary, "probes")
    return {
        "levels": _greedy_table(summary, "levels", levels),
        "seeds": _by_level(summary, "levels", levels, _per_seed) if len(summary.manifest.seeds) > 1 else [],
        "steps": _steps(summary, levels),
        "unscored": _unscored(summary, levels),
        "paired": _paired(summary),
        "probes": _greedy_table(summary, "probes", probes),
        "pass_at_k": [table for level in levels if (table := _pass_at_k(summary, level)).rows],
        "training": _training(summary.curves),
        "phases": _phases(summary.curves),
        "stages": [_stages(summary)],
        "provenance": [_provenance(summary)],
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
    """Arms by levels (or probes), and below them what guessing would reach."""
    found = _by_level(summary, which, names, _greedy)
    guesses = [_column(summary, which, name)[0].chance for name in names]
    guessing = (Cell("guessing"), *(NOTHING if chance is None else Cell(percent(chance)) for chance in guesses))
    return [Table(table.headings, (*table.rows, guessing)) for table in found]


def arm_cell(name: str, arm: ArmSummary) -> Cell:
    """The cell that names a row's arm."""
    return Cell(name, detail=arm.title if arm.title != name else "", arm=name)


def _greedy(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    """Share right; strong only where the interval lies wholly above every other arm's."""
    strong = bool(others) and all(level.pass_at_1.is_above(other.pass_at_1) for other in others)
    return Cell(percent(level.pass_at_1.value), interval(level.pass_at_1), strong)


def _per_seed(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    return Cell(" · ".join(f"{seed}: {percent(share)}" for seed, share in level.per_seed.items()))


def _derivations(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    right = level.derivation_correct
    return Cell(percent(right.value), interval(right)) if right else NOTHING


def _wrong_steps(level: LevelSummary, others: list[LevelSummary]) -> Cell:
    share = level.right_answer_wrong_steps
    return NOTHING if share is None else Cell(percent(share))


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
        return Cell(f"{level.unscored:,} of {level.completions:,}")

    if not any(level.unscored for arm in summary.arms.values() for level in arm.levels.values()):
        return []
    return _by_level(summary, "levels", levels, cell, "Completions that could not be judged")


def _pass_at_k(summary: Summary, level: str) -> Table:
    arms = {name: arm for name, arm in summary.arms.items() if level in arm.levels and arm.levels[level].pass_at_k}
    ks = sorted({k for arm in arms.values() for k in arm.levels[level].pass_at_k})
    rows = []
    for name, arm in arms.items():
        estimates = arm.levels[level].pass_at_k
        cells = [Cell(percent(estimates[k].value), interval(estimates[k])) if k in estimates else NOTHING for k in ks]
        rows.append((arm_cell(name, arm), *cells))
    return Table(("arm", *(f"pass@{k}" for k in ks)), tuple(rows), level)


def _paired(summary: Summary) -> list[Table]:
    """A table a level, a row a pair."""
    found = []
    for level in summary.plan.evaluation.levels:
        here = [each for each in summary.paired.comparisons if each.level == level]
        measures = [name for name in MEASURES if any(name in each.measures for each in here)]
        rows = [
            (
                _pair(each.pair),
                *(_difference(each.measures.get(name)) for name in measures),
                Cell(f"{100 * each.measures['pass_at_1'].detectable:.1f}"),
                Cell(f"{each.problems:,}", f"{each.left_out:,} left out" if each.left_out else ""),
                Cell(f"{len(each.seeds)}"),
            )
            for each in here
        ]
        if rows:
            titles = (here[0].title(name) for name in measures)  # all pairs of a level have the same k
            found.append(Table(("pair", *titles, "detectable", "problems", "seeds"), tuple(rows), level))
    return found


def _pair(pair: Pair) -> Cell:
    why = {"base": "its base", "sibling": "same base"}
    return Cell(f"{pair.arm} vs {pair.against}", why[pair.relation], arm=pair.arm)


def _difference(found: PairedDifference | None) -> Cell:
    if found is None:
        return NOTHING
    reach = f"{points(found.difference.low)} to {points(found.difference.high)}"
    return Cell(points(found.difference.value), f"{reach}, {p_value(found.p_corrected)}", found.is_clear)


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
                Cell(f"{each.updates:,}"),
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
            Cell(f"{seconds[phase]:.2f} s", percent(seconds[phase] / total) if total else "")
            if phase in seconds
            else NOTHING
            for phase in phases
        ]
        means = [Cell(number(each.metrics[rate].mean())) if rate in each.metrics else NOTHING for rate in rates]
        rows.append((Cell(each.label, arm=each.arm), Cell(f"{total:.2f} s"), *shares, *means))
    return [Table(("stage", "an update", *phases, *rates.values()), tuple(rows), "An update, mean")] if rows else []


def _stages(summary: Summary) -> Table:
    """Every stage, its wall-clock time and whatever figures it left in its done.json."""
    figures = {identity: _numbers(stage.figures) for identity, stage in summary.stages.items()}
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    rows = [
        (
            Cell(stage.label, identity),
            Cell(stage.type),
            Cell(duration(stage.seconds)),
            *(Cell(number(figures[identity][name])) if name in figures[identity] else NOTHING for name in names),
        )
        for identity, stage in summary.stages.items()
    ]
    return Table(("stage", "type", "time", *(name.replace("_", " ") for name in names)), tuple(rows), "Stages")


def _provenance(summary: Summary) -> Table:
    manifest = summary.manifest
    commit = (manifest.git_commit or "not known") + (" with uncommitted changes" if manifest.git_dirty else "")
    versions = {"rlreason": manifest.rlreason} | manifest.versions
    facts = {
        "run by": manifest.command,
        "started": manifest.started,
        "finished": manifest.finished or "not finished",
        "wall time": duration(summary.wall_seconds),
        "commit": commit,
        "seeds": ", ".join(str(seed) for seed in manifest.seeds),
        **{f"hardware: {name}": str(value) for name, value in manifest.hardware.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return Table(("", ""), tuple((Cell(name), Cell(value)) for name, value in facts.items()))


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
