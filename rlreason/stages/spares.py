"""Batches of rollouts on disk: what a pipeline has sampled and no update has taken, as a part of a saved state.

Plain values are JSON, token arrays safetensors, so that nothing that is read back can run code. Every value comes back
as it was, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from safetensors.numpy import load_file, save_file

from rlreason.algorithms.budget import Spending
from rlreason.errors import CheckpointError
from rlreason.stages.draws import Drawn, rewards_of
from rlreason.stages.sources import Batch
from rlreason.types import Completion, Group, Problem, Rollout, Score

VALUES, ARRAYS = "spare.json", "spare.safetensors"
TOKEN_ARRAYS = ("prompt_tokens", "tokens", "generator_logprobs", "loss_mask", "policy_versions")
PLAIN = ("text", "finish_reason", "policy_version", "seed", "turns", "failure")

_problem, _score = TypeAdapter(Problem), TypeAdapter(Score)


def write_spares(folder: Path, batches: Mapping[int, Batch]) -> None:
    """Write batches by the update that is to learn from them; no file where there are none."""
    if not batches:
        return
    arrays: dict[str, np.ndarray] = {}
    for update, batch in batches.items():
        completions = [rollout.completion for group in batch.drawn.groups for rollout in group.rollouts]
        for name in TOKEN_ARRAYS:
            found = [getattr(completion, name) for completion in completions]
            there = [own for own in found if own is not None]
            arrays[f"{update}.{name}.lengths"] = np.array([-1 if own is None else len(own) for own in found])
            arrays[f"{update}.{name}"] = np.concatenate(there) if there else np.zeros(0, dtype=np.int32)
    values = {str(update): _batch_values(batch) for update, batch in batches.items()}
    save_file(arrays, folder / ARRAYS)
    (folder / VALUES).write_text(json.dumps(values))


def read_spares(folder: Path) -> dict[int, Batch]:
    """What `write_spares` wrote there, if it did.

    Raises:
        CheckpointError: one of the files is missing or damaged.
    """
    if not (folder / VALUES).exists() and not (folder / ARRAYS).exists():
        return {}
    try:
        arrays = load_file(folder / ARRAYS)
        values = json.loads((folder / VALUES).read_text())
        return {int(update): _batch(own, _split(arrays, update)) for update, own in values.items()}
    except Exception as error:  # safetensors has errors of its own, and each of these says what is wrong with the file
        raise CheckpointError(
            f"the spare rollouts in {folder} cannot be read ({type(error).__name__}: {error}); restore {VALUES} and "
            f"{ARRAYS} there, or delete {folder.parent} to begin the stage again"
        ) from error


def _batch_values(batch: Batch) -> dict[str, Any]:
    drawn = batch.drawn
    return {
        "spent": asdict(batch.spent),
        "spans": list(batch.spans),
        "figures": dict(batch.figures),
        "trained": drawn.trained.tolist(),
        "probabilities": dict(drawn.probabilities),
        "generate_s": drawn.generate_s,
        "groups": [
            {
                "problem": asdict(group.problem),
                "rollouts": [
                    {
                        "sample": rollout.sample,
                        "score": asdict(rollout.score),
                        "completion": {name: getattr(rollout.completion, name) for name in PLAIN},
                    }
                    for rollout in group.rollouts
                ],
            }
            for group in drawn.groups
        ],
    }


def _split(arrays: Mapping[str, np.ndarray], update: str) -> Iterator[dict[str, Any]]:
    """The token arrays of each completion of a batch, in order."""
    columns = {}
    for name in TOKEN_ARRAYS:
        lengths = arrays[f"{update}.{name}.lengths"]
        pieces = np.split(arrays[f"{update}.{name}"], np.cumsum(np.maximum(lengths, 0))[:-1])
        columns[name] = [None if length < 0 else piece for length, piece in zip(lengths, pieces, strict=True)]
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _batch(values: Mapping[str, Any], arrays: Iterator[dict[str, Any]]) -> Batch:
    groups = [_group(group, arrays) for group in values["groups"]]
    rewards, scored = rewards_of(groups)
    drawn = Drawn(groups, rewards, scored, np.array(values["trained"]), values["probabilities"], values["generate_s"])
    spans = [(phase, start, end) for phase, start, end in values["spans"]]
    return Batch(drawn, Spending(**values["spent"]), spans, values["figures"])


def _group(values: Mapping[str, Any], arrays: Iterator[dict[str, Any]]) -> Group:
    problem = _problem.validate_python(values["problem"])
    rollouts = []
    for own in values["rollouts"]:
        plain = {**own["completion"], "turns": tuple(own["completion"]["turns"])}
        completion = Completion(**plain, **next(arrays))
        rollouts.append(Rollout(problem, own["sample"], completion, _score.validate_python(own["score"])))
    return Group(problem, tuple(rollouts))
