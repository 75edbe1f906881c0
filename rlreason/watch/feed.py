"""What a run has written since the last look, kept as it grows: metrics, incidents, stages, and of the stage looked at
its curriculum and derivations.

Reads files only, and each once. Something that cannot be read (half written, of another version) becomes a line of
`View.problems`, never an end. How a view looks is in `watch.terminal` and `watch.web`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rlreason.errors import RecordsError, UserError
from rlreason.records import ManifestRecord, PlanRecord, RunFolder, read_manifest, read_plan, read_table
from rlreason.records.documents import PlanStage
from rlreason.records.incidents import standing
from rlreason.records.lines import JsonLines
from rlreason.watch.parts import Curriculum, NewestDerivations, RowCount
from rlreason.watch.series import Series
from rlreason.watch.timeline import Span, recorded_spans, spans
from rlreason.watch.view import StageState, View, figures_of, total_of

MOST_INCIDENTS = 50
NEWEST_SPANS = 40
"""Updates of the stage looked at whose phases are drawn."""
T = TypeVar("T")


class Feed:
    """Follows one run. `version` counts the looks that found something new."""

    def __init__(self, folder: RunFolder) -> None:
        check_folder(folder)
        self.folder = folder
        self.version = 0
        self.series: dict[str, Series] = {}
        self._metrics = JsonLines(folder.metrics_path)
        self._incident_lines = JsonLines(folder.incidents_path)
        self._incidents: list[dict[str, Any]] = []
        self._done: dict[str, float] = {}
        self._seen: tuple[object, ...] = ()
        self._plan: tuple[int, PlanRecord] | None = None
        self._followed: dict[tuple[object, str], Any] = {}

    def look(self) -> bool:
        """Read the metrics and incidents that are new; whether anything in the run has changed."""
        rows, anew = self._metrics.read()
        if anew:
            self.series.clear()
        for row in rows:
            self.series.setdefault(str(row.get("stage")), Series()).add(row)
        found, again = self._incident_lines.read()
        told = [*(() if again else self._incidents), *found]
        self._incidents = [told[place] for place in standing(told)][-MOST_INCIDENTS:]
        watched = (
            self.folder.plan_path,
            self.folder.manifest_path,
            self.folder.stages,
            *self.folder.stages.glob("*"),  # done.json is renamed into its place, which the folder's time tells
            *self.folder.records.glob("*/*"),
        )
        seen = (self._metrics.offset, self._incident_lines.offset, *((path, _written(path)) for path in watched))
        changed = seen != self._seen
        self._seen = seen
        self.version += changed
        return changed

    def view(self, focus: str | None = None) -> View:
        """Everything there is to show.

        Args:
            focus: identity of the stage to look at closely; None, or one that is not in the plan: the one at work, or
                the last that was.
        """
        problems: list[str] = []
        plan = self._try(self._read_plan, problems) if self.folder.plan_path.exists() else None
        manifest: ManifestRecord | None = None
        if self.folder.manifest_path.exists():
            manifest = self._try(lambda: read_manifest(self.folder), problems)
        stages = [self._stage(identity, stage, problems) for identity, stage in (plan.stages if plan else {}).items()]
        looked_at = next((stage for stage in stages if stage.id == focus), None) or at_work(stages)
        close = looked_at.id if looked_at else None
        if self._metrics.unreadable:
            problems.append(f"{self._metrics.path}: {self._metrics.unreadable} lines are no JSON objects")
        return View(
            folder=str(self.folder.path),
            recipe=manifest.recipe if manifest else self.folder.path.name,
            description=manifest.description if manifest else "",
            begun=plan is not None,
            finished=bool(stages) and all(stage.state == "done" for stage in stages),
            written=max((moment for _, moment in _times(self._seen)), default=0) / 1e9 or None,
            stages=tuple(stages),
            focus=looked_at,
            series=self.series.get(close, Series()) if close else Series(),
            heat=self._try(self._follow(Curriculum, close).heat, problems) if close else None,
            spans=tuple(spans(close, self.series[close], NEWEST_SPANS)) if close in self.series else (),
            derivations=(self._try(self._follow(NewestDerivations, close).shown, problems) or ()) if close else (),
            incidents=tuple(self._incidents),
            problems=tuple(dict.fromkeys(problems)),
        )

    def timeline(self) -> tuple[list[Span], dict[str, str], list[dict[str, Any]]]:
        """(the spans of all updates of all stages, names of the stages by identity, incidents), for a trace."""
        names = {stage.id: stage.label for stage in self.view().stages}
        rows = read_table(self.folder, "timeline", self.series)
        recorded = {str(stage): recorded_spans(own) for stage, own in rows.groupby("stage")}
        found = [
            span
            for identity, series in self.series.items()
            for span in recorded.get(identity) or spans(identity, series)
        ]
        return found, names, self._incidents

    def _read_plan(self) -> PlanRecord:
        written = _written(self.folder.plan_path)
        if self._plan is None or self._plan[0] != written:
            self._plan = (written, read_plan(self.folder))
        return self._plan[1]

    def _stage(self, identity: str, stage: PlanStage, problems: list[str]) -> StageState:
        series = self.series.get(identity, Series())
        total, unit = total_of(stage)
        done = series.updates[-1] if series else 0
        if stage.type in ("evaluate", "interpolate"):
            asked = 1 if stage.type == "interpolate" else 1 + int(stage.config.get("samples", 0))
            done = (self._try(self._follow(RowCount, identity, "evaluations").rows, problems) or 0) // asked
        state = "waiting"
        if self.folder.is_done(identity):
            state = "done"
            if identity not in self._done:
                self._done[identity] = float((self._try(self.folder.done, problems, identity) or {}).get("seconds", 0))
        elif self.folder.stage(identity).exists():
            state = "begun"
        else:
            done = 0
        return StageState(
            id=identity,
            name=stage.name,
            type=stage.type,
            seed=stage.seed,
            arms=stage.arms,
            state=state,
            done=done,
            total=total,
            unit=unit,
            seconds=self._done.get(identity) if state == "done" else None,
            touched=_written(self.folder.stage(identity) / "config.json"),
            figures=figures_of(series),
        )

    def _follow(self, kind: Callable[..., T], stage: str, *table: str) -> T:
        """The follower of a stage's table, made at the first look; of those that read rows only the newest is kept."""
        key = (kind, stage)
        if key not in self._followed:
            if kind is not RowCount:
                self._followed = {known: it for known, it in self._followed.items() if known[0] is not kind}
            self._followed[key] = kind(self.folder, *table, stage)
        return self._followed[key]

    @staticmethod
    def _try(read: Callable[..., T], problems: list[str], *arguments: Any) -> T | None:
        try:
            return read(*arguments)
        except RecordsError as error:
            problems.append(str(error))
            return None


