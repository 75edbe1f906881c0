"""What lets a tiny model learn to look facts up in its context: starts compared on the same texts.

    python scripts/compare_starts.py                    # four starts, some six minutes on two cores
    python scripts/compare_starts.py --updates 480 --starts random

Each start is trained on every token of the same `lookup` texts, as recipe complementary-tiny trains its base, and asked
now and then for the tails of facts that a text tells for the second time: where the relation alone tells the facts
apart (one person), where the person alone does (one relation), and where it takes both. Guessing among the tails that
were told is right in one of four, one of four and one of nine.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlreason.engines.codec import TextCodec
from rlreason.engines.look_up_start import STEPS
from rlreason.engines.scratch import make_model
from rlreason.recipe.schema import Architecture
from rlreason.tasks.contract import Task
from rlreason.tasks.registry import build_task

STARTS: dict[str, tuple[str, ...]] = {
    "random": (),
    "scale": ("scale",),
    "scale, look_back": ("scale", "look_back"),
    "look_up": STEPS,
}
SHAPES = {"relation (1 x 4)": (1, 4), "person (4 x 1)": (4, 1), "both (3 x 3)": (3, 3)}
"""People x relations of a text."""
PEOPLE = 120
ASKED = 64


def lookup() -> Task:
    """The texts of recipe complementary-tiny's base."""
    facts = [1, 2, 3, 4, 6, 9, 12, 20]
    return build_task("facts", "lookup", {"people": PEOPLE, "facts": facts, "times": 3, "wording": "triples"})


def make(start: str, folder: Path, task: Task, seed: int) -> PreTrainedModel:
    """The recipe's model, started with only the steps that `STARTS` names."""
    architecture = Architecture(max_positions=512, start="look_up")
    make_model(folder, architecture, task.words(), seed, STARTS[start])
    return AutoModelForCausalLM.from_pretrained(folder)


def questions(people: int, relations: int, codec: TextCodec, names: list[str], told: list[str]) -> torch.Tensor:
    """[ASKED, tokens]: all facts of a text, then one of them up to its tail, which is the last token."""
    rows = []
    for index in range(ASKED):
        rng = random.Random(f"{people}/{relations}/{index}")
        facts = [
            f"{head} {relation} {rng.choice(names)}."
            for head in rng.sample(names, people)
            for relation in rng.sample(told, relations)
        ]
        rng.shuffle(facts)
        rows.append(codec.encode([" ".join([*facts, rng.choice(facts)[:-1]])])[0])
    return torch.from_numpy(np.stack(rows)).long()


@torch.no_grad()
def share_right(model: PreTrainedModel, tokens: torch.Tensor) -> float:
    return (model(tokens[:, :-1]).logits[:, -1].argmax(-1) == tokens[:, -1]).float().mean().item()


def batch(task: Task, codec: TextCodec, first: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts as tokens and labels, [rows, longest]; padding has no label."""
    texts = codec.encode([task.text(index) for index in range(first, first + rows)])
    longest = max(map(len, texts))
    tokens = torch.zeros(rows, longest, dtype=torch.long)
    labels = torch.full((rows, longest), -100)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = labels[row, : len(text)] = torch.from_numpy(text).long()
    return tokens, labels


def train(start: str, task: Task, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Accuracy by shape, every `arguments.every` updates; a line each as it goes."""
    with TemporaryDirectory() as folder:
        model, codec = make(start, Path(folder), task, arguments.seed), TextCodec(Path(folder))
    names, told = list(task.words()[-PEOPLE:]), ["rival", "mentor", "student", "roommate"]
    asked = {name: questions(*shape, codec, names, told) for name, shape in SHAPES.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0.0)
    curve = []
    for update in range(arguments.updates + 1):
        if update % arguments.every == 0:
            curve.append({"update": update} | {name: share_right(model, rows) for name, rows in asked.items()})
            right = "  ".join(f"{name} {100 * curve[-1][name]:5.1f}" for name in SHAPES)
            print(f"{start:<18} {update:4d} updates  {right}", file=sys.stderr, flush=True)
        tokens, labels = batch(task, codec, update * arguments.texts, arguments.texts)
        optimizer.param_groups[0]["lr"] = 3e-3 * min((update + 1) / 20, 1 - update / (arguments.updates + 1))
        optimizer.zero_grad()
        model(tokens, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return curve


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--updates", type=int, default=240)
    parser.add_argument("--texts", type=int, default=40, help="texts an update, some 90 tokens each (default 40)")
    parser.add_argument("--every", type=int, default=60, help="updates between two measurements (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    task = lookup()
    curves = {start: train(start, task, arguments) for start in arguments.starts}
    if arguments.json:
        print(json.dumps(curves, indent=1))
        return
    print("| start | updates | " + " | ".join(SHAPES) + " |\n|---|---|" + "---|" * len(SHAPES))
    for start, curve in curves.items():
        for point in curve:
            right = " | ".join(f"{100 * point[name]:.1f}" for name in SHAPES)
            print(f"| {start} | {point['update']} | {right} |")


if __name__ == "__main__":
    main()
