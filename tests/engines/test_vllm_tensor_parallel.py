"""A generator over two workers, processes of their own, on vLLM's CPU build: new weights reach both halves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# vLLM spawns its workers, which import the script that asks for them: so it must be a file with a main
SCRIPT = """
import sys
from pathlib import Path

import numpy as np


def main():
    from rlreason.engines.protocols import SamplingSettings
    from rlreason.engines.vllm_generator import VllmGenerator
    from rlreason.engines.weights import pack_weights, read_checkpoint

    start, other = map(Path, sys.argv[1:])
    prompts, found = [np.arange(5, 12, dtype=np.int32)] * 3, []
    for workers in (2, 1):
        generator = VllmGenerator(
            start, dtype="float32", max_tokens=64, max_concurrent=16, kv_cache_bytes=2**25, gpu_memory_share=0.4,
            tensor_parallel=workers,
        )
        before = generator.generate(prompts, [1, 2, 3], SamplingSettings(0.0, 1.0, 8))
        generator.load_weights(pack_weights(read_checkpoint(other).items()), 3)
        found += [before, generator.generate(prompts, [1, 2, 3], SamplingSettings(0.0, 1.0, 8))]
        generator.close()
    for two, one in zip(found[:2], found[2:]):
        assert two.tokens.tolist() == one.tokens.tolist()
        assert np.abs(two.logprobs - one.logprobs).max() < 1e-4
    assert np.abs(found[0].logprobs[:1] - found[1].logprobs[:1]).max() > 1e-3, "the weights are others"
    print("agreed")


if __name__ == "__main__":
    main()
"""


def test_two_workers_generate_like_one_before_and_after_a_sync(tied: Path, other: Path, tmp_path: Path) -> None:
    script = tmp_path / "two_workers.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tied), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0 and "agreed\n" in done.stdout, done.stderr[-3000:]
