"""What a learner's actor adds to the learner: it leaves a shared GPU to others between calls. No Ray, no GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlreason.orchestration.actors import LearnerActor


class Learner:
    """Notes what is asked of it; an update of nothing raises."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def update(self, batch: Any, update: int, on_policy: bool) -> dict[str, float]:
        self._said.append("update")
        if batch is None:
            raise MemoryError("no room")
        return {"loss": 1.0}

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self._said.append(method)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in order."""
    happened: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: happened.append("given back"))
    return happened


def actor(said: list[str], shares_gpu: bool) -> Any:
    made = object.__new__(LearnerActor)  # its own would send this process's output to a file
    made._learner, made.shares_gpu = Learner(said), shares_gpu
    return made


CALLS: dict[str, tuple[Any, ...]] = {
    "begin": ("checkpoint", "settings", None),
    "update": ("batch", 1, True),
    "figures": ("batch",),
    "save_model": ("folder",),
    "save_state": ("folder", {}),
    "supervised": ("job", "rows"),
    "preferences": ("job", "pairs"),
    "end": (),
}


@pytest.mark.parametrize("method", CALLS)
def test_after_every_piece_of_work_cached_memory_of_a_shared_gpu_is_given_back(said: list[str], method: str) -> None:
    getattr(actor(said, shares_gpu=True), method)(*CALLS[method])
    assert said == [method, "given back"]


def test_it_is_given_back_after_a_failure_too(said: list[str]) -> None:
    with pytest.raises(MemoryError, match="no room"):
        actor(said, shares_gpu=True).update(None, 1, True)
    assert said == ["update", "given back"]


def test_a_gpu_of_its_own_keeps_what_it_cached(said: list[str]) -> None:
    assert actor(said, shares_gpu=False).update("batch", 1, True) == {"loss": 1.0}
    assert said == ["update"]
