"""What the stages that TRL trains have in common: a trainer under a real DeepSpeed engine, also on a CPU.

The house's learning-rate schedule, batches that stay as they are given, states to resume from, reports, and the closing
of a stage. Which trainer it is and what it is fed is the business of `trl_sft` and `trl_dpo`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.adapters import save_merged
from rlreason.engines.average import WeightAverage, averaged
from rlreason.engines.checkpoints import copy_tokenizer
from rlreason.engines.protocols import Job, Report

TRAINER_STATE = "trainer_state.json"
RECORDED = {
    **{name: name for name in ("loss", "grad_norm", "learning_rate", "entropy")},
    **{"rewards/margins": "preference_margin", "rewards/accuracies": "preference_accuracy"},
}
"""Of a trainer's log line, what the records keep, and under which name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage is trained.

    Attributes:
        rank, ranks: this rank of the process group, and how many there are.
        micro_batch_tokens: padded tokens a rank holds activations for at a time.
    """

    rank: int
    ranks: int
    dtype: torch.dtype
    zero_stage: int
    micro_batch_tokens: int


def preload() -> None:
    """Import what the stages need, so that the first one does not pay for it."""
    import datasets  # noqa: F401
    import trl

    _ = trl.SFTTrainer, trl.DPOTrainer


def batch_shape(what: str, count: int, width: int, place: Place) -> tuple[int, int]:
    """(examples a rank holds at a time, accumulation steps) that make up exactly `count` examples an update.

    Args:
        what: the recipe's name of `count`.
        width: tokens of an example.
    Raises:
        ValueError: `count` is not a multiple of the ranks.
    """
    if count % place.ranks:
        raise ValueError(
            f"{what} {count} cannot be shared by {place.ranks} learners; make it a multiple of {place.ranks}"
        )
    share = count // place.ranks
    largest = max(1, place.micro_batch_tokens // width)
    held = max(size for size in range(1, min(share, largest) + 1) if share % size == 0)
    return held, share // held


def join_process_group() -> None:
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


def _deepspeed_config(place: Place) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        # at stage 3 each rank holds slices: without the gathering, the saved model would be empty
        "zero_optimization": {"stage": place.zero_stage, "stage3_gather_16bit_weights_on_model_save": True},
        "bf16": {"enabled": place.dtype == torch.bfloat16},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def common_arguments(job: Job, held: int, accumulation: int, place: Place) -> dict[str, Any]:
    """What every trainer is told. `held` examples are held at a time, `accumulation` times an update, on each rank."""
    return {
        "output_dir": str(job.state),
        "deepspeed": _deepspeed_config(place),
        "accelerator_config": {"use_configured_state": True},
        "per_device_train_batch_size": held,
        "gradient_accumulation_steps": accumulation,
        "max_steps": job.updates,
        "learning_rate": job.optimizer.learning_rate,
        "adam_beta1": job.optimizer.betas[0],
        "adam_beta2": job.optimizer.betas[1],
        "weight_decay": job.optimizer.weight_decay,
        "max_grad_norm": job.optimizer.max_grad_norm,
        "bf16": place.dtype == torch.bfloat16,
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "max_length": None,
        "dataloader_num_workers": 0,
        "save_strategy": "steps",
        "save_steps": job.checkpoint_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_strategy": "steps",
        "disable_tqdm": True,
        "report_to": "none",
        "seed": job.seed % 2**32,
    }


def house_schedule(job: Job) -> type:
    """A class to put before a trainer's, which then follows the house's schedule."""
    from torch.optim.lr_scheduler import LambdaLR

    optimizer = job.optimizer

    def share_of_peak(steps_done: int) -> float:
        return learning_rate_at(steps_done + 1, job.updates, 1.0, optimizer.warmup_updates, optimizer.schedule)

    class HouseSchedule:
        """transformers' own schedules begin their warm-up with a step of rate zero."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share_of_peak)  # type: ignore[attr-defined]
            return self.lr_scheduler

    return HouseSchedule


def run(
    make_trainer: Callable[[], Any], job: Job, report: Report, place: Place, *, adapted: bool = False
) -> dict[str, float]:
    """Train to the end of the stage and write the Hugging Face directory `job.output`; called on every rank.

    Args:
        make_trainer: makes the stage's trainer, once this process is known as a rank.
        adapted: the trainer's model has adapters, which are merged in what is written.
    Returns:
        updates_run: optimizer updates made now (fewer than the stage's where it was resumed).
        deepspeed: 1 where the model ran under a real DeepSpeed engine.
    """
    from transformers.trainer_callback import PrinterCallback

    join_process_group()
    trainer = make_trainer()
    trainer.remove_callback(PrinterCallback)
    resume = resumable_state(job.state)
    if place.rank == 0:
        _report_to(trainer, report, resume)
    average = averaged(trainer.model, job.optimizer)
    if average is not None:
        _keep_average(trainer, average, job, resume, place)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    before = int(resume.name.rsplit("-", 1)[1]) if resume else 0
    engine = type(trainer.model_wrapped).__name__
    if adapted or average is not None:
        if place.rank == 0:
            with average.applied() if average is not None else nullcontext():
                save_merged(trainer.model, job.checkpoint, job.output)
        torch.distributed.barrier()
    else:
        trainer.save_model(str(job.output))
        if place.rank == 0:
            copy_tokenizer(job.checkpoint, job.output)
            (job.output / "training_args.bin").unlink(missing_ok=True)
    trainer.model_wrapped.destroy()
    return {"updates_run": float(job.updates - before), "deepspeed": float(engine == "DeepSpeedEngine")}


def _report_to(trainer: Any, report: Report, resume: Path | None) -> None:
    """Hand the trainer's log lines on, those first that a killed driver may not have written down."""
    from transformers.trainer_callback import TrainerCallback

    class Reporter(TrainerCallback):
        """Hands the trainer's log lines on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                report(state.global_step, figures(logs))

    trainer.add_callback(Reporter())
    if resume:
        for logs in json.loads((resume / TRAINER_STATE).read_text())["log_history"]:
            if "loss" in logs:
                report(logs["step"], figures(logs))


def _keep_average(trainer: Any, average: WeightAverage, job: Job, resume: Path | None, place: Place) -> None:
    """Have the average take in every update, and go on from where a resumed stage's stood."""
    from transformers.trainer_callback import TrainerCallback

    def saved(update: int) -> Path:
        return job.state / f"average-{update}.pt"

    class Averager(TrainerCallback):
        """Follows the trainer's weights. What a checkpoint needs is written before it, so that none is without."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            average.update()
            if place.rank == 0 and state.global_step % job.checkpoint_every == 0:
                job.state.mkdir(parents=True, exist_ok=True)
                torch.save(average.state_dict(), saved(state.global_step))

    trainer.add_callback(Averager())
    if resume:
        average.load_state_dict(torch.load(saved(int(resume.name.rsplit("-", 1)[1])), weights_only=True))


def resumable_state(state: Path) -> Path | None:
    """The newest checkpoint-N folder that was saved whole (the trainer's own state is written last)."""
    found = [path for path in state.glob("checkpoint-*") if (path / TRAINER_STATE).exists()]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Of a trainer's log line, what the records keep."""
    return {name: float(logs[logged]) for logged, name in RECORDED.items() if logged in logs}
