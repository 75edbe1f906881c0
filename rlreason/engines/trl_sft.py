"""Pretraining and supervised stages through TRL's SFTTrainer, under a real DeepSpeed engine, also on a CPU.

Step scorers, which are classifiers, go through the trainer that it is built on (transformers'), in the same way.

Data arrives packed (`SupervisedRows`): what a row holds, which tokens are trained and in which order rows come are
decided before, so the trainer neither tokenises, packs nor shuffles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rlreason.algorithms.logprobs import token_logprobs
from rlreason.engines.adapters import add_adapters
from rlreason.engines.models import load_for
from rlreason.engines.numbers import NumberLoss
from rlreason.engines.packed_rows import pack_attention
from rlreason.engines.protocols import Report, SupervisedJob, SupervisedRows
from rlreason.engines.trl_stage import Place, batch_shape, common_arguments, house_schedule, run


def _dataset(rows: SupervisedRows, first: int) -> Any:
    """The rows from `first` on as an Arrow dataset, without a Python list in between."""
    import pyarrow as pa
    from datasets import Dataset

    width = rows.tokens.shape[1]
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(array[first:].reshape(-1)), width)
        for name, array in (("input_ids", rows.tokens), ("labels", rows.labels), ("position_ids", rows.positions))
    }
    return Dataset(pa.table(columns)).with_format("numpy")


def _collate(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """[R, L] int64 tensors. No attention mask: the model reads the sequences' borders off the positions."""
    return {
        name: torch.from_numpy(np.stack([row[name] for row in rows]).astype(np.int64))
        for name in ("input_ids", "labels", "position_ids")
    }


def _step_label_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Cross entropy of the labelled steps, summed over this pass and divided by the labels of the whole update."""
    logits = outputs.logits.float().flatten(0, 1)
    summed = torch.nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="sum")
    return summed / num_items_in_batch


def score_what_is_trained(model: Any) -> None:
    """Replace the forward pass that SFTTrainer gave a model by one that puts the trained tokens alone through the head.

    TRL's does so where Triton runs. On a CPU it puts every position through it, in tiles that the backward pass makes
    again: of rows with prompts that is two fifths of an update of a small model.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    before = model.forward

    def forward(*arguments: Any, fused_lm_head: bool = False, **named: Any) -> Any:
        if not fused_lm_head:
            return before(*arguments, **named)
        labels = named.pop("labels")
        trained = labels[:, 1:] != -100
        hidden = model.base_model(*arguments, **named).last_hidden_state[:, :-1][trained]
        targets, head = labels[:, 1:][trained], model.get_output_embeddings()
        logprobs, entropy = token_logprobs(hidden, targets, head)
        with torch.no_grad():
            top = head(hidden).argmax(dim=-1) == targets
        return FusedCausalLMOutput(log_probs=logprobs, entropy=entropy, is_top1=top, label_mask=trained)

    model.forward = forward


def _with_numbers(numbers: NumberLoss, updates_done: Callable[[], int]) -> Any:
    """The loss of next tokens and numbers, for a trainer that has made `updates_done()` updates."""

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
        targets = labels[:, 1:].flatten()
        logits = outputs.logits[:, :-1].flatten(0, 1)
        trained, numeric = targets >= 0, numbers.at(targets)
        summed = torch.nn.functional.cross_entropy(logits[trained].float(), targets[trained], reduction="sum")
        part = numbers.part(logits[numeric], targets[numeric], updates_done() + 1)
        return summed / num_items_in_batch + part

    return loss


def _make_trainer(job: SupervisedJob, rows: SupervisedRows, place: Place, done: int) -> Any:
    """A trainer that follows the house's schedule and takes the rows as they come after `done` updates."""
    import transformers
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    schedule = house_schedule(job, done)

    class SequenceTrainer(schedule, SFTTrainer):  # type: ignore[misc, valid-type]
        """Trains next tokens."""

    class StepLabelTrainer(schedule, transformers.Trainer):  # type: ignore[misc, valid-type]
        """Trains a classifier of steps."""

    held, accumulation = batch_shape("batch_rows", job.batch_rows, rows.tokens.shape[1], place)
    arguments = SFTConfig(
        **common_arguments(job, held, accumulation, place, done),
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
    )
    torch.manual_seed(job.seed)  # of a new head or new adapters, the same on every rank
    model = load_for(job.objective, job.checkpoint, place.dtype)
    on_cpu = pack_attention(model)
    if job.lora is not None:
        add_adapters(model, job.lora)
    common = {
        "model": model,
        "args": arguments,
        "train_dataset": _dataset(rows, done * job.batch_rows),
        "data_collator": _collate,
        "processing_class": AutoTokenizer.from_pretrained(job.checkpoint),
    }
    if job.objective == "step_labels":
        return StepLabelTrainer(**common, compute_loss_func=_step_label_loss)
    trainer = SequenceTrainer(**common)
    if on_cpu:
        score_what_is_trained(model)
    if job.number_loss:
        numbers = NumberLoss(job, rows)
        trainer.compute_loss_func = _with_numbers(numbers, lambda: done + int(trainer.state.global_step))
    return trainer


def train(job: SupervisedJob, rows: SupervisedRows, report: Report, place: Place) -> dict[str, float]:
    """Train to the end of the stage; called on every rank. See `trl_stage.run`."""
    return run(lambda done: _make_trainer(job, rows, place, done), job, report, place, adapted=job.lora is not None)
