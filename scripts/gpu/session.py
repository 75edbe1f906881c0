"""What a session on one device found so far, on disk after every part; what is measured is in the parts."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rlreason.recipe.known_models import KNOWN_MODELS
from rlreason.recipe.sizes import ModelShape
from rlreason.records.run_folder import write_json, write_text

SESSION = "session.json"
RATES = "rates.json"
DRY_SHAPE = ModelShape(512, 64, 2, 2, 1, 32, 128, 2048, tied=True)


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        shape: of the model with random weights.
        matrix: side of the square matrices that are multiplied.
        copied_bytes: of the copy.
        rows, row_tokens: of a supervised update.
        prompts, group, prompt_tokens, completion_tokens: of an RL update, and of what is decoded.
        sequences: numbers of completions that are decoded together.
        repeats: measured calls, after one that warms up; the median counts.
        trl: options of `rlreason bench rl`.
    """

    shape: ModelShape = KNOWN_MODELS["smollm2-135m"]
    matrix: int = 8192
    copied_bytes: int = 2**32
    rows: int = 16
    row_tokens: int = 2048
    prompts: int = 32
    group: int = 8
    prompt_tokens: int = 700
    completion_tokens: int = 48
    sequences: tuple[int, ...] = (32, 128, 512)
    repeats: int = 5
    trl: tuple[str, ...] = ("--size", "120M", "--prompts", "16", "--set", "model.dtype=bfloat16")


DRY = Sizes(
    DRY_SHAPE, 256, 2**24, 2, 128, 4, 4, 32, 8, (4, 16), 2, ("--size", "0.4M", "--prompts", "2", "--updates", "1")
)


@dataclass
class Session:
    """What was found so far, on disk after every part.

    Attributes:
        work: where everything is; kept from call to call.
        out: where the small files are copied.
        ends: when the time of this call is over, of `time.monotonic`.
        dry: on a CPU, with a tiny model.
        gguf: the model to convert, where the package is not installed.
        later_s: seconds that later calls will have, which the recipe may count on.
    """

    work: Path
    out: Path
    ends: float
    dry: bool
    gguf: Path | None = None
    later_s: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """What is measured."""
        return DRY if self.dry else Sizes()

    @property
    def device(self) -> str:
        """Where engines run."""
        return "cpu" if self.dry or not torch.cuda.is_available() else "cuda"

    @property
    def dtype(self) -> str:
        """Of weights."""
        return "bfloat16" if self.device == "cuda" else "float32"

    @property
    def seconds_left(self) -> float:
        """Of the time that this call was given."""
        return self.ends - time.monotonic()

    def run(self, name: str, part: Callable[[Session], dict[str, Any]]) -> None:
        """One part; its figures or its error are written down."""
        print(f"{name}: {self.seconds_left:.0f} s left", flush=True)
        begun = time.monotonic()
        try:
            figures = part(self)
        except Exception as error:  # the next parts are worth having whatever went wrong in this one
            traceback.print_exc()
            figures = {"failed": f"{type(error).__name__}: {error}"}
        self.found[name] = {**figures, "seconds": round(time.monotonic() - begun, 1)}
        self.save()

    def save(self) -> None:
        """session.json, session.md, and copies of what is worth carrying away."""
        write_json(self.work / SESSION, self.found)
        write_text(self.work / "session.md", as_markdown(self.found))
        self.out.mkdir(parents=True, exist_ok=True)
        reports = [self.work / "run" / "report" / name for name in ("report.json", "report.md", "report.html")]
        for path in [*(self.work / name for name in (SESSION, "session.md", RATES)), *reports]:
            if path.exists() and path.parent.resolve() != self.out.resolve():
                shutil.copy(path, self.out / path.name)


def flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of nested figures."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def as_markdown(found: Mapping[str, Any]) -> str:
    """A heading and a table for each part."""
    lines = ["# A session on one device", ""]
    for name, figures in found.items():
        lines += [f"## {name}", "", "| figure | value |", "|---|---|"]
        lines += [f"| {key} | {value:,.4g} |" if isinstance(value, float) else f"| {key} | {value} |"
                  for key, value in flat(figures)]  # fmt: skip
        lines.append("")
    return "\n".join(lines)
