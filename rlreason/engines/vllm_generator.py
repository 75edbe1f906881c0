"""The generator that ships: vLLM, in the process that constructs it (a Ray actor; see `rlreason.orchestration`).

On a CPU this is vLLM's CPU build, on a GPU its CUDA build; nothing here differs but the memory setting. Only the
modules called `vllm_*` import vllm.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlreason.engines.protocols import SampleBatch, SamplingSettings
from rlreason.engines.weight_files import StoredWeights
from rlreason.engines.weights import DirectWeights, Endpoint, PackedWeights, pack_weights, read_checkpoint
from rlreason.errors import EngineFailed

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
        weight_sync: str = "host_memory",
        sleep_level: int = 0,
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
            weight_sync: how weights come: "host_memory" or "files", "nccl" or "ipc" (GPUs).
            sleep_level: what `sleep` leaves free of a GPU, see `resources.sleep_level`.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM

        from rlreason.engines.vllm_weights import BACKEND

        self._direct = weight_sync in ("nccl", "ipc")
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
            weight_transfer_config={"backend": weight_sync if self._direct else BACKEND},
            **device_options(kv_cache_bytes, gpu_memory_share, tensor_parallel, sleep_level),
        )
        if weight_sync != "nccl":  # which has whom to meet first, see `join`
            self._llm.init_weight_transfer_engine({"init_info": {}})
        self._policy_version = 0
        self.steps = 0
        """Steps that the engine has made: while it works they grow, also when read from another thread."""
        self._count_steps()
        self._sleep_level, self._asleep = sleep_level, False

    def _count_steps(self) -> None:
        step = self._llm.llm_engine.step

        def counted() -> Any:
            self.steps += 1
            return step()

        self._llm.llm_engine.step = counted

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """One completion a prompt, in order. See `protocols.Generator.generate`."""
        if self._asleep and self._sleep_level > 1:
            raise EngineFailed(
                "the generator slept without its weights (resources.sleep_level 2), and was asked to generate before "
                "new ones came; use sleep_level 1"
            )
        self._wake()
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
        if not self._direct:
            self.load_weights(pack_weights(read_checkpoint(checkpoint).items()), policy_version)
            return
        self._wake()
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(checkpoint)})
        self._serve(policy_version)

    def join(self, endpoint: Endpoint, index: int) -> None:
        """Meet learner rank 0 and the other generators, as the `index`-th of these (weight_sync nccl)."""
        self._llm.init_weight_transfer_engine({"init_info": endpoint.of_generator(index)})

    def load_weights(self, weights: PackedWeights | StoredWeights | DirectWeights, policy_version: int) -> None:
        """Serve new weights; keys and values cached under the old ones are dropped.

        Raises:
            StaleWeights: the weights that arrived are not those that were sent.
            EngineFailed: a file of weights cannot be read here.
        """
        if isinstance(weights, StoredWeights):
            weights = weights.open()
        self._wake()
        update = dict(weights.update_info) if isinstance(weights, DirectWeights) else {"weights": weights}
        with warnings.catch_warnings():
            # the object store's memory is read-only and only read here
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._llm.start_weight_update()
            self._llm.update_weights({"update_info": update})
            self._llm.finish_weight_update()
        self._serve(policy_version)

    def _serve(self, policy_version: int) -> None:
        self._llm.reset_prefix_cache()
        self._policy_version = policy_version

    def sleep(self) -> None:
        """Leave the GPU to a learner until there is something to generate or to load."""
        if self._sleep_level and not self._asleep:
            self._asleep = True  # also where it raises on the way: what it has given up must be waked
            self._llm.sleep(level=self._sleep_level)

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False

    def close(self) -> None:
        """Drop the engine and its cache."""
        self._llm = None


def device_options(
    kv_cache_bytes: int | None, gpu_memory_share: float, tensor_parallel: int, sleep_level: int
) -> dict[str, Any]:
    """What vLLM is told of its devices. `kv_cache_bytes` is given on a CPU alone."""
    options: dict[str, Any] = {"tensor_parallel_size": tensor_parallel}
    if kv_cache_bytes is None:
        options |= {"gpu_memory_utilization": gpu_memory_share, "enable_sleep_mode": sleep_level > 0}
    else:
        options |= {
            "kv_cache_memory_bytes": kv_cache_bytes,
            # A partly prefilled request would rewind its seeded generator, which CPU generators cannot do.
            "enable_chunked_prefill": False,
            "enforce_eager": True,
        }
    if tensor_parallel > 1:
        options |= {
            # left to itself vLLM would take other bundles of the placement group for its workers
            "distributed_executor_backend": "mp",
            # imported by every worker, which thereby knows our transfer engine
            "worker_extension_cls": "rlreason.engines.vllm_weights.KnowsHostMemory",
        }
    return options
