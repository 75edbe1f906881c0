"""How long a report takes and what memory, behind many evaluation rows: a made-up run of them, and `rlreason report`.

The run is written as evaluations write theirs: blocks of about 2,048 completions, texts and steps included. The report
is built by the command in a process of its own, whose time and peak memory are taken. Texts mean nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rlreason.errors import UserError
from rlreason.records import RunFolder, write_json, write_part

LOOK_S = 0.02
"""Between two looks at the memory of what is measured."""
ARMS = {"sft": 0.25, "sft_rl": 0.45, "sft_rft": 0.35}
"""Arm -> its mean share right."""
SEEDS = (0, 1, 2)
LEVELS = ("iid", "composition", "zero_shot")
PROBLEMS = 512
"""A level."""
BLOCK_ROWS = 2048
STEP = "Ann Lee 's mentor is Bob Ray . "
TEXTS = [STEP * steps + f"So, the answer is: {name}" for steps in (1, 2, 3, 4) for name in ("Bob Ray", "Cy Dee", "Eve")]
STAMP = "2025-01-01T00:00:00+00:00"


def bench_report(rows: int, folder: Path | None = None) -> dict[str, Any]:
    """Write a run of about `rows` completions and build its report.

    Args:
        folder: where the run goes, and stays; None: a temporary folder that is removed.
    Returns:
        JSON: rows, files, samples (a problem), seconds_to_write, seconds (of the report), processor_seconds (of it:
        other programs on the machine hardly change them), rows_per_s, peak_memory_gib, page_mb.
    Raises:
        UserError: too few rows for one sample a problem.
    """
    samples = rows // (len(ARMS) * len(SEEDS) * len(LEVELS) * PROBLEMS) - 1
    if samples < 1:
        least = 2 * len(ARMS) * len(SEEDS) * len(LEVELS) * PROBLEMS
        raise UserError(f"--rows {rows:,} leaves no sample a problem; {least:,} is the least")
    with tempfile.TemporaryDirectory() as temporary:
        run = RunFolder(folder or Path(temporary) / "run")
        began = time.perf_counter()
        written, files = write_run(run, samples)
        writing = time.perf_counter() - began
        seconds, processor, peak = _measure([sys.executable, "-m", "rlreason", "report", str(run.path), "--json"])
        page = (run.report / "report.html").stat().st_size
    return {
        "rows": written,
        "files": files,
        "samples": samples,
        "seconds_to_write": writing,
        "seconds": seconds,
        "processor_seconds": processor,
        "rows_per_s": written / seconds,
        "peak_memory_gib": peak,
        "page_mb": page / 1e6,
    }


def write_run(run: RunFolder, samples: int) -> tuple[int, int]:
    """A finished run with `samples` sampled completions a problem; returns its rows and files of completions."""
    _write_documents(run, samples)
    rows = files = 0
    for at, (stage, right) in enumerate(_evaluations().items()):
        skill = np.random.default_rng(at).beta(2 * right, 2 * (1 - right), size=(len(LEVELS), PROBLEMS))
        for number, block in enumerate(_blocks(samples)):
            columns = _completions(stage, block, skill, samples, seed=at * 1_000_000 + number)
            write_part(run, "evaluations", stage, number, columns)
            rows, files = rows + len(block) * (samples + 1), files + 1
        _write_problems(run, stage)
        run.mark_done(stage, {"seconds": 1.0, "completed": STAMP})
    return rows, files


def _evaluations() -> dict[str, float]:
    """Identity of an evaluation -> its arm's mean share right."""
    return {f"evaluate-{arm}-{seed}": right for arm, right in ARMS.items() for seed in SEEDS}