def at_work(stages: list[StageState]) -> StageState | None:
    """The stage that was begun last and is not done; else the last training stage that is; else None."""
    begun = [stage for stage in stages if stage.state == "begun"]
    if begun:
        return max(begun, key=lambda stage: stage.touched)
    done = [stage for stage in stages if stage.state == "done"]
    trained = [stage for stage in done if stage.unit == "updates"]
    return max(trained or done, key=lambda stage: stage.touched, default=None)


def check_folder(folder: RunFolder) -> None:
    """Accept a run's folder, and one that a run may yet begin in.

    Raises:
        UserError: it is a file, it holds other things than a run, or nothing of its path exists.
    """
    path = folder.path
    if path.is_dir():
        names = {child.name for child in path.iterdir()}
        if not names or names & {"plan.json", "recipe.yaml", ".lock"}:
            return
        runs = sorted(child.parent.name for child in path.glob("*/plan.json"))
        hint = f"give one of the runs in it: {', '.join(runs[:8])}" if runs else "give the folder of a run"
        raise UserError(f"{path} is not the folder of a run: it holds no plan.json; {hint}")
    if path.exists():
        raise UserError(f"{path} is a file; give the folder of a run, such as runs/quickstart")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path} does not exist, nor does the folder it would be in; give the folder of a run")


def _written(path: Any) -> int:
    """Nanoseconds since the epoch at which it was last written; 0 where it is not there."""
    try:
        return int(path.stat().st_mtime_ns)
    except OSError:
        return 0


def _times(seen: tuple[object, ...]) -> list[tuple[Any, int]]:
    return [pair for pair in seen if isinstance(pair, tuple)]
