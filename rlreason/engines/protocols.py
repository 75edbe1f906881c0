"""What a generator and a learner are to the rest of the house, and the flat batches that travel between them.

Implementations: `vllm_generator` and `deepspeed_learner` (inside Ray actors, see `rlreason.orchestration`),
`torch_generator` and `torch_learner` (in this process), `torch_scorer` (in either). Batches are flat numpy arrays, so
that Ray's object store shares them without a copy and no engine's types leak out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from rlreason.recipe.objectives import Correction, Critic, Kl, Loss
from rlreason.recipe.training import Lora, Optimizer

Objective = Literal["next_token", "step_labels"]
"""What a supervised stage trains: see `SupervisedJob`."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How to draw. temperature 0 is greedy; logprobs are those of the distribution that was sampled from.

    With ignore_end the end token is a token like any other, so that every completion has max_new_tokens: for measuring.
    With continued the prompts are episodes that go on: no new samples, for whoever counts these.
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    ignore_end: bool = False
    continued: bool = False


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """N completions, flat.

    Attributes:
        tokens: [sum(lengths)] int32, including the end token where one was sampled.
        logprobs: [sum(lengths)] float32, natural log under the sampling distribution.
        lengths: [N] int32.
        stopped: [N] bool, True where the end token was sampled, False where the budget ran out.
        policy_version: version of the weights that sampled all of them; of several the oldest.
        policy_versions: [sum(lengths)] int32, the version that sampled each token; None: all of them one.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    lengths: np.ndarray
    stopped: np.ndarray
    policy_version: int
    policy_versions: np.ndarray | None = None

    def split(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(tokens [T], logprobs [T]) of each completion, as views."""
        ends = np.cumsum(self.lengths)
        return [
            (self.tokens[end - length : end], self.logprobs[end - length : end])
            for end, length in zip(ends, self.lengths, strict=True)
        ]

    def split_versions(self) -> list[np.ndarray | None]:
        """policy_versions [T] of each completion, as views; None where one version sampled all of them."""
        if self.policy_versions is None:
            return [None] * len(self.lengths)
        return list(np.split(self.policy_versions, np.cumsum(self.lengths)[:-1]))

    @staticmethod
    def concatenate(parts: Sequence[SampleBatch]) -> SampleBatch:
        """Several batches in order; all must come from the same policy version."""
        versions = {part.policy_version for part in parts}
        if len(versions) != 1:
            raise ValueError(f"completions of policy versions {sorted(versions)} cannot be one batch")
        return SampleBatch(
            tokens=np.concatenate([part.tokens for part in parts]),
            logprobs=np.concatenate([part.logprobs for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            stopped=np.concatenate([part.stopped for part in parts]),
            policy_version=versions.pop(),
        )


@dataclass(frozen=True, slots=True)
class PolicyBatch:
    """S sequences (prompt then completion) for one optimizer update, flat.

    Attributes:
        tokens: [sum(prompt_lengths + lengths)] int32, prompt and completion of each sequence in turn.
        prompt_lengths, lengths: [S] int32, tokens of the prompt, of the completion.
        generator_logprobs: [sum(lengths)] float32; ignored where `loss_mask` is False.
        advantages: [sum(lengths)] float32, one a completion token.
        weights: [sum(lengths)] float32, weight of each completion token in the update's loss (0: not trained).
        proximal_logprobs: [sum(lengths)] float32, the learner's own before the first of several updates on the same
            rollouts; None: its present ones (where a correction asks for them at all).
        returns: [sum(lengths)] float32, what the critic is to predict; None where there is none.
        loss_mask: [sum(lengths)] bool, the completion tokens that the policy sampled. The others are read like the
            prompt, and are in no figure and no mean; None: there are none.
        current: [sum(lengths)] bool, the completion tokens that the learner's present weights sampled, on which it is
            held against the generator; None: all of them.
    """

    tokens: np.ndarray
    prompt_lengths: np.ndarray
    lengths: np.ndarray
    generator_logprobs: np.ndarray
    advantages: np.ndarray
    weights: np.ndarray
    proximal_logprobs: np.ndarray | None = None
    returns: np.ndarray | None = None
    loss_mask: np.ndarray | None = None
    current: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a learner says of the completion tokens of a `PolicyBatch` as it is now, without training.

    Attributes:
        logprobs: [sum(lengths)] float32; 0 where the batch's `loss_mask` is False.
        values: [sum(lengths)] float32, what the critic expects before each token; 0 there too, and without a critic.
    """

    logprobs: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class SupervisedRows:
    """R packed rows of L tokens for pretraining or supervised fine-tuning.

    Attributes:
        tokens: [R, L] int32; padding at the end of a row is token 0.
        labels: [R, L] int32, the token itself where it is trained, -100 elsewhere (also the first of each sequence);
            for the objective "step_labels" the class of the step that ends there, 0 wrong or 1 right, else -100.
        positions: [R, L] int32, restarting at 0 with every sequence: a token attends to its own sequence only.
    """

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray

    def sequences(self) -> tuple[np.ndarray, np.ndarray]:
        """(lengths [S], row of each [S]) of what the rows hold, the padding behind it left out.

        Padding starts at position 0 too, and is told by its labels: it has none.
        """
        starts = np.flatnonzero(self.positions == 0)
        lengths = np.diff(np.append(starts, self.positions.size))
        held = np.add.reduceat(self.labels.reshape(-1) != -100, starts, dtype=np.int64) > 0
        return lengths[held], starts[held] // self.positions.shape[1]


@dataclass(frozen=True, slots=True)
class PreferencePairs:
    """N pairs of completions, each of the same prompt, flat: sequence 2i is the better completion of pair i, 2i + 1 the
    worse one.

    Attributes:
        tokens: [sum(prompt_lengths + lengths)] int32, prompt and completion of each sequence in turn.
        prompt_lengths, lengths: [2N] int32, tokens of the prompt, of the completion.
        order: [updates x pairs an update] int32, the pair that is trained next.
    """

    tokens: np.ndarray
    prompt_lengths: np.ndarray
    lengths: np.ndarray
    order: np.ndarray

    def split(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(prompt [P], completion [T]) of each sequence, as views."""
        ends = np.cumsum(self.prompt_lengths + self.lengths)
        return [
            (self.tokens[end - length - prompt : end - length], self.tokens[end - length : end])
            for end, length, prompt in zip(ends, self.lengths, self.prompt_lengths, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Job:
    """A whole stage of training for a learner, of whatever kind.

    Attributes:
        checkpoint: Hugging Face directory to start from.
        output: where the trained Hugging Face directory goes (the caller renames it into place).
        state: folder for resumable state; what is there is resumed from.
        updates: optimizer updates.
        optimizer: AdamW and schedule.
        checkpoint_every: updates between resumable states.
        seed: of dropout, of a new head and the like.
        keep_last: resumable states that stay.
        about: what the manifest of each says beside its update: the stage.
    """

    checkpoint: Path
    output: Path
    state: Path
    updates: int
    optimizer: Optimizer
    checkpoint_every: int
    seed: int
    keep_last: int = field(default=1, kw_only=True)
    about: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class SupervisedJob(Job):
    """A pretraining or supervised stage.

    Attributes:
        batch_rows: rows an update, taken in order.
        objective: "next_token", or "step_labels": two classes read off the label tokens by a new head on the checkpoint
            (a Hugging Face token classifier).
        lora: adapters that train in place of the weights.
        number_loss: weight of the number-token loss beside the cross entropy of next tokens.
    """

    batch_rows: int
    objective: Objective = "next_token"
    lora: Lora | None = None
    number_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class PreferenceJob(Job):
    """A stage of direct preference optimisation; the checkpoint it starts from is the reference.

    Attributes:
        batch_pairs: pairs an update.
        beta: strength of the reference.
    """

    batch_pairs: int
    beta: float


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The steps of S sequences (prompt then completion), flat.

    Attributes:
        tokens: [sum(prompt_lengths + lengths)] int32.
        prompt_lengths, lengths: [S] int32.
        counts: [S] int32, steps of each sequence.
        starts, ends: [sum(counts)] int32, tokens of each step, counted from the completion's first, end exclusive.
    """

    tokens: np.ndarray
    prompt_lengths: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True, slots=True)
class ScorerModel:
    """What a step scorer is to serve.

    Attributes:
        kind: "learned": a token classifier; a step scores its probability of class 1 at the step's last token.
            "implicit": beta times the sum over a step's tokens of log policy - log reference.
        checkpoints: Hugging Face directories: the classifier, or policy and reference.
        beta: of the implicit kind.
    """

    kind: Literal["learned", "implicit"]
    checkpoints: tuple[Path, ...]
    beta: float = 1.0


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What a learner needs for an RL stage.

    Attributes:
        updates: optimizer updates of the whole stage, for the schedule.
        temperature, top_p: the generator's, so that logprobs are of the same distribution.
        mismatch_tolerance: largest mean |learner - generator| logprob of an on-policy batch before the step is refused;
            None: the dtype's default.
        kl: how far from `reference` the policy is held; None: it is not.
        reference: Hugging Face directory; needed with `kl`.
        entropy_weight, correction, critic, lora: as the recipe's `rl` stage says.
    """

    optimizer: Optimizer
    loss: Loss
    updates: int
    temperature: float
    mismatch_tolerance: float | None
    seed: int
    top_p: float = 1.0
    kl: Kl | None = None
    reference: Path | None = None
    entropy_weight: float = 0.0
    correction: Correction | None = None
    critic: Critic | None = None
    lora: Lora | None = None


Report = Callable[[int, Mapping[str, float]], None]
"""Called with (update, metrics) as a long job goes on."""


class Generator(Protocol):
    """Serves a policy: N prompts in, N completions out."""

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """One completion a prompt, in order; each drawn from its own seed, whatever else is in the batch."""

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """Serve a Hugging Face directory of the same architecture from now on."""

    def load_weights(self, weights: Any, policy_version: int) -> None:
        """Serve what `Learner.weights` gave from now on."""

    def close(self) -> None:
        """Free what it holds; safe to call twice."""


class Learner(Protocol):
    """Updates a policy. Holds one model at a time: `supervised` and `preferences` run a whole stage; `begin` ... `end`
    brackets RL."""

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """Run a pretraining or supervised stage to its end; returns closing figures."""

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """Run a stage of direct preference optimisation to its end; returns closing figures. Metrics of an update are
        the loss (mean over its pairs), preference_margin and preference_accuracy (share of positive margins)."""

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """Load a policy for RL; with `state`, continue from that saved state instead."""

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """One optimizer update (numbered from 1); with on_policy, refuse a batch whose logprobs do not agree.

        Returns:
            Metrics; "skipped" is 1 where the loss was not a number, and no step was made.
        Raises:
            WeightSyncMismatch: generator and learner disagree on the same tokens; no step was made.
        """

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """Log-probabilities and values of the batch's tokens under the policy as it is; nothing is trained."""

    def weights(self) -> Any:
        """The policy's weights, in the form that `Generator.load_weights` takes."""

    def save_model(self, output: Path) -> None:
        """Write a Hugging Face directory."""

    def save_state(self, folder: Path, about: Mapping[str, Any], keep: int = 1) -> None:
        """Begin to write everything `begin` needs to continue: weights, optimizer, averages, random generators.

        They are copied, and written while training goes on; with what the caller has laid into "NAME.partial" before
        they become the folder, whole or not at all (see `checkpoints`). Only one state is written at a time.

        Args:
            about: what the manifest says of the state beside the learner's own.
            keep: states that stay beside each other, this one among them.
        Raises:
            CheckpointError: the state before could not be written; so does `update`.
        """

    def end(self) -> None:
        """Free the policy; what is still being written is waited for, and its failure forgotten."""

    def close(self) -> None:
        """Free what it holds; safe to call twice."""


class StepScorer(Protocol):
    """Scores the steps of derivations with a model."""

    def load(self, model: ScorerModel) -> None:
        """Serve that model from now on; free what was served before."""

    def score(self, batch: StepBatch) -> np.ndarray:
        """[sum(counts)] float32, the score of each step."""

    def close(self) -> None:
        """Free what it holds; safe to call twice."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The started engines of a run, each possibly many processes, warm until closed.

    `scorer` is there where the recipe has `scorers`. `description` says among other things how many "gpus" they hold.
    """

    generator: Generator
    learner: Learner
    description: Mapping[str, Any]
    scorer: StepScorer | None = None

    def close(self) -> None:
        """Stop all of them."""
        self.generator.close()
        self.learner.close()
        if self.scorer is not None:
            self.scorer.close()