def _blocks(samples: int) -> Iterator[np.ndarray]:
    """[B] int, the problems of one part: their numbers among those of all levels."""
    size = max(1, BLOCK_ROWS // (samples + 1))
    every = np.arange(len(LEVELS) * PROBLEMS)
    for start in range(0, len(every), size):
        yield every[start : start + size]


def _write_documents(run: RunFolder, samples: int) -> None:
    stages: dict[str, Any] = {}
    arms: dict[str, Any] = {}
    for arm in ARMS:
        seeds = {}
        for seed in SEEDS:
            path = [f"sft-{seed}"] if arm == "sft" else [f"sft-{seed}", f"{arm}-{seed}"]
            for place, identity in enumerate(path):
                kind = "sft" if place == 0 else arm.removeprefix("sft_")
                parent = path[place - 1] if place else None
                stages.setdefault(identity, {"name": kind, "type": kind, "seed": seed, "parent": parent, "arms": [arm]})
            evaluation = f"evaluate-{arm}-{seed}"
            stages[evaluation] = {"name": "evaluate", "type": "evaluate", "seed": seed, "parent": path[-1]}
            seeds[str(seed)] = {"stages": path, "evaluation": evaluation}
        arms[arm] = {"seeds": seeds}
    ks = [2**power for power in range(10) if 2**power <= samples]
    asked = {"levels": list(LEVELS), "probes": [], "k": ks, "samples": samples}
    write_json(run.plan_path, {"arms": arms, "stages": stages, "evaluation": asked})
    manifest = {"recipe": "bench", "rlreason": "0", "seeds": list(SEEDS), "started": STAMP, "finished": STAMP}
    write_json(run.manifest_path, {**manifest, "command": "rlreason bench report"})


def _write_problems(run: RunFolder, stage: str) -> None:
    names = [f"{level}/{number}" for level in LEVELS for number in range(PROBLEMS)]
    columns: dict[str, Any] = {
        "stage": [stage] * len(names),
        "problem": names,
        "task": ["words"] * len(names),
        "cell": ["words/2"] * len(names),
        "difficulty": [2] * len(names),
        "level": [name.partition("/")[0] for name in names],
        "prompt": ["Who is it?"] * len(names),
        "answer": ["Bob Ray"] * len(names),
        "target": [TEXTS[3]] * len(names),
        "detail": ['{"gold_steps": 2}'] * len(names),
        "chance": [0.01] * len(names),
    }
    write_part(run, "problems", stage, 0, columns)


def _completions(
    stage: str, problems: np.ndarray, skill: np.ndarray, samples: int, seed: int
) -> Mapping[str, pa.ChunkedArray]:
    """The columns of one part: of each problem the greedy completion and the samples."""
    draw = np.random.default_rng(seed)
    asked = np.repeat(problems, samples + 1)
    sample = np.tile(np.arange(-1, samples, dtype=np.int32), len(problems))
    right = draw.random(len(asked)) < skill.ravel()[asked]
    derived = right & (draw.random(len(asked)) < 0.8)
    text = draw.integers(len(TEXTS), size=len(asked))
    return {
        name: pa.chunked_array([values])
        for name, values in {
            "stage": pa.repeat(stage, len(asked)),
            "problem": _taken([f"{level}/{n}" for level in LEVELS for n in range(PROBLEMS)], asked),
            "cell": pa.repeat("words/2", len(asked)),
            "sample": pa.array(sample),
            "text": _taken(TEXTS, text),
            "turns": pa.nulls(len(asked), pa.string()),
            "tokens": pa.array(draw.integers(8, 48, size=len(asked), dtype=np.int32)),
            "finish_reason": pa.repeat("stop", len(asked)),
            "logprob": pa.array(-40 * draw.random(len(asked))),
            "policy_version": pa.repeat(pa.scalar(0, pa.int32()), len(asked)),
            "correct": pa.array(right),
            "derivation_correct": pa.array(derived),
            "answer": pa.repeat("Bob Ray", len(asked)),
            "first_error": pa.array(np.zeros(len(asked), np.int32), mask=derived),
            "first_error_kind": _taken(["", "context_hop"], (~derived).astype(int)),
            "steps": _taken([*_steps("right"), *_steps("wrong")], text + len(TEXTS) * ~derived),
            "failure": pa.repeat("", len(asked)),
            "level": _taken(list(LEVELS), asked // PROBLEMS),
            "probe": pa.array(np.zeros(len(asked), bool)),
            "greedy": pa.array(sample < 0),
        }.items()
    }


def _steps(last: str) -> list[str]:
    """The steps of every text; the last one has this verdict."""
    found = []
    for text in TEXTS:
        spans = [(at * len(STEP), (at + 1) * len(STEP)) for at in range(text.count(STEP))]
        verdicts = ["right"] * (len(spans) - 1) + [last]
        steps = [
            {"start": start, "end": end, "verdict": verdict, "kind": "" if verdict == "right" else "context_hop"}
            for (start, end), verdict in zip(spans, verdicts, strict=True)
        ]
        found.append(json.dumps([{**step, "score": 1.0} for step in steps]))
    return found


def _taken(values: list[str], which: np.ndarray) -> pa.Array:
    return pa.array(values).take(pa.array(which))


def _measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak resident memory, GiB, of a command that must succeed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        ended, peak = 0, 0
        while not ended:
            peak = max(peak, _high_water(process.pid))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0 if ended else LOOK_S)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise UserError(f"{' '.join(command)} failed: {errors.read().decode(errors='replace').strip()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, peak / 2**30


def _high_water(process: int) -> int:
    """Most bytes a process has held so far. What the system says at its end counts those of whoever started it too."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
