"""Episodes of several turns: the policy writes, the environment answers, until one of them is done.

    prompt -> turn -> answer -> turn -> ... -> one completion: all that stands behind the prompt, and whose it is

All unfinished episodes go together, a turn a request to the generator. What was sampled is never encoded again, and
what the environment says is encoded by itself and told apart by the mask. Environments answer in the worker processes
of the pool, each time from the turns so far, since they may be anybody's code. Scoring is `rollouts`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import SamplingSettings
from rlreason.rewards.grading import Answer
from rlreason.stages.context import Context
from rlreason.types import Completion, FinishReason, Problem


@dataclass(slots=True)
class _Episode:
    """One episode as it grows.

    Attributes:
        prompt: [P] int32.
        budget: tokens that may stand behind the prompt, the policy's and the environment's together.
        most: turns that the policy has.
        pieces, logprobs, own: what stands behind the prompt, turn by answer: tokens, log-probabilities (0 for answers),
            whether the policy sampled it.
        versions: of the policy, of each token of each piece; answers have that of the token before.
        turns: the policy's texts.
        said: all texts, in order.
    """

    problem: Problem
    prompt: np.ndarray
    seed: int
    budget: int
    most: int
    pieces: list[np.ndarray] = field(default_factory=list)
    logprobs: list[np.ndarray] = field(default_factory=list)
    own: list[bool] = field(default_factory=list)
    versions: list[np.ndarray] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    finish: FinishReason = "stop"
    failure: str = ""

    @property
    def left(self) -> int:
        """Tokens of the budget that are not used."""
        return self.budget - sum(map(len, self.pieces))

    def so_far(self) -> np.ndarray:
        """[P + T] int32, what the policy reads before its next turn."""
        return np.concatenate([self.prompt, *self.pieces])

    def _add(self, tokens: np.ndarray, logprobs: np.ndarray, versions: np.ndarray, own: bool, text: str) -> None:
        self.pieces.append(tokens)
        self.logprobs.append(logprobs)
        self.versions.append(versions)
        self.own.append(own)
        self.said.append(text)

    def write(self, tokens: np.ndarray, logprobs: np.ndarray, versions: np.ndarray, stopped: bool, text: str) -> bool:
        """Take the policy's turn; whether the environment is to answer."""
        self._add(tokens, logprobs, versions, True, text)
        self.turns.append(text)
        self.finish = "stop" if stopped else "length"
        return stopped and len(self.turns) < self.most

    def read(self, answer: Answer, tokens: np.ndarray) -> bool:
        """Take the environment's answer, `tokens` being its observation's; whether the policy goes on."""
        self.failure = answer.failure
        if answer.failure or answer.done:
            return False
        if len(tokens) >= self.left:  # it would leave no room for another turn
            self.finish = "length"
            return False
        versions = np.repeat(self.versions[-1][-1:], len(tokens))
        self._add(tokens, np.zeros(len(tokens), dtype=np.float32), versions, False, answer.observation)
        return True

    def completion(self) -> Completion:
        versions = np.concatenate(self.versions)
        oldest = int(versions.min())
        return Completion(
            prompt_tokens=self.prompt,
            tokens=np.concatenate(self.pieces),
            generator_logprobs=np.concatenate(self.logprobs),
            text="".join(self.said),
            finish_reason=self.finish,
            policy_version=oldest,
            seed=self.seed,
            loss_mask=np.repeat(self.own, [len(piece) for piece in self.pieces]),
            turns=tuple(self.turns),
            failure=self.failure,
            policy_versions=None if (versions == oldest).all() else versions,
        )


def play(
    context: Context, problems: Sequence[Problem], seeds: Sequence[Sequence[int]], settings: SamplingSettings
) -> list[list[Completion]]:
    """Episodes of each problem, one a seed; all are of tasks of several turns.

    Args:
        problems: [P].
        seeds: [P][G], a seed a sample; each turn draws from its own, which follows from the sample's and its number.
        settings: max_new_tokens is the budget of a whole episode, answers included.
    Returns:
        An episode whose budget ran out, in a turn or before the next one, has the finish_reason "length". A turn ends
        with the end token, which is among its tokens.
    """
    prompts = context.codec.encode([problem.prompt for problem in problems])
    episodes = [
        [
            _Episode(problem, prompt, seed, settings.max_new_tokens, context.tasks[problem.task].max_turns)
            for seed in own
        ]
        for problem, prompt, own in zip(problems, prompts, seeds, strict=True)
    ]
    playing, turn = [episode for own in episodes for episode in own], 0
    while playing:
        waiting = _write(context, playing, turn, settings)
        answers = context.pool.respond([(episode.problem, episode.turns) for episode in waiting])
        observed = context.codec.encode([answer.observation for answer in answers])
        playing = [
            episode
            for episode, answer, tokens in zip(waiting, answers, observed, strict=True)
            if episode.read(answer, tokens)
        ]
        turn += 1
    return [[episode.completion() for episode in own] for own in episodes]


def _write(context: Context, playing: Sequence[_Episode], turn: int, settings: SamplingSettings) -> list[_Episode]:
    """Have the policy write turn `turn` (from 0) of all these; those that the environment is to answer."""
    # one limit for all: who has less left keeps what its own limit would have let it sample
    lefts = [episode.left for episode in playing]
    batch = context.engines.generator.generate(
        [episode.so_far() for episode in playing],
        [derive_seed(episode.seed, turn) for episode in playing],
        replace(settings, max_new_tokens=max(lefts), continued=turn > 0),
    )
    samples = [(tokens[:left], logprobs[:left]) for left, (tokens, logprobs) in zip(lefts, batch.split(), strict=True)]
    texts = context.codec.decode([tokens for tokens, _ in samples])
    waiting = []
    for episode, (tokens, logprobs), versions, length, stopped, text in zip(
        playing,
        samples,
        batch.split_versions(),
        batch.lengths.tolist(),
        batch.stopped.tolist(),
        texts,
        strict=True,
    ):
        own = np.full(length, batch.policy_version, dtype=np.int32) if versions is None else versions
        if episode.write(tokens, logprobs, own[: len(tokens)], stopped and len(tokens) == length, text):
            waiting.append(episode)
    return waiting
