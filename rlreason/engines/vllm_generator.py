"""The generator that ships: vLLM, in the process that constructs it (a Ray actor; see `rlreason.orchestration`).

On a CPU this is vLLM's CPU build, on a GPU its CUDA build; nothing here differs but the memory setting. This module
and `vllm_weights` alone import vllm.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.engines.weights import PackedWeights, pack_weights, read_checkpoint

ENVIRONMENT = {
    # One process: the engine steps inside the caller; its own engine-core process costs a factor of two on a CPU.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_OFFLINE": "1",
}
"""Set before vllm is imported; what the user's environment already says wins."""


class VllmGenerator:
    """A vLLM engine that samples with one seed a request and takes new weights in place."""

    def __init__(
        self,
        checkpoint: Path,
        *,
        dtype: str,
        max_tokens: int,
        max_concurrent: int,
        kv_cache_bytes: int | None,
        gpu_memory_share: float,
        tensor_parallel: int,
    ) -> None:
        """Load the engine.

        Args:
            checkpoint: Hugging Face directory; later weights must be of the same architecture.
            dtype: "float32" or "bfloat16".
            max_tokens: longest prompt and completion together.
            max_concurrent: sequences decoded together.
            kv_cache_bytes: size of the key-value cache (CPU); None: what `gpu_memory_share` leaves.
            gpu_memory_share: share of a GPU's memory taken in all.
            tensor_parallel: GPUs of this engine.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM

        from rlreason.engines import vllm_weights

        vllm_weights.register()
        options: dict[str, Any] = {"gpu_memory_utilization": gpu_memory_share}
        if kv_cache_bytes is not None:
            options = {
                "kv_cache_memory_bytes": kv_cache_bytes,
                # A partly prefilled request would rewind its seeded generator, which CPU generators cannot do.
                "enable_chunked_prefill": False,
                "enforce_eager": True,
            }
        self._llm: Any = LLM(
            model=str(checkpoint),
            dtype=dtype,
            max_model_len=max_tokens,
            max_num_seqs=max_concurrent,
            max_num_batched_tokens=max(8192, max_tokens),
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
            seed=0,
            tensor_parallel_size=tensor_parallel,
            weight_transfer_config={"backend": vllm_weights.BACKEND},
            **options,
        )
        self._llm.init_weight_transfer_engine({"init_info": {}})
        self._policy_version = 0

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """One completion a prompt, in order. See `protocols.Generator.generate`."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        outputs = self._llm.generate(
            [TokensPrompt(prompt_token_ids=prompt.tolist()) for prompt in prompts],
            [
                SamplingParams(
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    max_tokens=settings.max_new_tokens,
                    ignore_eos=settings.ignore_end,
                    seed=int(seed),
                    logprobs=0,
                    detokenize=False,
                )
                for seed in seeds
            ],
            use_tqdm=False,
        )
        samples = [output.outputs[0] for output in outputs]
        return SampleBatch(
            tokens=np.concatenate([np.asarray(sample.token_ids, dtype=np.int32) for sample in samples]),
            logprobs=np.asarray(
                [
                    position[token].logprob
                    for sample in samples
                    for token, position in zip(sample.token_ids, sample.logprobs, strict=True)
                ],
                dtype=np.float32,
            ),
            lengths=np.asarray([len(sample.token_ids) for sample in samples], dtype=np.int32),
            stopped=np.asarray([sample.finish_reason == "stop" for sample in samples], dtype=bool),
            policy_version=self._policy_version,
        )

    def load_checkpoint(self, checkpoint: Path, policy_version: int) -> None:
        """Serve another checkpoint of the same architecture."""
        self.load_weights(pack_weights(read_checkpoint(checkpoint).items()), policy_version)

    def load_weights(self, weights: PackedWeights, policy_version: int) -> None:
        """Serve new weights; keys and values cached under the old ones are dropped."""
        with warnings.catch_warnings():
            # the object store's memory is read-only and only read here
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._llm.start_weight_update()
            self._llm.update_weights({"update_info": {"weights": weights}})
            self._llm.finish_weight_update()
        self._llm.reset_prefix_cache()
        self._policy_version = policy_version

    def close(self) -> None:
        """Drop the engine and its cache."""
        self._llm = None
