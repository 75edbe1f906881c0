"""Episodes small enough to work out by hand: letters for tokens, a policy that says what it is told to, an environment
that answers in capitals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.rewards.grading import Answer
from rlreason.types import Problem, Score

END = ord(".")


class Letters:
    """A codec whose tokens are code points; the end token is the full stop, which is no text."""

    end = END

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([ord(letter) for letter in text], dtype=np.int32) for text in texts]

    def decode(self, sequences: Sequence[np.ndarray]) -> list[str]:
        return ["".join(chr(token) for token in tokens if token != END) for tokens in sequences]

    def token_ends(self, tokens: np.ndarray) -> np.ndarray:
        return np.cumsum(tokens != END)


@dataclass
class Scripted:
    """A generator that writes what the script has for a prompt, as far as the budget goes.

    Attributes:
        asked: every request: the prompts as text, the seeds, the budget, whether it goes on.
    """

    script: Mapping[str, str]
    policy_version: int = 7
    asked: list[tuple[list[str], list[int], int, bool]] = field(default_factory=list)

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        self.asked.append((texts, list(seeds), settings.max_new_tokens, settings.continued))
        written = [self.script[text][: settings.max_new_tokens] for text in texts]
        self.policy_version += 1
        return SampleBatch(
            tokens=np.array([ord(letter) for text in written for letter in text], dtype=np.int32),
            logprobs=-np.concatenate([np.arange(1, len(text) + 1) for text in written]).astype(np.float32),
            lengths=np.array([len(text) for text in written], dtype=np.int32),
            stopped=np.array([text.endswith(".") for text in written]),
            policy_version=self.policy_version - 1,
        )


class Parrot:
    """Answers a turn with itself in capitals; "bye" ends the episode, and "fail" is more than it can answer."""

    def respond(self, episodes: Sequence[tuple[Problem, Sequence[str]]]) -> list[Answer]:
        return [self._answer(turns[-1]) for _, turns in episodes]

    def _answer(self, turn: str) -> Answer:
        if turn == "fail":
            return Answer(failure="CheckFailed: raised ValueError")
        return Answer(done=True) if turn == "bye" else Answer(turn.upper())

    def score(self, requests: Sequence[tuple[Problem, str]], turns: Sequence[Sequence[str]]) -> list[Score]:
        """Pays the number of turns, and 0.5 for what was not played."""
        return [Score(float(len(own)) or 0.5) for (_, _), own in zip(requests, turns, strict=True)]


def parrot_context(script: Mapping[str, str], max_turns: int = 3) -> Any:
    """A context with a task "t" of several turns and a task "once" of one."""
    return SimpleNamespace(
        codec=Letters(),
        engines=SimpleNamespace(generator=Scripted(script)),
        pool=Parrot(),
        tasks={"t": SimpleNamespace(max_turns=max_turns), "once": SimpleNamespace(max_turns=1)},
    )


def ask(prompt: str, task: str = "t") -> Problem:
    """A problem that asks `prompt`."""
    return Problem(prompt, task, "c", "train", prompt, "!", "!")
