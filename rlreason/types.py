"""The plain values that travel between rooms: problems, completions, scores, rollouts, groups, incidents.

Everything here is frozen, slotted and picklable, holds no engine object, and imports nothing but numpy and `errors`, so
any room, and any worker process, can use it. What a *recipe* may say lives in `rlreason.recipe`; what a *file* holds
lives in `rlreason.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from rlreason.errors import Blame

StepVerdict = Literal["right", "wrong", "unsupported", "repeated"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its gold answer and gold derivation.

    Attributes:
        id: stable name, unique within a task and the same on every machine ("zero_shot/complementary-2/17").
        task: the recipe's name of the task it came from.
        cell: difficulty cell it was drawn from ("complementary/2"); the unit that a curriculum schedules.
        level: split it belongs to ("train", "validation", "iid", "composition", "zero_shot").
        prompt: the text the policy reads.
        answer: the gold final answer.
        target: the text that supervised training teaches after the prompt: gold derivation, then the answer.
        detail: what the task's own checker needs beyond the text; plain JSON values. Where a derivation is a chain of
            named operations (relations, functions), "path" lists their names in its order, and reports tell by them.
        turns: of a task of several turns, what the policy writes in the gold episode, a text a turn; `target` is the
            whole of it, the environment's answers included.
    """

    id: str
    task: str
    cell: str
    level: str
    prompt: str
    answer: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One checked step of a derivation.

    Attributes:
        start, end: character span of the step in the completion text, end exclusive.
        verdict: "unsupported" is a true statement that cites no premise given or known; "repeated" was already said.
        kind: for a step that is not right, what went wrong, in the task's words ("context_hop", "order", "format" ...);
            empty for a right step.
        score: in [0, 1], what the task's own check, a symbolic process reward, pays this step.
    """

    start: int
    end: int
    verdict: StepVerdict
    kind: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class StepScore:
    """What a process reward says of one step, whoever gives it: a check, a plug-in, a learned or an implicit scorer.

    Attributes:
        start, end: character span of the step in the completion text, end exclusive.
        score: finite; larger is better. In [0, 1] for checks and learned scorers (probability that the step is right),
            any number for plug-ins and implicit ones (a log-ratio).
    """

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class DerivationCheck:
    """A task's verdict over one completion.

    Attributes:
        answer: the final answer found in the text, None where none could be read.
        answer_correct: the answer equals the gold one.
        derivation_correct: every step is right, none is missing, and the answer follows; None where the task does not
            check the steps of this problem (then `steps` is empty, and there is no first error).
        steps: the steps found, in text order.
        first_error: index of the first step that is not right; len(steps) where the steps are right but stop early;
            None where derivation_correct.
        first_error_kind: the kind of that first error; "" where derivation_correct.
        reward: what the task itself pays, where it grades more finely than right or wrong, or in another way.
        parts: the named numbers that `reward` was made from.
    """

    answer: str | None
    answer_correct: bool
    derivation_correct: bool | None
    steps: tuple[Step, ...] = ()
    first_error: int | None = None
    first_error_kind: str = ""
    reward: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """What one sample of a generator produced. Tokens are never decoded and encoded again on the way to the learner.

    Of a task of several turns, `tokens` and `text` hold everything after the prompt: what the policy wrote and what the
    environment answered, in turn.

    Attributes:
        prompt_tokens: [P] int32.
        tokens: [T] int32, sampled tokens including the end token where finish_reason is "stop".
        generator_logprobs: [T] float32, natural log-probability under the sampling distribution (after temperature).
        text: tokens decoded without special tokens.
        finish_reason: "stop" where the end token was sampled, "length" where the budget ran out.
        policy_version: version of the weights that sampled it; of several the oldest.
        seed: the seed of this sample.
        loss_mask: [T] bool, the tokens that the policy sampled; None: all of them.
        turns: of a task of several turns, the text of each of the policy's.
        failure: "" or the typed cause for which the environment could not answer; the completion is not scored then.
        policy_versions: [T] int32, the version that sampled each token (of what an environment said: that of the token
            before); None: `policy_version` all of them.
    """

    prompt_tokens: np.ndarray
    tokens: np.ndarray
    generator_logprobs: np.ndarray
    text: str
    finish_reason: FinishReason
    policy_version: int
    seed: int
    loss_mask: np.ndarray | None = None
    turns: tuple[str, ...] = ()
    failure: str = ""
    policy_versions: np.ndarray | None = None

    @property
    def sampled_tokens(self) -> int:
        """How many of the tokens the policy sampled."""
        return len(self.tokens) if self.loss_mask is None else int(self.loss_mask.sum())


@dataclass(frozen=True, slots=True)
class Score:
    """What a reward (or a rubric of several) says of one completion.

    Attributes:
        reward: finite float; None where the rollout could not be scored (then `failure` says why).
        correct: the answer is right; None where the reward does not judge that.
        parts: the named parts the reward was made from, before weights.
        steps: the task's verdict on each step it found in the text.
        step_scores: who scored the steps (a part of the rubric, a scorer of the recipe) -> its scores, in text order.
        failure: "" or the typed cause, for example "PluginTimeout: rewards/mine.py:score took over 5 s".
        derivation_correct, first_error, first_error_kind: as in `DerivationCheck`, where the task checks derivations.
        answer: the answer that was read from the text, where one was.
    """

    reward: float | None
    correct: bool | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    step_scores: Mapping[str, tuple[StepScore, ...]] = field(default_factory=dict)
    failure: str = ""
    derivation_correct: bool | None = None
    first_error: int | None = None
    first_error_kind: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion of a problem with its score. `sample` counts from 0 within the group."""

    problem: Problem
    sample: int
    completion: Completion
    score: Score


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one prompt, in the order of `sample`."""

    problem: Problem
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that broke in a run, and what became of it.

    Attributes:
        actor: what broke, as its log is called: "generator-0", "learner-1", "rewards"; or a stage that failed.
        kind: in a word or two: "died", "wedged", "raised", "timeout"; of a stage the class of the error.
        blame: see `errors.Blame`.
        cause: what was seen of it.
        done: what was done about it.
        lost: what has to be done again, or is lost.
        detect_s: seconds from the last sign of life until it was given up; None: not measured.
        recover_s: seconds from then until what broke was at work again; None: it is not (yet), or not measured.
    """

    actor: str
    kind: str
    blame: Blame
    cause: str
    done: str
    lost: str
    detect_s: float | None = None
    recover_s: float | None = None


ReportIncident = Callable[[Incident], None]
"""Where those who see an incident tell of it; may be called from any thread."""
