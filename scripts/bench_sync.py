"""Measure a weight sync: a learner's weights packed, taken through Ray's object store or a file, and loaded by vLLM.

    python scripts/bench_sync.py [--json] [--repeats 5] [--folder DIR]

For models of about 4 and 30 million parameters in float32: the seconds of each step of a sync, and the sum as a
multiple of the floor, one plain copy of as many bytes in this process. A step is the fastest of the repeats. The steps:
`pack` copies the weights into one buffer (as rank 0 does) and takes their fingerprint, `put` copies that into the
object store or `write` into a file (with fsync), `check` reads it all for the fingerprint (as a generator does before
it loads), and `load` copies it into vLLM's model. All of it runs in this one process: nothing waits for another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURES = {
    "4M": {"layers": 4, "width": 256, "heads": 4, "max_positions": 256},
    "30M": {"layers": 8, "width": 512, "heads": 8, "max_positions": 256, "mlp_width": 1792},
}
COPIES = {"host_memory": 3, "files": 3}
"""Times that every byte is copied: into the buffer, into the store or file, and into the model."""


def fastest_s(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest of several calls, after one that does not count: what others on the machine add is out."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(name: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """A row for each way of syncing a model of that size."""
    import ray

    from rlreason.engines.scratch import make_model
    from rlreason.engines.vllm_generator import VllmGenerator
    from rlreason.engines.weight_files import WeightFiles
    from rlreason.engines.weights import pack_weights, read_checkpoint
    from rlreason.recipe.schema import Architecture

    words = [f"word{index}" for index in range(2000)]
    checkpoint = make_model(folder / name, Architecture(**ARCHITECTURES[name]), words, seed=0)
    tensors = {key: tensor.clone() for key, tensor in read_checkpoint(checkpoint).items()}
    generator = VllmGenerator(
        checkpoint,
        dtype="float32",
        max_tokens=64,
        max_concurrent=16,
        kv_cache_bytes=2**25,
        gpu_memory_share=0.4,
        tensor_parallel=1,
    )
    packed = pack_weights(tensors.items())
    target = np.empty_like(packed.buffer)
    floor = fastest_s(lambda: np.copyto(target, packed.buffer), repeats)
    shared = {"pack": fastest_s(lambda: pack_weights(tensors.items()), repeats)}
    files, versions = WeightFiles(folder / "weights"), iter(range(10**6))
    arrived = {"host_memory": ray.get(ray.put(packed)), "files": files.write(packed)}
    out = {
        "host_memory": {"put": fastest_s(lambda: ray.put(packed), repeats)},
        "files": {"write": fastest_s(lambda: files.write(packed), repeats)},
    }
    arrived["files"] = files.write(packed)
    rows = []
    for way, weights in arrived.items():

        def load(weights: Any = weights) -> None:
            generator.load_weights(weights, next(versions))

        into = {"check": fastest_s(weights.check, repeats), "load": fastest_s(load, repeats)}
        steps = {**shared, **out[way], **into}
        total = sum(steps.values())
        row = {"model": name, "parameters": sum(tensor.numel() for tensor in tensors.values())}
        row |= {"mib": round(packed.buffer.nbytes / 2**20, 1), "way": way, "copies": COPIES[way]}
        row |= {"seconds": {step: round(each, 4) for step, each in steps.items()}, "total_s": round(total, 4)}
        rows.append({**row, "plain_copy_s": round(floor, 4), "ratio": round(total / floor, 1)})
    generator.close()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="where files are written; default a new one in the temporary folder"
    )
    asked = parser.parse_args()
    import ray

    from rlreason.orchestration.cluster import connect
    from rlreason.recipe.schema import Resources

    connect(Resources())
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        rows = [row for name in ARCHITECTURES for row in measure(name, Path(folder), asked.repeats)]
    ray.shutdown()
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        steps = ", ".join(f"{step} {seconds * 1000:.0f} ms" for step, seconds in row["seconds"].items())
        print(
            f"{row['model']:>4} {row['mib']:6.1f} MiB {row['way']:<12} {row['total_s'] * 1000:6.0f} ms "
            f"({row['ratio']:.0f} plain copies of {row['plain_copy_s'] * 1000:.1f} ms): {steps}"
        )


if __name__ == "__main__":
    main()
