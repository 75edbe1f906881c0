"""The tables of the benchmark on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from rlreason.bench.figures import MachineFigures, SideFigures, UpdateFigures, ratios
from rlreason.bench.floor import Ceilings, UpdateFloor, Work
from rlreason.bench.table import render


def updates(*seconds: float) -> list[UpdateFigures]:
    phases = {"generate": 2.0, "score": 0.5, "learn": 3.0, "sync": 0.0}
    return [UpdateFigures(value, phases, 256, 12288, 20480, 3, 0.0, 13312) for value in seconds]


def figures(with_peer: bool) -> dict[str, Any]:
    ours, peer = updates(8.0, 10.0, 16.0), updates(20.0, 20.0, 20.0)
    sides = {"torch": SideFigures("1 torch + 1 torch", 27.6, 4 * 2**30, ours)}
    if with_peer:
        sides["trl"] = SideFigures("TRL", 18.9, 2 * 2**30, peer)
    machine = MachineFigures(
        UpdateFloor(Work(1, 0), Work(1, 0), Work(1, 0)), [Ceilings(1.0, 1.0, 1.0)] * 3, {"wide_rows": 4}
    )
    return {
        "workload": {
            "parameters": 3_672_320,
            "dtype": "float32",
            "prompts": 32,
            "group": 8,
            "prompt_tokens": 32,
            "completion_tokens": 48,
        },
        "machine": {"processor": "AMD EPYC", "threads": 2, "cores": 4},
        **machine.summary(),
        "sides": {
            name: {**side.summary(), "floor_share": machine.shares(side.updates)} for name, side in sides.items()
        },
        "ratios": {"torch / trl": ratios(ours, peer)} if with_peer else {},
    }


def shown(found: dict[str, Any]) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(found))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_two_sides_stand_beside_each_other_on_80_columns():
    lines = shown(figures(with_peer=True))
    # 256 completions in 10 s (32 in the fastest of 8 s, 16 in the slowest); TRL's in 20 s; 20/8, 20/10, 20/16
    assert "completions/s 25.6 [16-32] 12.8 [12.8-12.8]" in lines
    assert "generate, tokens/s 6,144 [6,144-6,144] 6,144 [6,144-6,144]" in lines
    assert "torch / trl 2 [1.25-2.5] 1 [1-1] 1 [1-1]" in lines
    # 32 prompts of 32 tokens and 256 completions of 48
    assert "computed for it, tokens 13,312 13,312" in lines
    assert "peak memory, GiB 4 2" in lines


def test_the_seconds_are_shown_with_their_shares():
    # of 34 seconds in all, 9 in learn; the rest of the median update: 10 - 5.5
    lines = shown(figures(with_peer=False))
    assert "learn 3 (26.5%)" in lines
    assert "other 4.5 (51.5%)" in lines


def test_the_floor_stands_beside_the_shares_of_each_side():
    # one operation a second: 1 + 1 s of 2 s, 1 s of 3 s
    lines = shown(figures(with_peer=True))
    assert "generate 2 [2-2] 1 [1-1] 1 [1-1]" in lines
    assert "learn 1 [1-1] 0.333 [0.333-0.333] 0.333 [0.333-0.333]" in lines


def test_without_a_peer_there_are_no_ratios():
    assert not any("trl" in line or "times as fast" in line for line in shown(figures(with_peer=False)))
