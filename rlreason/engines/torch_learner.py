"""The in-process learner: a plain torch AdamW loop over the same rows, losses and checks as the DeepSpeed learner.

For unit tests and machines without DeepSpeed; also the bare loop that the real learner's overhead is measured against.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.algorithms.packing import balanced_micro_batches
from rlreason.engines.checkpoints import copy_tokenizer, newest_state, promote
from rlreason.engines.models import load_for
from rlreason.engines.policy import PolicyModule, UpdateTally, check_mismatch, micro_batch_losses, scheduled_rate
from rlreason.engines.protocols import Objective, PolicyBatch, PolicySettings, Report, SupervisedJob, SupervisedRows
from rlreason.engines.weights import PackedWeights, pack_weights
from rlreason.errors import CheckpointError
from rlreason.recipe.stages import Optimizer


def make_adamw(parameters: Any, optimizer: Optimizer) -> torch.optim.AdamW:
    """AdamW as a recipe describes it."""
    return torch.optim.AdamW(
        parameters, lr=optimizer.learning_rate, betas=optimizer.betas, weight_decay=optimizer.weight_decay, eps=1e-8
    )


class TorchLearner:
    """One process, one device, one model at a time."""

    def __init__(self, *, dtype: str, micro_batch_tokens: int, device: str = "cpu") -> None:
        """`micro_batch_tokens`: padded tokens held at a time."""
        self._dtype = getattr(torch, dtype)
        self._micro_batch_tokens = micro_batch_tokens
        self._device = torch.device(device)
        self._module: PolicyModule | None = None

    def _load(self, checkpoint: Path, seed: int, objective: Objective = "next_token") -> PolicyModule:
        torch.manual_seed(seed)
        self._checkpoint = checkpoint
        model = load_for(objective, checkpoint, self._dtype).to(self._device)
        model.train()
        return PolicyModule(model)

    def _step(self, module: PolicyModule, optimizer: torch.optim.AdamW, settings: Optimizer, rate: float) -> float:
        """Clip, step at `rate`, clear; returns the gradient norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(norm)

    # --- pretraining and supervised fine-tuning

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`."""
        module = self._load(job.checkpoint, job.seed, job.objective)
        optimizer = make_adamw(module.parameters(), job.optimizer)
        done = 0
        if resume := newest_state(job.state):
            done = self._restore(resume, module, optimizer)
        for update in range(done + 1, job.updates + 1):
            at = (update - 1) * job.batch_rows
            loss, trained = self._supervised_gradients(module, rows, range(at, at + job.batch_rows), job.objective)
            rate = scheduled_rate(job.optimizer, update, job.updates)
            norm = self._step(module, optimizer, job.optimizer, rate)
            report(update, {"loss": loss, "learning_rate": rate, "grad_norm": norm, "trained_tokens": trained})
            if update % job.checkpoint_every == 0 and update < job.updates:
                self._save(job.state, update, module, optimizer)
        self._module = module
        self.save_model(job.output)
        self._module = None
        return {"updates_run": float(job.updates - done)}

    def _supervised_gradients(
        self, module: PolicyModule, rows: SupervisedRows, batch: range, objective: Objective
    ) -> tuple[float, float]:
        """Accumulate the gradients of one update; returns (mean loss a trained token, trained tokens)."""
        labels = rows.labels[batch.start : batch.stop]
        trained = float((labels != -100).sum())
        width = rows.tokens.shape[1]
        size = max(1, self._micro_batch_tokens // width)
        total = 0.0
        for at in range(batch.start, batch.stop, size):
            piece = slice(at, min(at + size, batch.stop))
            where, column = np.nonzero(rows.labels[piece] != -100)
            tokens = torch.from_numpy(rows.tokens[piece].astype(np.int64)).to(self._device)
            positions = torch.from_numpy(rows.positions[piece].astype(np.int64)).to(self._device)
            if objective == "step_labels":
                logits = module.model(input_ids=tokens, position_ids=positions, use_cache=False).logits
                classes = torch.from_numpy(rows.labels[piece][where, column].astype(np.int64)).to(self._device)
                loss = cross_entropy(logits[where, column].float(), classes, reduction="sum") / trained
            else:
                hidden = module.model.get_decoder()(
                    input_ids=tokens, position_ids=positions, use_cache=False
                ).last_hidden_state
                logprobs, _ = token_logprobs(
                    hidden[where, column - 1], tokens[where, column], module.model.get_output_embeddings()
                )
                loss = -logprobs.sum() / trained
            loss.backward()
            total += float(loss.detach())
        return total, trained

    # --- reinforcement learning

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        self._settings = settings
        self._module = self._load(checkpoint, settings.seed)
        self._optimizer = make_adamw(self._module.parameters(), settings.optimizer)
        if state is not None:
            self._restore(state, self._module, self._optimizer)

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`."""
        assert self._module is not None, "begin() comes first"
        lengths = batch.prompt_lengths + batch.lengths
        plan: Sequence[Sequence[int]] = balanced_micro_batches(lengths, 1, self._micro_batch_tokens)[0]
        tally = UpdateTally()
        for loss in micro_batch_losses(self._module, batch, plan, self._settings, self._device, tally):
            loss.backward()
        metrics = tally.metrics()
        if on_policy:
            try:
                check_mismatch(metrics, self._settings, self._dtype, update)
            except Exception:
                self._optimizer.zero_grad(set_to_none=True)
                raise
        wanted = self._settings.optimizer
        rate = scheduled_rate(wanted, update, self._settings.updates)
        metrics["grad_norm"] = self._step(self._module, self._optimizer, wanted, rate)
        metrics["learning_rate"] = rate
        metrics["forward_passes"] = float(len(plan))
        return metrics

    def weights(self) -> PackedWeights:
        """See `protocols.Learner.weights`."""
        assert self._module is not None, "begin() comes first"
        return pack_weights(self._module.model.named_parameters())

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`."""
        assert self._module is not None, "begin() comes first"
        self._module.model.save_pretrained(output, safe_serialization=True)
        copy_tokenizer(self._checkpoint, output)

    def save_state(self, folder: Path) -> None:
        """See `protocols.Learner.save_state`."""
        assert self._module is not None, "begin() comes first"
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder, 0, self._module, self._optimizer)

    def _save(self, state: Path, update: int, module: PolicyModule, optimizer: torch.optim.AdamW) -> None:
        temporary = state / f"update-{update:06d}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self._write(temporary, update, module, optimizer)
        promote(temporary)

    def _write(self, folder: Path, update: int, module: PolicyModule, optimizer: torch.optim.AdamW) -> None:
        state = {
            "update": update,
            "model": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, folder / "torch_learner.pt")

    def _restore(self, folder: Path, module: PolicyModule, optimizer: torch.optim.AdamW) -> int:
        path = folder / "torch_learner.pt"
        if not path.exists():
            raise CheckpointError(f"{folder} holds no torch_learner.pt; it was not saved by the in-process learner")
        state = torch.load(path, weights_only=True)
        module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return int(state["update"])

    def end(self) -> None:
        """See `protocols.Learner.end`."""
        self._module = None
        self._optimizer = None  # type: ignore[assignment]

    def close(self) -> None:
        """See `protocols.Learner.close`."""
        self.end()
