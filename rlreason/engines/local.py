"""Engines in this process: torch alone, no Ray, no vLLM, no DeepSpeed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlreason.engines.protocols import Engines
from rlreason.recipe.schema import Resources


@dataclass(frozen=True, slots=True)
class LocalEngines:
    """Engines that are made at once; `wait` is there so that they start like those on Ray."""

    engines: Engines

    def wait(self) -> Engines:
        """The engines."""
        return self.engines


def start_local(
    resources: Resources,
    checkpoint: Path,
    dtype: str | None,
    max_tokens: int,
    logs: Path,
    *,
    with_scorer: bool = False,
) -> LocalEngines:
    """A torch generator, a torch learner, and perhaps a step scorer.

    `max_tokens` and `logs` have no use here: memory is taken as needed.
    """
    import torch

    from rlreason.engines.torch_generator import TorchGenerator
    from rlreason.engines.torch_learner import TorchLearner
    from rlreason.engines.torch_scorer import TorchStepScorer

    if resources.threads is not None:
        torch.set_num_threads(resources.threads)
    on_gpu = resources.accelerator == "cuda" or (resources.accelerator == "auto" and torch.cuda.is_available())
    device = "cuda" if on_gpu else "cpu"
    dtype = dtype or ("bfloat16" if on_gpu else "float32")
    per_pass = resources.tokens_a_pass(on_gpu=on_gpu)
    return LocalEngines(
        Engines(
            generator=TorchGenerator(checkpoint, dtype=dtype, max_concurrent=resources.max_concurrent, device=device),
            learner=TorchLearner(dtype=dtype, micro_batch_tokens=per_pass, device=device),
            description={
                **{"generator": "torch", "learner": "torch"},
                **{"accelerator": device, "dtype": dtype, "gpus": int(on_gpu)},
            },
            scorer=TorchStepScorer(dtype=dtype, micro_batch_tokens=per_pass, device=device) if with_scorer else None,
        )
    )
