"""The parts of a session that measure: the device alone, then learner and generator at a model's shape.

Random weights and tokens serve: no time depends on what they say. Figures become rates, as `rlreason plan --rates` and
`rlreason simulate --rates` read them. Learner and generator are the in-process ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu.session import RATES, Session
from rlreason.algorithms.budget import attended_keys
from rlreason.engines.meter import model_cost
from rlreason.engines.protocols import PolicyBatch, PolicySettings, SamplingSettings, SupervisedJob, SupervisedRows
from rlreason.engines.torch_generator import TorchGenerator
from rlreason.engines.torch_learner import TorchLearner
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.sizes import ModelShape, cache_bytes_per_token, count_parameters
from rlreason.recipe.training import Optimizer
from rlreason.records.run_folder import write_json


def median_s(work: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after one that does not count; a GPU is waited for."""
    seconds = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds[1:]))


def machine(session: Session) -> dict[str, Any]:
    """What this is."""
    import transformers

    on_gpu = session.device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    memory = torch.cuda.get_device_properties(0).total_memory if on_gpu else 0
    return {
        **{"device": name, "memory_gib": memory / 2**30, "dtype": session.dtype, "dry_run": session.dry},
        **{"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__},
    }


def ceilings(session: Session) -> dict[str, Any]:
    """Operations and bytes a second of the device, with torch."""
    sizes, device = session.sizes, session.device
    dtype = getattr(torch, session.dtype)
    left, right = (torch.randn(sizes.matrix, sizes.matrix, device=device, dtype=dtype) for _ in range(2))
    product_s = median_s(lambda: left @ right, 10)
    source = torch.zeros(sizes.copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = median_s(lambda: target.copy_(source), 10)
    return {
        "matrix_products_tflops": 2 * sizes.matrix**3 / product_s / 1e12,
        "copied_tb_per_s": 2 * sizes.copied_bytes / copy_s / 1e12,
        "about": f"{sizes.matrix}^3 in {session.dtype}; a copy of {sizes.copied_bytes:,} bytes, read and written",
    }


def engines(session: Session) -> dict[str, Any]:
    """Learner and generator at the shape; also writes rates.json."""
    sizes = session.sizes
    folder = random_model(session.work / "random", sizes.shape)
    learner = TorchLearner(
        dtype=session.dtype, micro_batch_tokens=16_384 if session.device == "cuda" else 4_096, device=session.device
    )
    supervised = measure_supervised(session, learner, folder)
    policy = measure_policy(session, learner, folder)
    decoding = measure_decoding(session, learner, folder)
    learner.close()
    figures = {"parameters": count_parameters(sizes.shape), **supervised, **policy, **decoding}
    write_json(session.work / RATES, as_rates(session, figures))
    return figures


def random_model(folder: Path, shape: ModelShape) -> Path:
    """A Hugging Face directory of that shape, with random weights and no tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def mfu(session: Session, folder: Path, lengths: np.ndarray, seconds: float) -> float | None:
    """Operations that training sequences of these lengths needs, over what matrix products reach in that time."""
    cost, peak = model_cost(folder), session.found.get("ceilings", {}).get("matrix_products_tflops")
    if cost is None or peak is None:
        return None
    return cost.training(float(lengths.sum()), float(attended_keys(lengths).sum())) / seconds / (peak * 1e12)


def measure_supervised(session: Session, learner: TorchLearner, folder: Path) -> dict[str, Any]:
    """Updates of full rows of sequences of a quarter of a row."""
    sizes, updates = session.sizes, session.sizes.repeats + 1
    each = sizes.row_tokens // 4
    count = updates * sizes.rows
    tokens = np.random.default_rng(0).integers(1, sizes.shape.vocabulary, (count, sizes.row_tokens), dtype=np.int32)
    positions = np.tile(np.arange(each, dtype=np.int32), (count, 4))
    rows = SupervisedRows(tokens, np.where(positions == 0, -100, tokens).astype(np.int32), positions)
    job = SupervisedJob(
        checkpoint=folder,
        output=session.work / "supervised",
        state=session.work / "state",
        updates=updates,
        optimizer=Optimizer(learning_rate=1e-5),
        checkpoint_every=updates,
        seed=0,
        batch_rows=sizes.rows,
    )
    job.output.mkdir(parents=True, exist_ok=True)
    ends: list[float] = []
    learner.supervised(job, rows, lambda update, metrics: ends.append(time.perf_counter()))
    seconds = float(np.median(np.diff(ends)))
    lengths = np.full(4 * sizes.rows, each)
    return {
        "supervised_update_s": seconds,
        "supervised_tokens_per_s": sizes.rows * sizes.row_tokens / seconds,
        "supervised_mfu": mfu(session, folder, lengths, seconds),
    }


def measure_policy(session: Session, learner: TorchLearner, folder: Path) -> dict[str, Any]:
    """RL updates on made-up rollouts. Tokens are prompt and completion of every sequence, however often it is read."""
    sizes, random = session.sizes, np.random.default_rng(1)
    count, completion = sizes.prompts * sizes.group, sizes.completion_tokens
    prompts = random.integers(1, sizes.shape.vocabulary, (sizes.prompts, sizes.prompt_tokens))
    completions = random.integers(1, sizes.shape.vocabulary, (count, completion))
    flat_tokens = count * completion
    drawn: dict[str, Any] = {
        "tokens": np.concatenate([prompts.repeat(sizes.group, axis=0), completions], axis=1).reshape(-1),
        "prompt_lengths": np.full(count, sizes.prompt_tokens, dtype=np.int32),
        "lengths": np.full(count, completion, dtype=np.int32),
        "advantages": random.standard_normal(count).repeat(completion).astype(np.float32),
        "weights": np.full(flat_tokens, 1 / flat_tokens, dtype=np.float32),
    }
    drawn["tokens"] = drawn["tokens"].astype(np.int32)
    settings = PolicySettings(
        optimizer=Optimizer(learning_rate=1e-6),
        loss=ClippedLoss(),
        updates=sizes.repeats + 1,
        temperature=1.0,
        mismatch_tolerance=None,
        seed=0,
    )
    learner.begin(folder, settings, None)
    blank = PolicyBatch(**drawn, generator_logprobs=np.zeros(flat_tokens, dtype=np.float32))
    batch = PolicyBatch(**drawn, generator_logprobs=learner.figures(blank).logprobs)
    updates = iter(range(1, sizes.repeats + 2))
    seconds = median_s(lambda: learner.update(batch, next(updates), on_policy=False), sizes.repeats)
    lengths = np.full(count, sizes.prompt_tokens + completion)
    return {
        "rl_update_s": seconds,
        "rl_tokens_per_s": float(lengths.sum()) / seconds,
        # above 1 where the prompt of a group is read once for all its completions
        "rl_mfu_as_if_nothing_were_shared": mfu(session, folder, lengths, seconds),
    }


def measure_decoding(session: Session, learner: TorchLearner, folder: Path) -> dict[str, Any]:
    """Tokens a second at some numbers of sequences, prompts read a second, and a weight sync."""
    sizes, random = session.sizes, np.random.default_rng(2)
    generator = TorchGenerator(folder, dtype=session.dtype, max_concurrent=max(sizes.sequences), device=session.device)
    figures: dict[str, Any] = {"decoded_tokens_per_s": {}}
    for sequences in sizes.sequences:
        drawn = random.integers(
            1, sizes.shape.vocabulary, (sequences // sizes.group, sizes.prompt_tokens), dtype=np.int32
        )
        prompts, seeds = [row for row in drawn for _ in range(sizes.group)], list(range(len(drawn) * sizes.group))

        def seconds(tokens: int, prompts: list[np.ndarray] = prompts, seeds: list[int] = seeds) -> float:
            settings = SamplingSettings(1.0, 1.0, tokens, ignore_end=True)
            return median_s(lambda: generator.generate(prompts, seeds, settings), 2)

        first, whole = seconds(1), seconds(sizes.completion_tokens)
        decoded = sequences * (sizes.completion_tokens - 1) / max(whole - first, 1e-9)
        figures["decoded_tokens_per_s"][str(sequences)] = decoded
        figures["read_tokens_per_s"] = len(drawn) * sizes.prompt_tokens / first
    versions = iter(range(10))
    figures["weight_sync_s"] = median_s(lambda: generator.load_weights(learner.weights(), next(versions)), 3)
    generator.close()
    return figures


def as_rates(session: Session, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as `rlreason.simulate.rates.Rates` has them."""
    sizes, points, best = session.sizes, [], 0.0
    for sequences, speed in figures["decoded_tokens_per_s"].items():
        if speed > best:  # more sequences that are slower say nothing that a plan could use
            points.append({"sequences": int(sequences), "tokens_per_s": speed})
            best = speed
    name = session.found.get("machine", {}).get("device", session.device)
    value_bytes = 2 if session.dtype == "bfloat16" else 4
    return {
        "about": f"measured on {name} by scripts/gpu_session.py: {figures['parameters']:,} parameters, random weights, "
        f"{session.dtype}, in-process engines; learning is the slower of supervised rows and RL updates",
        "model": {
            **{"parameters": figures["parameters"], "value_bytes": value_bytes},
            "cache_bytes_per_token": cache_bytes_per_token(sizes.shape, value_bytes),
        },
        "lengths": {"type": "constant", "tokens": sizes.completion_tokens},
        "prompt_tokens": sizes.prompt_tokens,
        "decoding": {"type": "measured", "points": points, "prefill_tokens_per_s": figures["read_tokens_per_s"]},
        "learning": {"tokens_per_s": min(figures["supervised_tokens_per_s"], figures["rl_tokens_per_s"])},
        "syncing": {"latency_s": figures["weight_sync_s"]},
    }
