"""A task of several turns small enough to check by eye: whatever is said is echoed, "bye" ends the episode."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from toy_task import ToyTask

from rlreason.types import DerivationCheck, Problem, Step

BUILDER = "toy_turns:build_turns"


class Echo:
    """Answers a turn with itself, or does what it says."""

    def __init__(self) -> None:
        self._turns: list[str] = []

    @property
    def done(self) -> bool:
        return "bye" in self._turns

    def act(self, text: str) -> None:
        if text == "raise":
            raise ValueError("what a turn")
        if text == "hang":
            time.sleep(60)
        if text == "crash":
            os._exit(3)
        self._turns.append(text)

    def observe(self) -> str:
        return "\udcff" if self._turns[-1] == "surrogate" else f"{len(self._turns)} {self._turns[-1]}"

    def score(self) -> DerivationCheck:
        steps = tuple(Step(index, index + 1, "right") for index, _ in enumerate(self._turns))
        return DerivationCheck(" ".join(self._turns), self.done, self.done, steps)


class Turns(ToyTask):
    """The toy task, played."""

    max_turns = 5

    def environment(self, problem: Problem) -> Echo:
        return Echo()


def build_turns(name: str, type: str, parameters: Mapping[str, Any]) -> Turns:
    return Turns(name, Turns.Parameters(**parameters))
