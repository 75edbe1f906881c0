"""Preference stages through TRL's DPOTrainer, under a real DeepSpeed engine, also on a CPU.

Pairs arrive as tokens (`PreferencePairs`) and stay what they are: the trainer neither tokenises nor shuffles. The
reference is the checkpoint that the stage starts from; its log-probabilities are computed once, before the first
update.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from rlreason.engines.models import load_for
from rlreason.engines.protocols import PreferenceJob, PreferencePairs, Report
from rlreason.engines.trl_stage import Place, batch_shape, common_arguments, house_schedule, run

PAIRS = "pairs.arrow"


def _dataset(pairs: PreferencePairs, folder: Path, place: Place) -> Any:
    """The pairs as TRL names them, read from a file that all ranks share: beside it rank 0 leaves the reference's
    log-probabilities, and the others read them there."""
    from datasets import Dataset

    if place.rank == 0:
        sequences = pairs.split()
        columns = {
            "prompt_ids": [prompt for prompt, _ in sequences[::2]],
            "chosen_ids": [completion for _, completion in sequences[::2]],
            "rejected_ids": [completion for _, completion in sequences[1::2]],
        }
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({name: pa.array(values, pa.list_(pa.int32())) for name, values in columns.items()})
        with pa.OSFile(str(folder / PAIRS), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    torch.distributed.barrier()
    return Dataset.from_file(str(folder / PAIRS))


def _make_trainer(job: PreferenceJob, pairs: PreferencePairs, place: Place, done: int) -> Any:
    """A trainer that follows the house's schedule and takes the pairs in their order, from after `done` updates on."""
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    class PairTrainer(house_schedule(job, done), DPOTrainer):  # type: ignore[misc]
        """Trains on pairs that are tokens already."""

        def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

    longest = int((pairs.prompt_lengths + pairs.lengths).max())
    held, accumulation = batch_shape("batch_pairs", job.batch_pairs, 2 * longest, place)
    arguments = DPOConfig(
        **common_arguments(job, held, accumulation, place, done),
        loss_type=["sigmoid"],
        beta=job.beta,
        precompute_ref_log_probs=True,
    )
    trainer = PairTrainer(
        model=load_for("next_token", job.checkpoint, place.dtype),
        args=arguments,
        train_dataset=_dataset(pairs, job.state, place),
        processing_class=AutoTokenizer.from_pretrained(job.checkpoint),
    )
    trainer.train_dataset = trainer.train_dataset.select(pairs.order[done * job.batch_pairs :])
    return trainer


def train(job: PreferenceJob, pairs: PreferencePairs, report: Report, place: Place) -> dict[str, float]:
    """Train to the end of the stage; called on every rank. See `trl_stage.run`."""
    return run(lambda done: _make_trainer(job, pairs, place, done), job, report, place)
