"""`scripts/bench_rl.py`: what it prints of figures that are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rlreason.bench.figures import MachineFigures, SideFigures, UpdateFigures, ratios
from rlreason.bench.floor import Ceilings, UpdateFloor, Work

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_rl.py"


def figures() -> dict[str, Any]:
    """Ours in 5 s, then 4 s, a round; TRL in 10 s; a machine that needs 1 s of each phase."""
    made = {
        "vllm": [UpdateFigures(seconds, {"generate": 2.0, "learn": 2.0}, 8, 64, 128, 1, 0.0, 80) for seconds in (5, 4)],
        "trl": [UpdateFigures(10.0, {"generate": 4.0, "learn": 5.0}, 8, 64, 128, 1, 0.0, 128)] * 2,
    }
    machine = MachineFigures(
        UpdateFloor(Work(0, 0), Work(10**9, 0), Work(10**9, 0)), [Ceilings(1e9, 1e9, 2e9)] * 2, {"wide_rows": 4}
    )
    start_s = {"vllm": 40.0, "trl": 20.0}
    return {
        "workload": {"prompts": 16},
        "machine": {
            **{"processor": "EPYC", "threads": 2, "cores": 2, "memory_gib": 16.0},
            **{"versions": {"torch": "2"}, "git_commit": "abc", "git_dirty": True},
        },
        **machine.summary(),
        "sides": {
            name: {**SideFigures(name, start_s[name], 2**30, each).summary(), "floor_share": machine.shares(each)}
            for name, each in made.items()
        },
        "ratios": {"vllm / trl": ratios(made["vllm"], made["trl"])},
    }


def test_figures_that_are_there_are_printed_and_not_measured_again(tmp_path: Path):
    (tmp_path / "4M-32+48.json").write_text(json.dumps(figures()), encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path), "--sizes", "4M", "--lengths", "32+48"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "EPYC, 2 threads of 2 cores, 16.0 GiB; commit abc with changes; torch 2."
    # 10/5 and 10/4 times the completions; 4 s and 5 s against 2 s
    assert "| 4M, 32+48 | vllm | 16 | 2.25 [2, 2.5] | 2 [2, 2] | 2.5 [2.5, 2.5] | 1 / 1 | 40 / 20 |" in lines
    # 1 s of 2 s, and of TRL's 4 and 5
    shares = "vllm 0.5 [0.5, 0.5], trl 0.25 [0.25, 0.25] | vllm 0.5 [0.5, 0.5], trl 0.2 [0.2, 0.2]"
    assert f"| 4M, 32+48 | 1 [1, 1] | 1 [1, 1] | 2 [2, 2] | {shares} |" in lines
