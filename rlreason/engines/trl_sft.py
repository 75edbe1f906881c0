"""Pretraining and supervised stages through TRL's SFTTrainer, under a real DeepSpeed engine, also on a CPU.

Step scorers, which are classifiers, go through the trainer that it is built on (transformers'), in the same way.

Data arrives packed (`SupervisedRows`): what a row holds, which tokens are trained and in which order rows come are
decided before, so the trainer neither tokenises, packs nor shuffles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.checkpoints import copy_tokenizer
from rlreason.engines.models import load_for
from rlreason.engines.protocols import Report, SupervisedJob, SupervisedRows

TRAINER_STATE = "trainer_state.json"


def preload() -> None:
    """Import what `train` needs, so that the first stage does not pay for it."""
    import datasets  # noqa: F401
    import trl

    _ = trl.SFTTrainer


def _dataset(rows: SupervisedRows) -> Any:
    """The rows as an Arrow dataset, without a Python list in between."""
    import pyarrow as pa
    from datasets import Dataset

    width = rows.tokens.shape[1]
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), width)
        for name, array in (("input_ids", rows.tokens), ("labels", rows.labels), ("position_ids", rows.positions))
    }
    return Dataset(pa.table(columns)).with_format("numpy")


def _collate(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """[R, L] int64 tensors. No attention mask: the model reads the sequences' borders off the positions."""
    return {
        name: torch.from_numpy(np.stack([row[name] for row in rows]).astype(np.int64))
        for name in ("input_ids", "labels", "position_ids")
    }


