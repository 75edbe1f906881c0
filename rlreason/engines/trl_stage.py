"""What the stages that TRL trains have in common: a trainer under a real DeepSpeed engine, also on a CPU.

The house's learning-rate schedule, batches that stay as they are given, states to resume from, reports, and the closing
of a stage. Which trainer it is and what it is fed is the business of `trl_sft` and `trl_dpo`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlreason.algorithms.schedules import learning_rate_at
from rlreason.engines.adapters import save_merged
from rlreason.engines.average import WeightAverage, averaged
from rlreason.engines.checkpoints import copy_tokenizer, newest_state, partial_of, state_name, update_of, writing
from rlreason.engines.deepspeed_state import StateKeeper, load_module, load_optimizer
from rlreason.engines.learner_state import LearnerState, load_average, load_random, versions
from rlreason.engines.protocols import Job, Report

REPORTED = "reported.json"
"""In a saved state: (update, metrics) of all that was reported."""
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
        offload: what stays in host memory: "none", "optimizer" or "all".
    """

    rank: int
    ranks: int
    dtype: torch.dtype
    zero_stage: int
    micro_batch_tokens: int
    offload: str = "none"

    def about(self) -> dict[str, Any]:
        """What a state's manifest says of where it was saved."""
        return {"learner": "deepspeed", "ranks": self.ranks, "zero_stage": self.zero_stage, **versions()}


def zero_config(stage: int, offload: str) -> dict[str, Any]:
    """DeepSpeed's `zero_optimization`: the stage, and what stays in host memory (see `resources.offload`)."""
    host = {"device": "cpu", "pin_memory": True}
    return {
        "stage": stage,
        **({"offload_optimizer": host} if offload != "none" else {}),
        **({"offload_param": host} if offload == "all" else {}),
    }


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
        "zero_optimization": {
            **zero_config(place.zero_stage, place.offload),
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": place.dtype == torch.bfloat16},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def common_arguments(job: Job, held: int, accumulation: int, place: Place, done: int) -> dict[str, Any]:
    """What every trainer is told that goes on after `done` updates. `held` examples are held at a time, `accumulation`
    times an update, on each rank."""
    return {
        "output_dir": str(job.state),
        "deepspeed": _deepspeed_config(place),
        "accelerator_config": {"use_configured_state": True},
        "per_device_train_batch_size": held,
        "gradient_accumulation_steps": accumulation,
        "max_steps": job.updates - done,
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
        "save_strategy": "no",  # states are saved by `_resume_and_save`, in the house's form
        "logging_steps": 1,
        "logging_strategy": "steps",
        "disable_tqdm": True,
        "report_to": "none",
        "seed": job.seed % 2**32,
    }


def house_schedule(job: Job, done: int) -> type:
    """A class to put before a trainer's, which then follows the house's schedule from after `done` updates."""
    from torch.optim.lr_scheduler import LambdaLR

    optimizer = job.optimizer

    def share_of_peak(steps_done: int) -> float:
        return learning_rate_at(done + steps_done + 1, job.updates, 1.0, optimizer.warmup_updates, optimizer.schedule)

    class HouseSchedule:
        """transformers' own schedules begin their warm-up with a step of rate zero."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share_of_peak)  # type: ignore[attr-defined]
            return self.lr_scheduler

    return HouseSchedule


def run(
    make_trainer: Callable[[int], Any], job: Job, report: Report, place: Place, *, adapted: bool = False
) -> dict[str, float]:
    """Train to the end of the stage and write the Hugging Face directory `job.output`; called on every rank.

    Args:
        make_trainer: makes the trainer of what the stage has left after so many updates, once this process is known as
            a rank.
        adapted: the trainer's model has adapters, which are merged in what is written.
    Returns:
        updates_run: optimizer updates made now (fewer than the stage's where it was resumed).
        deepspeed: 1 where the model ran under a real DeepSpeed engine.
    """
    from transformers.trainer_callback import PrinterCallback

    join_process_group()
    resume = newest_state(job.state)
    done = update_of(resume) if resume else 0
    trainer = make_trainer(done)
    trainer.remove_callback(PrinterCallback)
    average = averaged(trainer.model, job.optimizer)
    states = StateKeeper(place.rank, trainer.args.device)
    try:
        _resume_and_save(trainer, average, states, job, report, place, resume)
        trainer.train()
    finally:
        states.close()
    engine = type(trainer.model_wrapped).__name__
    if adapted or average is not None:
        if place.rank == 0:
            with average.applied() if average is not None else nullcontext():
                save_merged(trainer.model, job.checkpoint, job.output)
        torch.distributed.barrier()
    else:
        with writing(job.output):
            trainer.save_model(str(job.output))
            if place.rank == 0:
                copy_tokenizer(job.checkpoint, job.output)
                (job.output / "training_args.bin").unlink(missing_ok=True)
    trainer.model_wrapped.destroy()
    return {"updates_run": float(job.updates - done), "deepspeed": float(engine == "DeepSpeedEngine")}


def _resume_and_save(
    trainer: Any,
    average: WeightAverage | None,
    states: StateKeeper,
    job: Job,
    report: Report,
    place: Place,
    resume: Path | None,
) -> None:
    """Have the trainer go on from the state `resume`, save states of its own, and hand on what it logs.

    Of a resumed stage all that was reported before is reported again: a killed driver may not have written it down.
    """
    from transformers.trainer_callback import TrainerCallback

    saved = LearnerState(resume) if resume else None
    done = update_of(resume) if resume else 0
    told: list[tuple[int, dict[str, float]]] = []
    if saved is not None and resume is not None:
        load_module(trainer.model, saved)
        load_average(average, saved)
        if (resume / REPORTED).exists():  # the in-process learner's reports are written down before it saves
            told += [(update, logged) for update, logged in json.loads((resume / REPORTED).read_text())]
        for update, logged in told if place.rank == 0 else ():
            report(update, logged)

    class Resumable(TrainerCallback):
        """Restores before the first update; after each, tells, follows the weights, and saves where it is time."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if saved is not None:
                load_optimizer(trainer.model_wrapped, saved)
            self._since = time.monotonic()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if saved is not None and state.global_step == 0:
                load_random(saved, args.device, place.rank)  # not earlier: a data loader draws a seed when it starts

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if average is not None:
                average.update()
            states.check()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not logs or "loss" not in logs:
                return
            update = done + state.global_step
            # timed here, since who is told may look for it twice a second only
            seconds, self._since = time.monotonic() - self._since, time.monotonic()
            told.append((update, {**figures(logs), "seconds": seconds}))
            if place.rank == 0:
                report(*told[-1])
            if update % job.checkpoint_every == 0 and update < job.updates:
                self._save(update)

        def _save(self, update: int) -> None:
            folder = job.state / state_name(update)
            if place.rank == 0:
                partial = partial_of(folder)
                with writing(partial):
                    (partial / REPORTED).write_text(json.dumps(told))
            about = {**job.about, "update": update, **place.about()}
            states.save(trainer.model_wrapped, average, folder, about, job.keep_last)

    trainer.add_callback(Resumable())


def figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Of a trainer's log line, what the records keep."""
    return {name: float(logs[logged]) for logged, name in RECORDED.items() if logged in logs}
