"""What a pipeline does when, with draws that last as long as the test wants."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlreason.algorithms.budget import Spending
from rlreason.engines.meter import Meter
from rlreason.engines.protocols import Engines
from rlreason.errors import CheckpointError, EngineFailed
from rlreason.recipe.asynchrony import Asynchrony
from rlreason.records.run_folder import RunFolder
from rlreason.stages import pipeline
from rlreason.stages.context import Context
from rlreason.stages.draws import Clock, Drawn
from rlreason.stages.pipeline import Pipeline
from rlreason.stages.sources import Batch, Outcome
from rlreason.types import Score
from tests.stages.groups import config, group

WAIT_S = 20.0


class Stage:
    """Both sides of a pipeline whose draws wait until they are let go, with everything that happened in order.

    Attributes:
        events: ("load", version), ("draw", update, version), ("again", update, names of its problems, version),
            ("tell", update).
        fail: the update whose draw raises.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, done: int = 0, spare: Any = (), **said: Any) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.fail: int | None = None
        self.meter = Meter()
        self._gate, self._drew, self._served = threading.Semaphore(0), threading.Condition(), -1
        monkeypatch.setattr(pipeline, "draw_groups", self._draw)
        monkeypatch.setattr(
            pipeline, "tell", lambda context, stage, schedule, outcome: self.events.append(("tell", outcome.update))
        )
        nothing: Any = None
        generator: Any = SimpleNamespace(load_weights=self._load)
        engines = Engines(generator, nothing, {})
        folder: Any = RunFolder(Path("run"))
        self.source = Pipeline(
            Context(nothing, folder, *[nothing] * 2, engines, *[nothing] * 4, meter=self.meter),
            SimpleNamespace(id="rl-0"),
            config(updates=9),
            Asynchrony(**said),
            nothing,
            done=done,
            weights=f"weights {done}",
            spare=dict(spare),
        )

    def _load(self, weights: str, policy_version: int) -> None:
        assert weights == f"weights {policy_version}"
        self._served = policy_version
        self.events.append(("load", policy_version))

    def _draw(self, context, stage, config, update, schedule, clock, again=None) -> Drawn:
        assert self._gate.acquire(timeout=WAIT_S)
        if update == self.fail:
            raise EngineFailed("the generator died")
        self.meter.add(Spending(samples=1))
        names = [each.problem.id for each in again.groups] if again else []
        with self._drew:
            self.events.append(("again", update, names, self._served) if again else ("draw", update, self._served))
            self._drew.notify_all()
        return drawn_by(self._served, f"problem {update}")

    def draw(self, count: int) -> None:
        """Let so many draws be made, and wait until they are."""
        before = self._made()
        self._gate.release(count)
        with self._drew:
            assert self._drew.wait_for(lambda: self._made() == before + count, timeout=WAIT_S), self.events

    def _made(self) -> int:
        return sum(event[0] in ("draw", "again") for event in self.events)

    def learn(self, update: int) -> dict[str, float]:
        """An update of the learner's side."""
        batch = self.source.take(update, Clock())
        self.source.serve(update, f"weights {update}")
        self.source.observe(Outcome(update, batch.drawn, np.zeros((1, 1))))
        self.source.release()
        return dict(batch.figures)


def drawn_by(version: int, name: str) -> Drawn:
    made = group(name, ([3], Score(1.0)), ([4], Score(0.0)))
    for rollout in made.rollouts:
        object.__setattr__(rollout.completion, "policy_version", version)
    return Drawn([made], np.array([[1.0, 0.0]]), np.ones((1, 2), bool), np.array([0]), {}, 1.0)


def test_it_draws_no_further_ahead_than_it_may_and_tells_before_it_draws(monkeypatch):
    stage = Stage(monkeypatch, max_staleness=2)
    with stage.source:
        stage.draw(3)
        stage._gate.release(3)  # three more might be made now, and may not
        assert stage.source.settle().keys() == {1, 2, 3}
        stage.learn(1)
        assert stage.source.settle().keys() == {2, 3, 4}
        stage.learn(2)
        assert stage.source.settle().keys() == {3, 4, 5}
    expected = [("load", 0), ("draw", 1, 0), ("draw", 2, 0), ("draw", 3, 0)]
    expected += [("tell", 1), ("load", 1), ("draw", 4, 1), ("tell", 2), ("load", 2), ("draw", 5, 2)]
    assert stage.events == expected


def test_in_lockstep_the_learner_s_lead_changes_neither_weights_nor_what_was_told(monkeypatch):
    stage = Stage(monkeypatch, max_staleness=2)
    with stage.source:
        stage.draw(3)
        for update in (1, 2, 3):  # the learner is three versions on before the fourth batch begins
            stage.learn(update)
        stage.draw(3)
        stage.source.settle()
    fourth, fifth, sixth = ([("tell", k), ("load", k), ("draw", k + 3, k)] for k in (1, 2, 3))
    assert stage.events[4:] == [*fourth, *fifth, *sixth]