def batch_shape(batch_rows: int, ranks: int, width: int, micro_batch_tokens: int) -> tuple[int, int]:
    """(rows a rank holds at a time, accumulation steps) that make up exactly `batch_rows` rows an update.

    Raises:
        ValueError: batch_rows is not a multiple of the ranks.
    """
    if batch_rows % ranks:
        raise ValueError(f"batch_rows {batch_rows} cannot be shared by {ranks} learners; make it a multiple of {ranks}")
    share = batch_rows // ranks
    largest = max(1, micro_batch_tokens // width)
    rows = max(size for size in range(1, min(share, largest) + 1) if share % size == 0)
    return rows, share // rows


def resumable_state(state: Path) -> Path | None:
    """The newest checkpoint-N folder that was saved whole (the trainer's own state is written last)."""
    found = [path for path in state.glob("checkpoint-*") if (path / TRAINER_STATE).exists()]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _deepspeed_config(zero_stage: int, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        # at stage 3 each rank holds slices: without the gathering, the saved model would be empty
        "zero_optimization": {"stage": zero_stage, "stage3_gather_16bit_weights_on_model_save": True},
        "bf16": {"enabled": dtype == torch.bfloat16},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def _join_process_group() -> None:
    """Tell accelerate that this process is a DeepSpeed rank of the process group that exists.

    It keeps one state a process, and a warm process must not hand the last stage's to this one. Left to make it by
    itself it takes a machine without GPUs for a single process, so that every rank would train on every row.
    """
    from accelerate.state import AcceleratorState, GradientState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    try:
        PartialState(backend=torch.distributed.get_backend())
    finally:
        del os.environ["ACCELERATE_USE_DEEPSPEED"]


def _arguments(job: SupervisedJob, rows: int, accumulation: int, zero_stage: int, dtype: torch.dtype) -> Any:
    """TRL's arguments for the stage. `rows` are held at a time, `accumulation` times an update, on each rank."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(job.state),
        deepspeed=_deepspeed_config(zero_stage, dtype),
        accelerator_config={"use_configured_state": True},
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        max_steps=job.updates,
        learning_rate=job.optimizer.learning_rate,
        adam_beta1=job.optimizer.betas[0],
        adam_beta2=job.optimizer.betas[1],
        weight_decay=job.optimizer.weight_decay,
        max_grad_norm=job.optimizer.max_grad_norm,
        bf16=dtype == torch.bfloat16,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        dataloader_num_workers=0,
        save_strategy="steps",
        save_steps=job.checkpoint_every,
        save_total_limit=2,
        logging_steps=1,
        logging_strategy="steps",
        disable_tqdm=True,
        report_to="none",
        seed=job.seed % 2**32,
    )


def _step_label_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Cross entropy of the labelled steps, summed over this pass and divided by the labels of the whole update."""
    logits = outputs.logits.float().flatten(0, 1)
    summed = torch.nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="sum")
    return summed / num_items_in_batch


def _make_trainer(job: SupervisedJob, rows: SupervisedRows, arguments: Any, report: Report | None) -> Any:
    """A trainer that follows the house's schedule and hands its log lines on."""
    import transformers
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback, TrainerCallback
    from trl import SFTTrainer

    optimizer = job.optimizer

    def share_of_peak(steps_done: int) -> float:
        return learning_rate_at(steps_done + 1, job.updates, 1.0, optimizer.warmup_updates, optimizer.schedule)

    class HouseSchedule:
        """transformers' own schedules begin their warm-up with a step of rate zero."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share_of_peak)  # type: ignore[attr-defined]
            return self.lr_scheduler

    class SequenceTrainer(HouseSchedule, SFTTrainer):
        """Trains next tokens."""

    class StepLabelTrainer(HouseSchedule, transformers.Trainer):
        """Trains a classifier of steps."""

    class Reporter(TrainerCallback):
        """Hands the trainer's log lines on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if report is not None and logs and "loss" in logs:
                report(state.global_step, figures(logs))

    torch.manual_seed(job.seed)  # of a new head, the same on every rank
    common = {
        "model": load_for(job.objective, job.checkpoint, torch.bfloat16 if arguments.bf16 else torch.float32),
        "args": arguments,
        "train_dataset": _dataset(rows),
        "data_collator": _collate,
        "processing_class": AutoTokenizer.from_pretrained(job.checkpoint),
        "callbacks": [Reporter()],
    }
    if job.objective == "step_labels":
        trainer = StepLabelTrainer(**common, compute_loss_func=_step_label_loss)
    else:
        trainer = SequenceTrainer(**common)
    trainer.remove_callback(PrinterCallback)
    return trainer


def train(
    job: SupervisedJob,
    rows: SupervisedRows,
    report: Report,
    *,
    ranks: int,
    rank: int,
    dtype: torch.dtype,
    zero_stage: int,
    micro_batch_tokens: int,
) -> dict[str, float]:
    """Train to the end of the stage and write the Hugging Face directory `job.output`; called on every rank.

    Returns:
        updates_run: optimizer updates made now (fewer than the stage's where it was resumed).
        deepspeed: 1 where the model ran under a real DeepSpeed engine.
    """
    _join_process_group()
    size, accumulation = batch_shape(job.batch_rows, ranks, rows.tokens.shape[1], micro_batch_tokens)
    arguments = _arguments(job, size, accumulation, zero_stage, dtype)
    trainer = _make_trainer(job, rows, arguments, report if rank == 0 else None)
    resume = resumable_state(job.state)
    if resume and rank == 0:
        # what a killed driver had not yet written down
        for logs in json.loads((resume / TRAINER_STATE).read_text())["log_history"]:
            if "loss" in logs:
                report(logs["step"], figures(logs))
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    before = int(resume.name.rsplit("-", 1)[1]) if resume else 0
    engine = type(trainer.model_wrapped).__name__
    trainer.save_model(str(job.output))
    if rank == 0:
        copy_tokenizer(job.checkpoint, job.output)
        (job.output / "training_args.bin").unlink(missing_ok=True)
    trainer.model_wrapped.destroy()
    return {"updates_run": float(job.updates - before), "deepspeed": float(engine == "DeepSpeedEngine")}


def figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Of a trainer's log line, what the records keep."""
    return {name: float(logs[name]) for name in ("loss", "grad_norm", "learning_rate", "entropy") if name in logs}
