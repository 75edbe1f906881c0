"""Measure every workload of docs/performance.md beside TRL, and print the tables that stand there.

    python scripts/bench_rl.py [--folder DIR] [--updates 5] [--sizes 0.4M,4M,30M] [--lengths 32+48,256+256]

Each workload is one run of `rlreason bench rl --peer trl --json`, whose output is kept in the folder as
SIZE-LENGTHS.json; one that is there is not measured again, so the script goes on where it was stopped. Nothing else
should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RATES = ("completions_per_s", "generated_tokens_per_s", "trained_tokens_per_s")


def measure(size: str, lengths: str, updates: int, file: Path) -> dict[str, Any]:
    """The figures of one workload, from the file where it is there."""
    if not file.exists():
        prompt, completion = lengths.split("+")
        command = [sys.executable, "-m", "rlreason", "bench", "rl", "--peer", "trl", "--json", "--size", size]
        command += ["--prompt-tokens", prompt, "--completion-tokens", completion, "--updates", str(updates)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        partial = file.with_suffix(".partial")
        partial.write_text(done.stdout, encoding="utf-8")
        partial.rename(file)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def said(values: Mapping[str, float]) -> str:
    """Median and, in brackets, the smallest and the largest."""
    return f"{values['median']:.3g} [{values['min']:.3g}, {values['max']:.3g}]"


def row_of_ratios(name: str, figures: Mapping[str, Any], engine: str) -> list[str]:
    """Times TRL's rates, and what of either side is one number a run."""
    ours, trl = figures["sides"][engine], figures["sides"]["trl"]
    pair = figures["ratios"][f"{engine} / trl"]
    single = (f"{ours[key]:.3g} / {trl[key]:.3g}" for key in ("peak_memory_gib", "start_to_first_update_s"))
    return [name, engine, str(figures["workload"]["prompts"]), *(said(pair[rate]) for rate in RATES), *single]


def row_of_floor(name: str, figures: Mapping[str, Any]) -> list[str]:
    """What the machine could do, and the share of each side's seconds that no engine could save."""
    speeds = (said(figures["ceilings"][key]) for key in ("wide_gflop_per_s", "decode_gflop_per_s", "read_gb_per_s"))
    shares = (
        ", ".join(f"{side} {said(each['floor_share'][phase])}" for side, each in figures["sides"].items())
        for phase in ("generate", "learn")
    )
    return [name, *speeds, *shares]


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def tables(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of the page, and what they were measured on, from figures by the name of their workload."""
    ratios = [
        row_of_ratios(name, each, engine)
        for name, each in measured.items()
        for engine in each["sides"]
        if engine != "trl"
    ]
    machine = next(iter(measured.values()))["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    commit = f"commit {machine['git_commit']}{' with changes' if machine['git_dirty'] else ''}"
    cores = f"{machine['threads']} threads of {machine['cores']} cores, {machine['memory_gib']} GiB"
    return "\n\n".join(
        [
            f"{machine['processor']}, {cores}; {commit}; {versions}.",
            table(
                [
                    *("parameters, tokens", "engine", "prompts", "completions/s", "generate", "learn"),
                    *("GiB, ours / TRL", "seconds to first update, ours / TRL"),
                ],
                ratios,
            ),
            table(
                [
                    *("parameters, tokens", "wide, GFLOP/s", "decoding, GFLOP/s", "reading, GB/s"),
                    *("generate: share of the floor", "learn: share of the floor"),
                ],
                [row_of_floor(name, each) for name, each in measured.items()],
            ),
        ]
    )


def main() -> None:
    """Measure what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench-rl"), help="where the figures are kept")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--sizes", default="0.4M,4M,30M")
    parser.add_argument("--lengths", default="32+48,256+256", help="prompt + completion tokens")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    measured = {
        f"{size}, {lengths}": measure(size, lengths, given.updates, given.folder / f"{size}-{lengths}.json")
        for size in given.sizes.split(",")
        for lengths in given.lengths.split(",")
    }
    print(tables(measured))


if __name__ == "__main__":
    main()
