"""The tables of the benchmark on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from rlreason.bench.figures import SideFigures, UpdateFigures, ratios
from rlreason.bench.table import render


def updates(*seconds: float) -> list[UpdateFigures]:
    phases = {"generate": 2.0, "score": 0.5, "learn": 3.0, "sync": 0.0}
    return [UpdateFigures(value, phases, 256, 12288, 20480, 3, 0.0) for value in seconds]


def figures(with_peer: bool) -> dict[str, Any]:
    ours, peer = updates(8.0, 10.0, 16.0), updates(20.0, 20.0, 20.0)
    found: dict[str, Any] = {
        "workload": {
            "parameters": 3_672_320,
            "dtype": "float32",
            "prompts": 32,
            "group": 8,
            "prompt_tokens": 32,
            "completion_tokens": 48,
        },
        "machine": {"processor": "AMD EPYC", "threads": 2, "cores": 4},
        "ours": SideFigures("vllm + deepspeed", 27.6, 4 * 2**30, ours).summary(),
    }
    if with_peer:
        found |= {"trl": SideFigures("TRL", 18.9, 2 * 2**30, peer).summary(), "ratios": ratios(ours, peer)}
    return found


def shown(found: dict[str, Any]) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(found))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_two_sides_stand_beside_each_other_on_80_columns():
    lines = shown(figures(with_peer=True))
    # 256 completions in 10 s (32 in the fastest of 8 s, 16 in the slowest); TRL's in 20 s; 20/8, 20/10, 20/16
    assert "completions/s 25.6 [16-32] 12.8 [12.8-12.8] 2 [1.25-2.5]" in lines
    assert "generate, tokens/s 6,144 [6,144-6,144] 6,144 [6,144-6,144] 1 [1-1]" in lines
    assert "peak memory, GiB 4 2" in lines


def test_the_seconds_are_shown_with_their_shares():
    # of 34 seconds in all, 9 in learn; the rest of the median update: 10 - 5.5
    lines = shown(figures(with_peer=False))
    assert "learn 3 (26.5%)" in lines
    assert "other 4.5 (51.5%)" in lines


def test_without_a_peer_there_is_no_column_of_ratios():
    assert not any("trl" in line for line in shown(figures(with_peer=False)))