def test_in_lockstep_it_goes_on_only_with_the_batches_that_earlier_weights_sampled(monkeypatch):
    held = {update: Batch(drawn_by(0, f"problem {update}")) for update in (5, 6)}
    said = r"after update 4 in .*rl-0.* of 1 later updates, and in lockstep 2 were .* or delete .*rl-0.* to begin"
    with pytest.raises(CheckpointError, match=said):
        Stage(monkeypatch, done=4, spare={5: held[5]}, max_staleness=2)
    stage = Stage(monkeypatch, done=4, spare=held, max_staleness=2)
    with stage.source:
        stage.draw(1)
    assert stage.events == [("load", 4), ("draw", 7, 4)]
    # the last updates have fewer after them; newest weights may sample any
    Stage(monkeypatch, done=8, spare={9: held[5]}, max_staleness=2)
    Stage(monkeypatch, done=9, max_staleness=2)
    Stage(monkeypatch, done=4, mode="newest", max_staleness=2)


def test_newest_takes_the_newest_weights_that_there_are(monkeypatch):
    stage = Stage(monkeypatch, mode="newest", max_staleness=3)
    with stage.source:
        stage.draw(4)
        for update in (1, 2, 3):
            stage.learn(update)
        stage.draw(3)  # the first of them was begun at some time since update 1
    (sixth, seventh) = [event for event in stage.events if event[0] == "draw"][-2:]
    assert (sixth, seventh) == (("draw", 6, 3), ("draw", 7, 3))
    assert [event for event in stage.events if event[0] == "tell"] == [("tell", 1), ("tell", 2), ("tell", 3)]


def test_what_is_too_old_is_counted_and_its_prompts_are_sampled_again(monkeypatch):
    stage = Stage(monkeypatch, mode="newest", max_staleness=1, ahead=3)
    with stage.source:
        stage.draw(4)
        assert stage.learn(1)["staleness_max"] == 0.0
        figures = stage.learn(2)
        assert (figures["staleness_max"], figures["dropped_stale"]) == (1.0, 0.0)
        stage._gate.release(9)
        figures = stage.learn(3)
        # sampled by version 0, which is two updates old now
        assert (figures["staleness_max"], figures["dropped_stale"]) == (0.0, 2.0)
        assert stage.learn(4)["dropped_stale"] == 2.0
    again = [event for event in stage.events if event[0] == "again"]
    assert again == [("again", 3, ["problem 3"], 2), ("again", 4, ["problem 4"], 3)]
    # both draws of updates 3 and 4 were paid for
    assert stage.meter.take().samples == sum(event[0] in ("draw", "again") for event in stage.events)


def test_what_is_too_old_may_be_learned_from_and_counted(monkeypatch):
    stage = Stage(monkeypatch, mode="newest", max_staleness=1, ahead=3, when_stale="reweight")
    with stage.source:
        stage.draw(4)
        stage.learn(1)
        stage.learn(2)
        figures = stage.learn(3)
        stage.fail = 5
        stage._gate.release(1)
    assert (figures["staleness_max"], figures["dropped_stale"], figures["reweighted_stale"]) == (2.0, 0.0, 2.0)


def test_a_failed_draw_is_raised_where_its_batch_is_waited_for_and_not_before(monkeypatch):
    stage = Stage(monkeypatch, mode="newest", max_staleness=1)
    stage.fail = 3
    with pytest.raises(EngineFailed, match="the generator died"), stage.source:
        stage.draw(2)
        stage.learn(1)
        stage._gate.release(1)
        stage.source._thread.join(timeout=WAIT_S)
        stage.learn(2)  # this one was drawn before
        stage.events.append(("learned", 2))
        stage.learn(3)
    assert stage.events[-1] == ("learned", 2)
    assert not stage.source._thread.is_alive()


def test_whoever_saves_waits_for_the_draw_that_is_under_way(monkeypatch):
    stage = Stage(monkeypatch)
    with stage.source:
        stage.draw(1)
        threading.Timer(0.2, stage._gate.release).start()
        assert stage.source.settle().keys() == {1, 2}
        assert stage.events[-1] == ("draw", 2, 0)


def test_the_end_waits_for_the_draw_that_is_under_way_and_counts_what_it_cost(monkeypatch):
    stage = Stage(monkeypatch)
    with stage.source:
        stage.draw(1)
        stage.learn(1)
        threading.Timer(0.2, stage._gate.release, [2]).start()
    assert not stage.source._thread.is_alive()
    assert stage.meter.take().samples == sum(event[0] == "draw" for event in stage.events)
    assert ("tell", 1) in stage.events
