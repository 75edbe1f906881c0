"""The learner that ships: one DeepSpeed rank, in the process that constructs it (a Ray actor a rank).

ZeRO 0 to 3, over gloo on a CPU and nccl on GPUs. RL updates run here; supervised stages are handed to TRL
(`trl_sft`), in this same process and process group. This module and `trl_sft` alone import deepspeed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from rlreason.algorithms.packing import balanced_micro_batches
from rlreason.engines.checkpoints import copy_tokenizer
from rlreason.engines.policy import PolicyModule, UpdateTally, check_mismatch, micro_batch_losses, scheduled_rate
from rlreason.engines.protocols import PolicyBatch, PolicySettings, Report, SupervisedJob, SupervisedRows
from rlreason.engines.weights import PackedWeights, pack_weights
from rlreason.errors import CheckpointError

STATE_TAG = "learner"


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
    ) -> None:
        """Join the process group.

        Args:
            rank, ranks: this rank, and how many there are.
            master_address, master_port: rank 0's rendezvous.
            accelerator: "cpu" (gloo) or "cuda" (nccl).
            dtype: "float32" or "bfloat16".
            zero_stage: 0 to 3.
            micro_batch_tokens: padded tokens this rank holds activations for at a time.
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
        deepspeed.init_distributed("gloo" if accelerator == "cpu" else "nccl", verbose=False)
        self._rank, self._ranks = rank, ranks
        self._device = torch.device("cpu" if accelerator == "cpu" else "cuda:0")
        self._dtype = getattr(torch, dtype)
        self._zero_stage = zero_stage
        self._micro_batch_tokens = micro_batch_tokens
        self._engine: Any = None

    def _config(self, settings: PolicySettings) -> dict[str, Any]:
        return {
            # Micro-batches are ours: the engine is told at each backward pass whether it is the update's last, and the
            # losses carry their final weights, so that nothing is divided by a number of micro-batches.
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.optimizer.max_grad_norm,
            "zero_optimization": {"stage": self._zero_stage},
            "bf16": {"enabled": self._dtype == torch.bfloat16},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        from transformers import AutoModelForCausalLM

        from rlreason.engines.torch_learner import make_adamw

        torch.manual_seed(settings.seed)
        self._settings, self._checkpoint = settings, checkpoint
        module = PolicyModule(AutoModelForCausalLM.from_pretrained(checkpoint, dtype=self._dtype))
        module.train()
        self._engine, *_ = self._deepspeed.initialize(
            model=module,
            optimizer=make_adamw(module.parameters(), settings.optimizer),
            config=self._config(settings),
            dist_init_required=False,
        )
        if state is not None:
            loaded, _ = self._engine.load_checkpoint(str(state), tag=STATE_TAG)
            if loaded is None:
                raise CheckpointError(
                    f"{state} holds no DeepSpeed state for ZeRO {self._zero_stage} on {self._ranks} rank(s); resume "
                    "with the number of learners and the ZeRO stage that saved it, or delete the stage's folder"
                )

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`. The batch is the whole update's; this rank takes its share of it."""
        lengths = batch.prompt_lengths + batch.lengths
        plan = balanced_micro_batches(lengths, self._ranks, self._micro_batch_tokens)[self._rank]
        tally = UpdateTally()
        losses = micro_batch_losses(self._engine, batch, plan, self._settings, self._device, tally)
        for index, loss in enumerate(losses):
            self._engine.set_gradient_accumulation_boundary(index + 1 == len(plan))
            # DeepSpeed averages gradients over ranks; the update's loss is their sum
            self._engine.backward(loss * self._ranks)
        metrics = self._summed(tally).metrics()
        if on_policy:
            try:
                check_mismatch(metrics, self._settings, self._dtype, update)
            except Exception:
                self._engine.zero_grad()
                raise
        wanted = self._settings.optimizer
        rate = scheduled_rate(wanted, update, self._settings.updates)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        metrics["grad_norm"] = self._step()
        metrics["learning_rate"] = rate
        metrics["forward_passes"] = float(len(plan))
        return metrics

    def _step(self) -> float:
        """Clip and step; returns the gradient norm before clipping, which DeepSpeed tells for ZeRO 1 to 3 only."""
        # at ZeRO 0 every rank holds the whole gradient, and stepping clears it
        gradients = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if self._zero_stage == 0 else torch.zeros(())
        self._engine.step()
        return float(self._engine.get_global_grad_norm() or norm)

    def _summed(self, tally: UpdateTally) -> UpdateTally:
        if self._ranks == 1:
            return tally
        vector = torch.tensor(tally.vector(), dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(vector)
        return UpdateTally(*vector.tolist())

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

    def weights(self) -> PackedWeights | None:
        """See `protocols.Learner.weights`; rank 0's are the ones to use, other ranks return None."""
        with self._gathered():
            return pack_weights(self._engine.module.model.named_parameters()) if self._rank == 0 else None

    def save_model(self, output: Path) -> None:
        """See `protocols.Learner.save_model`; rank 0 writes."""
        with self._gathered():
            if self._rank == 0:
                model = self._engine.module.model
                tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
                if model.config.tie_word_embeddings:
                    tensors.pop("lm_head.weight", None)
                model.save_pretrained(output, state_dict=tensors, safe_serialization=True)
                copy_tokenizer(self._checkpoint, output)
        torch.distributed.barrier()

    def save_state(self, folder: Path) -> None:
        """See `protocols.Learner.save_state`; every rank writes its part."""
        self._engine.save_checkpoint(str(folder), tag=STATE_TAG)

    def end(self) -> None:
        """See `protocols.Learner.end`."""
        if self._engine is not None:
            self._engine.destroy()
            self._engine = None

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`: TRL's SFTTrainer under DeepSpeed."""
        from rlreason.engines.trl_sft import train

        return train(
            job,
            rows,
            report,
            ranks=self._ranks,
            rank=self._rank,
            dtype=self._dtype,
            zero_stage=self._zero_stage,
            micro_batch_tokens=self._micro_batch_tokens,
        )

    def close(self) -> None:
        """Leave the process group."""
        self.end()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
