"""What a run does about failures: a stage that lost its learner is run again, one that failed otherwise ends the run,
or, where the run is to keep going, holds up only what needs it.

Engines that can be replaced one by one see to it themselves (`orchestration.crew`), and so do scoring workers; here is
what needs the stage: it goes on at its newest state, exactly as after a killed run. All of it is recorded as incidents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rlreason.errors import LearnerLost, RunFailed, StagesMissing
from rlreason.recipe.plan import PlannedStage
from rlreason.stages.context import Progress
from rlreason.types import Incident, ReportIncident

Result = TypeVar("Result")


class Recovery:
    """A `Progress` that remembers where the stage stands, so that it can say what a failure cost.

    Args:
        keep_going: a stage that fails by its data or a plug-in is passed over. Where the infrastructure fails, the run
            ends all the same: the next stage would find it as broken.
    """

    def __init__(self, progress: Progress, report: ReportIncident, keep_going: bool = False) -> None:
        self._progress, self._report, self._keep_going = progress, report, keep_going
        self._reached = 0
        self._lost: LearnerLost | None = None

    def run_each(self, stages: Sequence[PlannedStage], run: Callable[[PlannedStage], None]) -> None:
        """Run stages in their order, those that need one that was passed over left out.

        Raises:
            RunFailed: what a stage raised, where it is not passed over.
            StagesMissing: all others are done; says which were passed over and why, and which need them.
        """
        missing, failed, waiting = dict[str, str](), list[str](), list[str]()
        for stage in stages:
            if awaited := next((missing[id] for id in (stage.parent, *stage.needs) if id in missing), None):
                missing[stage.id] = stage.label
                waiting.append(f"{stage.label}, which needs {awaited}")
                continue
            try:
                run(stage)
            except RunFailed as error:
                if not self._passes_over(error):
                    raise
                missing[stage.id] = stage.label
                failed.append(f"{stage.label}: {error}")
                self._progress.note(f"{failed[-1]}. The stages that do not need it are run")
        if missing:
            raise StagesMissing(_missing(failed, waiting))

    def _passes_over(self, error: RunFailed) -> bool:
        return self._keep_going and error.blame != "infrastructure"

    def attempt(self, stage: PlannedStage, run: Callable[[], Result], failed: Callable[[], None]) -> Result:
        """What `run` returns. It is called again whenever the learner was lost and its ranks are back; how often that
        may be is the learner's affair. `failed` is called after every time that it raised.

        Raises:
            RunFailed: what it raised otherwise, which is recorded.
        """
        while True:
            try:
                return run()
            except LearnerLost as lost:
                self._report_lost("what this cost is not known: the learner was lost again")
                failed()
                self._lost = lost
                self._progress.note(f"{lost}. All ranks were started again; stage {stage.name} goes on")
            except BaseException as error:
                self._report_lost(f"stage {stage.name} did not go on")
                failed()
                if isinstance(error, RunFailed):
                    self._report(_ending(stage, error, self._passes_over(error)))
                raise

    def run_started(self, stages: Sequence[PlannedStage], done: Sequence[str]) -> None:
        """See `Progress.run_started`."""
        self._progress.run_started(stages, done)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._progress.note(text)

    def stage_started(self, stage: PlannedStage, total: int, unit: str, done: int) -> None:
        """See `Progress.stage_started`. Where the learner was lost, it is known now what has to be done again."""
        again = self._reached - done
        self._report_lost(
            f"{again} {unit} of stage {stage.name}, made again from its state after {done}" if again else "nothing"
        )
        self._reached = done
        self._progress.stage_started(stage, total, unit, done)

    def _report_lost(self, cost: str) -> None:
        """Tell of a learner that was lost, where one was and it is not told yet."""
        lost, self._lost = self._lost, None
        if lost is not None:
            self._report(
                Incident(
                    *(lost.actor, lost.kind, lost.blame, lost.cause, "all ranks were started again"),
                    lost=cost,
                    detect_s=lost.detect_s,
                    recover_s=lost.recover_s,
                )
            )

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        """See `Progress.stage_advanced`."""
        self._reached = done
        self._progress.stage_advanced(stage, done, metrics)

    def stage_finished(self, stage: PlannedStage, seconds: float) -> None:
        """See `Progress.stage_finished`."""
        self._progress.stage_finished(stage, seconds)


def _ending(stage: PlannedStage, error: RunFailed, passed_over: bool) -> Incident:
    done = "the stages that do not need it were run" if passed_over else "the run stopped"
    lost = "the stage, and what needs it" if passed_over else "nothing that was written down: the run resumes"
    return Incident(f"stage {stage.name}", type(error).__name__, error.blame, str(error), done, lost)


def _missing(failed: Sequence[str], waiting: Sequence[str]) -> str:
    lines = [f"{len(failed) + len(waiting)} stages are missing; those that do not need them are done", *failed]
    if waiting:
        lines.append(f"not begun: {'; '.join(waiting)}")
    return "\n  ".join(lines) + "\nChange what they ask for and run again: what is done is kept"
