"""The in-process learner: a plain torch AdamW loop over the same rows, losses and checks as the DeepSpeed learner.

For unit tests and machines without DeepSpeed; also the bare loop that the real learner's overhead is measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.engines.adapters import add_adapters, merged_tensors, save_merged
from rlreason.engines.average import WeightAverage, averaged
from rlreason.engines.checkpoints import newest_state, partial_of, state_name, update_of
from rlreason.engines.learner_state import (
    LearnerState,
    average_tensors,
    load_average,
    load_moments,
    load_random,
    load_weights,
    plain_tensors,
    random_tensors,
    trained,
    versions,
)
from rlreason.engines.models import load_for
from rlreason.engines.numbers import NumberLoss
from rlreason.engines.objective import UpdateTally, check_gradient, may_step, micro_batch_losses, policy_figures
from rlreason.engines.packed_rows import pack_attention
from rlreason.engines.policy import PolicyModule, load_policy, plan_passes, plan_update, scheduled_rate
from rlreason.engines.preferences import PairTrainer
from rlreason.engines.protocols import (
    Job,
    Objective,
    PolicyBatch,
    PolicyFigures,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    Report,
    SupervisedJob,
    SupervisedRows,
)
from rlreason.engines.state_writer import StateWriter
from rlreason.engines.weights import PackedWeights, pack_weights
from rlreason.recipe.training import Lora, Optimizer


def make_adamw(parameters: Iterable[torch.nn.Parameter], optimizer: Optimizer) -> torch.optim.AdamW:
    """AdamW over what is trained, as a recipe describes it."""
    return torch.optim.AdamW(
        [parameter for parameter in parameters if parameter.requires_grad],
        lr=optimizer.learning_rate,
        betas=optimizer.betas,
        weight_decay=optimizer.weight_decay,
        eps=1e-8,
    )


class TorchLearner:
    """One process, one device, one model at a time."""

    def __init__(self, *, dtype: str, micro_batch_tokens: int, device: str = "cpu") -> None:
        """`micro_batch_tokens`: padded tokens held at a time."""
        self._dtype = getattr(torch, dtype)
        self._micro_batch_tokens = micro_batch_tokens
        self._device = torch.device(device)
        self._module: PolicyModule | None = None
        self._reference: PolicyModule | None = None
        self._average: WeightAverage | None = None
        self._writer = StateWriter()

    def _load(
        self, checkpoint: Path, seed: int, objective: Objective = "next_token", lora: Lora | None = None
    ) -> PolicyModule:
        torch.manual_seed(seed)
        self._checkpoint = checkpoint
        model = load_for(objective, checkpoint, self._dtype).to(self._device)
        if lora is not None:
            add_adapters(model, lora)
        model.train()
        return PolicyModule(model)

    def _step(self, module: PolicyModule, optimizer: torch.optim.AdamW, settings: Optimizer, rate: float) -> float:
        """Clip, step at `rate`, clear; returns the gradient norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update()
        return float(norm)

    # --- whole stages: pretraining, supervised fine-tuning, preferences

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`."""
        module = self._load(job.checkpoint, job.seed, job.objective, job.lora)
        pack_attention(module.model)
        numbers = NumberLoss(job, rows) if job.number_loss else None
        return self._run(
            job, module, lambda update: self._supervised_gradients(module, rows, update, job, numbers), report
        )

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`."""
        module = self._load(job.checkpoint, job.seed)
        module.eval()  # dropout would blur the difference from the reference; TRL switches it off too
        trainer = PairTrainer(module, pairs, job.beta, self._micro_batch_tokens)
        order = pairs.order.reshape(job.updates, job.batch_pairs)
        return self._run(job, module, lambda update: trainer.gradients(order[update - 1]), report)

    def _run(
        self, job: Job, module: PolicyModule, gradients: Callable[[int], dict[str, float]], report: Report
    ) -> Mapping[str, float]:
        """Run a stage to its end, from its newest state where there is one.

        Args:
            gradients: accumulates the gradients of an update, and returns its metrics.
        """
        model, optimizer = module.model, make_adamw(module.parameters(), job.optimizer)
        self._average = averaged(model, job.optimizer)
        done = 0
        if resume := newest_state(job.state):
            self._restore(resume, model, optimizer)
            done = update_of(resume)
        try:
            for update in range(done + 1, job.updates + 1):
                self._writer.check()
                figures = gradients(update)
                rate = scheduled_rate(job.optimizer, update, job.updates)
                norm = self._step(module, optimizer, job.optimizer, rate)
                report(update, {**figures, "learning_rate": rate, "grad_norm": norm})
                if update % job.checkpoint_every == 0 and update < job.updates:
                    folder = job.state / state_name(update)
                    partial_of(folder)
                    self._save(folder, model, optimizer, {**job.about, "update": update}, job.keep_last)
        finally:
            self._writer.close()
        self._module = module
        self.save_model(job.output)
        self._module = self._average = None
        return {"updates_run": float(job.updates - done)}

    def _supervised_gradients(
        self, module: PolicyModule, rows: SupervisedRows, update: int, job: SupervisedJob, numbers: NumberLoss | None
    ) -> dict[str, float]:
        """Accumulate the gradients of one update; returns its loss and its trained tokens."""
        start, stop = (update - 1) * job.batch_rows, update * job.batch_rows
        trained = float((rows.labels[start:stop] != -100).sum())
        size = max(1, self._micro_batch_tokens // rows.tokens.shape[1])
        total = 0.0
        for at in range(start, stop, size):
            piece = slice(at, min(at + size, stop))
            where, column = np.nonzero(rows.labels[piece] != -100)
            tokens = torch.from_numpy(rows.tokens[piece].astype(np.int64)).to(self._device)
            positions = torch.from_numpy(rows.positions[piece].astype(np.int64)).to(self._device)
            if job.objective == "step_labels":
                logits = module.model(input_ids=tokens, position_ids=positions, use_cache=False).logits
                classes = torch.from_numpy(rows.labels[piece][where, column].astype(np.int64)).to(self._device)
                loss = cross_entropy(logits[where, column].float(), classes, reduction="sum") / trained
            else:
                hidden = module.model.get_decoder()(
                    input_ids=tokens, position_ids=positions, use_cache=False
                ).last_hidden_state
                head, before, targets = (
                    module.model.get_output_embeddings(),
                    hidden[where, column - 1],
                    tokens[where, column],
                )
                logprobs, _ = token_logprobs(before, targets, head)
                loss = -logprobs.sum() / trained
                if numbers is not None:
                    numeric = numbers.at(targets)
                    loss = loss + numbers.part(head(before[numeric]), targets[numeric], update)
            loss.backward()
            total += float(loss.detach())
        return {"loss": total, "trained_tokens": trained}

    # --- reinforcement learning

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        torch.manual_seed(settings.seed)
        self._settings, self._checkpoint = settings, checkpoint
        self._module, self._reference = load_policy(checkpoint, settings, self._dtype, self._device)
        self._optimizer = make_adamw(self._module.parameters(), settings.optimizer)
        self._average = averaged(self._module, settings.optimizer)
        if state is not None:
            self._restore(state, self._module, self._optimizer)

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`."""
        assert self._module is not None, "begin() comes first"
        self._writer.check()
        plan = plan_update(self._module, batch, self._settings, 1, self._micro_batch_tokens)[0]
        tally = UpdateTally()
        losses = micro_batch_losses(
            self._module,
            batch,
            plan.batches,
            self._settings,
            self._device,
            tally,
            reference=self._reference,
            shared=plan.shared,
            left_out=plan.left_out,
        )
        for loss in losses:
            loss.backward()
        metrics = tally.metrics(self._settings)
        wanted = self._settings.optimizer
        metrics["learning_rate"] = scheduled_rate(wanted, update, self._settings.updates)
        metrics["forward_passes"] = float(len(plan.batches))
        step = False
        try:
            step = may_step(metrics, self._settings, self._dtype, update, on_policy)
        finally:
            if not step:
                self._optimizer.zero_grad(set_to_none=True)
        if step:
            metrics["grad_norm"] = check_gradient(
                self._step(self._module, self._optimizer, wanted, metrics["learning_rate"]), update
            )
        return metrics

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """See `protocols.Learner.figures`."""
        assert self._module is not None, "begin() comes first"
        plan = plan_passes(self._module, batch, 1, self._micro_batch_tokens)[0]
        return policy_figures(self._module, batch, plan.batches, self._settings, self._device, shared=plan.shared)

    def weights(self) -> PackedWeights:
        """See `protocols.Learner.weights`."""
        assert self._module is not None, "begin() comes first"
        return pack_weights(merged_tensors(self._module.model))

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`."""
        assert self._module is not None, "begin() comes first"
        with self._average.applied() if self._average else nullcontext():
            save_merged(self._module.model, self._checkpoint, output)

    def save_state(self, folder: Path, about: Mapping[str, Any], keep: int = 1) -> None:
        """See `protocols.Learner.save_state`."""
        assert self._module is not None, "begin() comes first"
        self._save(folder, self._module, self._optimizer, about, keep)

    def _save(
        self, folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, about: Mapping[str, Any], keep: int
    ) -> None:
        self._writer.settle()  # two copies at a time would be one too many
        self._writer.check()
        tensors = (
            plain_tensors(trained(model), optimizer) | average_tensors(self._average) | random_tensors(self._device)
        )
        self._writer.begin(folder, tensors, {**about, "learner": "torch", "ranks": 1, **versions()}, keep)

    def _restore(self, folder: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> None:
        state = LearnerState(folder)
        load_weights(model, state)
        load_moments(trained(model), optimizer, state)
        load_average(self._average, state)
        load_random(state, self._device)

    def end(self) -> None:
        """See `protocols.Learner.end`."""
        self._writer.close()
        self._module = self._reference = self._average = None
        self._optimizer = None  # type: ignore[assignment]

    def close(self) -> None:
        """See `protocols.Learner.close`."""
        self.end()
