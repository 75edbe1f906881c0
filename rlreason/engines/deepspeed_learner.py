"""The learner that ships: one DeepSpeed rank, in the process that constructs it (a Ray actor a rank).

ZeRO 0 to 3, over gloo on a CPU and nccl on GPUs. RL updates run here; supervised and preference stages are handed to
TRL (`trl_sft`, `trl_dpo`), in this same process and process group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlreason.engines.adapters import merged_tensors, save_merged
from rlreason.engines.average import WeightAverage, averaged
from rlreason.engines.deepspeed_state import StateKeeper, load_module, load_optimizer
from rlreason.engines.learner_state import LearnerState, load_average, load_random
from rlreason.engines.objective import UpdateTally, check_gradient, may_step, micro_batch_losses, policy_figures
from rlreason.engines.policy import PolicyModule, load_policy, plan_passes, plan_update, scheduled_rate
from rlreason.engines.protocols import (
    PolicyBatch,
    PolicyFigures,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    Report,
    SupervisedJob,
    SupervisedRows,
)
from rlreason.engines.trl_stage import Place, zero_config
from rlreason.engines.weights import PackedWeights, TensorForm, by_layer, form_of, pack_stream, pack_weights

COLLECTIVE_LIMIT = timedelta(hours=1)
"""Longest that ranks wait for each other: they do while one waits for a slow disk to take the state before. It is no
watch on them: Ray and pulses find a rank that died or hangs, and one that raises ends the wait of the others
(`orchestration.fleet`).
"""


class DeepSpeedLearner:
    """One rank of a DeepSpeed group. Every method is called on all ranks, with the same arguments."""

    def __init__(
        self,
        *,
        rank: int,
        ranks: int,
        master_address: str,
        master_port: int,
        accelerator: str,
        dtype: str,
        zero_stage: int,
        micro_batch_tokens: int,
        offload: str = "none",
    ) -> None:
        """Join the process group.

        Args:
            rank, ranks: this rank, and how many there are.
            master_address, master_port: rank 0's rendezvous.
            accelerator: "cpu" (gloo) or "cuda" (nccl).
            dtype: "float32" or "bfloat16".
            zero_stage: 0 to 3.
            micro_batch_tokens: padded tokens this rank holds activations for at a time.
            offload: "none", or what stays in host memory: "optimizer" (ZeRO 1 to 3) or "all" (ZeRO 3).
        """
        os.environ.update(
            RANK=str(rank),
            WORLD_SIZE=str(ranks),
            LOCAL_RANK="0",  # Ray shows an actor its own devices only
            LOCAL_WORLD_SIZE="1",
            MASTER_ADDR=master_address,
            MASTER_PORT=str(master_port),
            DS_ACCELERATOR=accelerator,
            ACCELERATE_USE_CPU="false",
        )
        import deepspeed

        self._deepspeed = deepspeed
        # Compiling DeepSpeed's shared-memory all-reduce takes half a minute and a C++ compiler, and only its inference
        # engine uses it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        backend = "gloo" if accelerator == "cpu" else "nccl"
        deepspeed.init_distributed(backend, verbose=False, timeout=COLLECTIVE_LIMIT)
        self._rank, self._ranks = rank, ranks
        self._device = torch.device("cpu" if accelerator == "cpu" else "cuda:0")
        self._dtype = getattr(torch, dtype)
        self._zero_stage, self._offload = zero_stage, offload
        self._micro_batch_tokens = micro_batch_tokens
        self._engine: Any = None
        self._reference: PolicyModule | None = None
        self._average: WeightAverage | None = None
        self._states = StateKeeper(rank, self._device)

    def _config(self, settings: PolicySettings) -> dict[str, Any]:
        return {
            # Micro-batches are ours: the engine is told at each backward pass whether it is the update's last, and the
            # losses carry their final weights, so that nothing is divided by a number of micro-batches.
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.optimizer.max_grad_norm,
            "zero_optimization": zero_config(self._zero_stage, self._offload),
            "bf16": {"enabled": self._dtype == torch.bfloat16},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        from rlreason.engines.torch_learner import make_adamw

        torch.manual_seed(settings.seed)
        self._settings, self._checkpoint = settings, checkpoint
        module, self._reference = load_policy(checkpoint, settings, self._dtype, self._device)
        saved = None if state is None else LearnerState(state)
        if saved is not None:
            load_module(module, saved)
        self._average = averaged(module, settings.optimizer)
        self._engine, *_ = self._deepspeed.initialize(
            model=module,
            optimizer=make_adamw(module.parameters(), settings.optimizer),
            config=self._config(settings),
            dist_init_required=False,
        )
        if saved is not None:
            load_optimizer(self._engine, saved)
            load_average(self._average, saved)
            load_random(saved, self._device, self._rank)

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`. The batch is the whole update's; this rank takes its share of it."""
        self._states.check()
        plan = plan_update(self._engine.module, batch, self._settings, self._ranks, self._micro_batch_tokens)[
            self._rank
        ]
        tally = UpdateTally()
        losses = micro_batch_losses(
            self._engine,
            batch,
            plan.batches,
            self._settings,
            self._device,
            tally,
            reference=self._reference,
            shared=plan.shared,
            left_out=plan.left_out,
        )
        for index, loss in enumerate(losses):
            self._engine.set_gradient_accumulation_boundary(index + 1 == len(plan.batches))
            # DeepSpeed averages gradients over ranks; the update's loss is their sum
            self._engine.backward(loss * self._ranks)
        metrics = self._over_ranks(tally).metrics(self._settings)
        wanted = self._settings.optimizer
        metrics["learning_rate"] = scheduled_rate(wanted, update, self._settings.updates)
        metrics["forward_passes"] = float(len(plan.batches))
        step = False
        try:
            step = may_step(metrics, self._settings, self._dtype, update, on_policy)
        finally:
            if not step:
                self._engine.zero_grad()
        if step:
            for group in self._engine.optimizer.param_groups:
                group["lr"] = metrics["learning_rate"]
            metrics["grad_norm"] = check_gradient(self._step(), update)
        return metrics

    def _step(self) -> float:
        """Clip and step; returns the gradient norm before clipping, which DeepSpeed tells for ZeRO 1 to 3 only."""
        # at ZeRO 0 every rank holds the whole gradient, and stepping clears it
        gradients = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if self._zero_stage == 0 else torch.zeros(())
        self._engine.step()
        if self._average is not None:
            self._average.update()
        return float(self._engine.get_global_grad_norm() or norm)

    def _over_ranks(self, tally: UpdateTally) -> UpdateTally:
        sums = self._reduced(list(tally.sums.values()), torch.distributed.ReduceOp.SUM)
        (largest,) = self._reduced([tally.largest_ratio], torch.distributed.ReduceOp.MAX)
        return UpdateTally(dict(zip(tally.sums, sums, strict=True)), largest)

    def _reduced(self, values: Any, operation: Any) -> list[float]:
        vector = torch.as_tensor(values, dtype=torch.float64, device=self._device)
        if self._ranks > 1:
            torch.distributed.all_reduce(vector, operation)
        found: list[float] = vector.tolist()
        return found

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """See `protocols.Learner.figures`; every rank returns all of it."""
        plan = plan_passes(self._engine.module, batch, self._ranks, self._micro_batch_tokens)[self._rank]
        own = policy_figures(self._engine, batch, plan.batches, self._settings, self._device, shared=plan.shared)
        total = torch.distributed.ReduceOp.SUM
        return PolicyFigures(
            *(np.array(self._reduced(array, total), dtype=np.float32) for array in (own.logprobs, own.values))
        )

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """Within it every rank can read the whole model (ZeRO 3 holds slices otherwise)."""
        parameters = list(self._engine.module.parameters())
        gather: AbstractContextManager[Any] = (
            self._deepspeed.zero.GatheredParameters(parameters, modifier_rank=None)
            if self._zero_stage == 3
            else nullcontext()
        )
        with gather:
            yield

    def forms(self) -> list[TensorForm]:
        """What `stream` yields, in its order; nothing is gathered."""
        held = self._engine.module.model.state_dict(keep_vars=True)
        if self._zero_stage == 3:
            return [form_of(name, tensor, getattr(tensor, "ds_shape", tensor.shape)) for name, tensor in held.items()]
        return [form_of(name, tensor, tensor.shape) for name, tensor in merged_tensors(self._engine.module.model)]

    def stream(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The whole weights one after another, to be read to the end on every rank.

        Under ZeRO 3 they are gathered a layer at a time, so that beside a rank's slices there is no more than a layer
        (or an embedding) and what the reader holds on to.
        """
        if self._zero_stage < 3:
            yield from merged_tensors(self._engine.module.model)
            return
        held = self._engine.module.model.state_dict(keep_vars=True)
        for names in by_layer(held):
            with self._deepspeed.zero.GatheredParameters([held[name] for name in names], modifier_rank=None):
                yield from ((name, held[name].detach()) for name in names)

    def weights(self) -> PackedWeights | None:
        """See `protocols.Learner.weights`; rank 0's are the ones to use, other ranks return None."""
        if self._zero_stage < 3:
            return pack_weights(self.stream()) if self._rank == 0 else None
        if self._rank == 0:
            return pack_stream(self.forms(), self.stream())
        for _ in self.stream():  # rank 0 gathers from all
            pass
        return None

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`; rank 0 writes."""
        with self._gathered(), self._average.applied() if self._average else nullcontext():
            if self._rank == 0:
                save_merged(self._engine.module.model, self._checkpoint, output)
        torch.distributed.barrier()

    def save_state(self, folder: Path, about: Mapping[str, Any], keep: int = 1) -> None:
        """See `protocols.Learner.save_state`; rank 0 writes."""
        self._states.save(self._engine, self._average, folder, {**about, **self._place.about()}, keep)

    def end(self) -> None:
        """See `protocols.Learner.end`."""
        self._states.close()
        self._reference = self._average = None
        if self._engine is not None:
            self._engine.destroy()
            self._engine = None

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`: TRL's SFTTrainer under DeepSpeed."""
        from rlreason.engines.trl_sft import train

        return train(job, rows, report, self._place)

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`: TRL's DPOTrainer under DeepSpeed."""
        from rlreason.engines.trl_dpo import train

        return train(job, pairs, report, self._place)

    @property
    def _place(self) -> Place:
        return Place(self._rank, self._ranks, self._dtype, self._zero_stage, self._micro_batch_tokens, self._offload)

    def close(self) -> None:
        """Leave the process group."""
        self.end()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
