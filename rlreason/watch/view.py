"""What there is to see of a run at one moment, as plain values: both the terminal and the web page draw this.

Which metrics are shown, and how they are called, is said here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlreason.records.documents import PlanStage
from rlreason.report.browser import visible
from rlreason.watch.parts import Derivation, Heat
from rlreason.watch.series import Series
from rlreason.watch.timeline import Span, busy_shares

MOST_POINTS = 400
"""Of a curve on the page."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Metrics that are drawn together: metric -> what it is called, alone too; `share`: from 0 to 1."""

    title: str
    metrics: Mapping[str, str]
    share: bool = False


CHARTS = (
    Chart(
        "Reward and right answers",
        {
            "reward_mean": "reward",
            "correct_mean": "right answers",
            "derivation_correct_mean": "every step right",
            "derivation_reward_mean": "task's own reward",
        },
    ),
    Chart("Loss", {"loss": "loss"}),
    Chart("Length of completions", {"completion_tokens_mean": "tokens a completion"}),
    Chart(
        "Shares of completions and groups",
        {
            "informative_groups": "groups that teach",
            "duplicate_completions": "duplicates",
            "cut_by_length": "cut by length",
            "clipped_share": "clipped tokens",
        },
        share=True,
    ),
    Chart("Learner against generator", {"mismatch_mean": "mismatch, nats a token", "mismatch_kl": "mismatch, KL"}),
    Chart("Staleness", {"staleness_mean": "versions behind, mean", "staleness_max": "versions behind, most"}),
    Chart("Entropy", {"entropy": "entropy, nats a token"}),
    Chart("Gradient", {"grad_norm": "gradient norm"}),
    Chart(
        "Speed", {"generated_tokens_per_second": "generated tokens/s", "trained_tokens_per_second": "trained tokens/s"}
    ),
    Chart("Rollouts left out", {"unscored": "unscored", "dropped_stale": "too stale"}),
)
FIGURES = {
    "reward_mean": "reward",
    "correct_mean": "right",
    "loss": "loss",
    "completion_tokens_mean": "tokens",
    "mismatch_mean": "mismatch",
    "staleness_mean": "staleness",
    "unscored": "unscored",
}
"""Metric -> its name in the list of stages, where the stage records it."""


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage of the plan.

    Attributes:
        state: "waiting", "begun" or "done".
        done, total, unit: how much of it: "updates" or "problems"; `total` None where the plan does not say. A stage
            that stops at another's budget may end before its total.
        seconds: of a stage that is done.
        touched: when it was begun, nanoseconds since the epoch; 0: not yet.
        figures: the newest, by the names of `FIGURES`.
    """

    id: str
    name: str
    type: str
    seed: int
    arms: tuple[str, ...]
    state: str
    done: int
    total: int | None
    unit: str
    seconds: float | None
    touched: int
    figures: dict[str, float]

    @property
    def label(self) -> str:
        """The recipe's name of it, its first arm and the seed: "rl of sft_rl, seed 0"."""
        more = f" and {len(self.arms) - 1} more" if len(self.arms) > 1 else ""
        return f"{self.name}{f' of {self.arms[0]}{more}' if self.arms else ''}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class View:
    """A run at one moment.

    Attributes:
        begun: it has a plan.
        written: when something in it was last written, seconds since the epoch; None: never.
        focus: the stage that `series`, `heat`, `spans` and `derivations` are of; None: no stage has begun.
        incidents: as recorded, oldest first.
        problems: what could not be read.
    """

    folder: str
    recipe: str
    description: str
    begun: bool
    finished: bool
    written: float | None
    stages: tuple[StageState, ...]
    focus: StageState | None
    series: Series
    heat: Heat | None
    spans: tuple[Span, ...]
    derivations: tuple[Derivation, ...]
    incidents: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]

    @property
    def state(self) -> str:
        """In words."""
        if not self.begun:
            return "has not begun"
        return "finished" if self.finished else f"{sum(s.state == 'done' for s in self.stages)} stages done"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; no NaN. Text from records has its control characters made visible."""
        start = self.spans[0].start if self.spans else 0.0
        return {
            "folder": self.folder,
            "recipe": self.recipe,
            "description": self.description,
            "state": self.state,
            "finished": self.finished,
            "written": self.written,
            "stages": [asdict(stage) | {"label": stage.label} for stage in self.stages],
            "focus": self.focus.id if self.focus else None,
            "charts": curves(self.series),
            "heat": asdict(self.heat) if self.heat else None,
            "timeline": {
                "busy": busy_shares(self.spans),
                "spans": [
                    {
                        **{"update": span.update, "actor": span.actor, "phase": span.phase},
                        **{"start": round(span.start - start, 6), "seconds": round(span.end - span.start, 6)},
                    }
                    for span in self.spans
                ],
            },
            "derivations": _visible([asdict(each) for each in self.derivations]),
            "incidents": _visible(list(self.incidents)),
            "problems": list(self.problems),
        }


def curves(series: Series) -> list[dict[str, Any]]:
    """The charts that the metrics allow, thinned."""
    found = []
    for chart in CHARTS:
        lines = []
        for metric, name in chart.metrics.items():
            if metric in series.columns and math.isfinite(series.newest(metric)):
                updates, values = series.thinned(metric, MOST_POINTS)
                lines.append({"name": name, "updates": updates, "values": values})
        if lines:
            found.append({"title": chart.title, "share": chart.share, "lines": lines})
    return found


def figures_of(series: Series) -> dict[str, float]:
    """The newest value of each of `FIGURES` that the stage has."""
    newest = {name: series.newest(metric) for metric, name in FIGURES.items()}
    return {name: value for name, value in newest.items() if math.isfinite(value)}


def total_of(stage: PlanStage) -> tuple[int | None, str]:
    """(how much there is to do at most, of what) by its section of the plan; (None, ...) where not said."""
    config = stage.config
    if stage.type in ("evaluate", "interpolate"):
        probes = sum(int(probe.get("problems", 0)) for probe in config.get("probes", {}).values())
        return len(config.get("levels", ())) * int(config.get("problems", 0)) + probes or None, "problems"
    return int(config.get("updates", 0)) * int(config.get("rounds", 1)) or None, "updates"


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {str(key): _visible(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(entry) for entry in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None
