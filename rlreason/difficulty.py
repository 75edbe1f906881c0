"""How hard a task's cells are, measured: what a model gets right and how long it writes, beside what a guesser and an
interpolator get right.

For `rlreason difficulty`: one greedy completion a problem, in this process, checked by the task alone. Runs, with
intervals and pass@k, are the business of recipes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlreason.tasks.contract import Task
from rlreason.tasks.sampling import sample


@dataclass(frozen=True, slots=True)
class CellDifficulty:
    """One cell at one level.

    Attributes:
        problems: how many were asked.
        right, every_step_right: shares of the model's greedy completions; None without a model.
        tokens: mean length of the completions; None without a model.
        cut_off: share of them that the budget ended; None without a model.
        chance: probability that a guesser who knows the form is right, mean over the problems' cell.
        answer_space: about how many answers are left to somebody who cannot solve it; None where the task does not say.
        interpolation: the best of the interpolators' shares (`tasks.interpolation`); None where not asked for.
    """

    cell: str
    level: str
    problems: int
    right: float | None
    every_step_right: float | None
    tokens: float | None
    cut_off: float | None
    chance: float
    answer_space: float | None
    interpolation: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure(
    task: Task,
    level: str,
    cells: Sequence[str],
    *,
    model: Path | None,
    problems: int = 64,
    max_new_tokens: int = 128,
    interpolation: bool = False,
) -> list[CellDifficulty]:
    """Ask the same problems of everybody, cell by cell.

    Args:
        cells: names.
        model: Hugging Face directory; None: only chance and interpolation.
        problems: most problems a cell.
        max_new_tokens: the model's budget.
        interpolation: fit the interpolators, which takes seconds to a minute a cell.
    Raises:
        TaskError: a cell has no problems at this level.
        ModelError: the directory holds no model or no tokenizer.
    """
    ask = _Model(model, max_new_tokens) if model is not None else None
    found = []
    for cell in cells:
        asked = sample(task, level, [cell], problems)
        right = every = tokens = cut = None
        if ask is not None:
            texts, lengths, stopped = ask([problem.prompt for problem in asked])
            checks = [task.check(problem, text) for problem, text in zip(asked, texts, strict=True)]
            right = sum(check.answer_correct for check in checks) / len(asked)
            every = sum(check.derivation_correct for check in checks) / len(asked)
            tokens, cut = sum(lengths) / len(asked), 1 - sum(stopped) / len(asked)
        found.append(
            CellDifficulty(
                cell=cell,
                level=level,
                problems=len(asked),
                right=right,
                every_step_right=every,
                tokens=tokens,
                cut_off=cut,
                chance=task.chance(level, cell),
                answer_space=task.answer_space(level, cell),
                interpolation=_interpolation(task, level, cell, problems) if interpolation else None,
            )
        )
    return found


def _interpolation(task: Task, level: str, cell: str, problems: int) -> float:
    from rlreason.tasks.interpolation import interpolation_scores  # scikit-learn takes a second to import

    return max(interpolation_scores(task, level, [cell], problems=problems).values())


class _Model:
    """Greedy completions of a Hugging Face directory, on a GPU where there is one."""

    def __init__(self, folder: Path, max_new_tokens: int) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of weights that load in a moment
        import torch

        from rlreason.engines.codec import TextCodec
        from rlreason.engines.protocols import SamplingSettings
        from rlreason.engines.torch_generator import TorchGenerator

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "bfloat16" if device == "cuda" else "float32"
        self._codec = TextCodec(folder)
        self._generator = TorchGenerator(folder, dtype=dtype, max_concurrent=64, device=device)
        self._settings = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=max_new_tokens)

    def __call__(self, prompts: Sequence[str]) -> tuple[list[str], list[int], list[bool]]:
        """(texts, tokens of each, whether each ended by itself)."""
        batch = self._generator.generate(self._codec.encode(prompts), [0] * len(prompts), self._settings)
        texts = self._codec.decode([tokens for tokens, _ in batch.split()])
        return texts, batch.lengths.tolist(), batch.stopped.tolist()
