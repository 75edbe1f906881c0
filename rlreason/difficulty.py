"""How hard a task's cells are, measured: what a model gets right and how long it writes, beside what a guesser and an
interpolator get right.

For `rlreason difficulty`: one greedy completion a problem, made in this process and checked by the task alone, in a
worker that a hostile text can hang or crash without harm. Runs, with intervals and pass@k, are the business of recipes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlreason.tasks.contract import Task
from rlreason.tasks.registry import task_spec
from rlreason.tasks.sampling import sample
from rlreason.types import Problem, Score


@dataclass(frozen=True, slots=True)
class CellDifficulty:
    """One cell at one level.

    Attributes:
        problems: how many were asked.
        right, every_step_right: shares of the model's greedy completions, what could not be judged counting as not
            right; None without a model, or where the task does not check steps.
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
            scores = _judged(task, asked, texts)
            right = sum(score.correct is True for score in scores) / len(asked)
            if any(score.derivation_correct is not None for score in scores):
                every = sum(score.derivation_correct is True for score in scores) / len(asked)
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


def _judged(task: Task, problems: Sequence[Problem], texts: Sequence[str]) -> list[Score]:
    from rlreason.recipe.schema import Rubric
    from rlreason.rewards.pool import ScoringPool

    with ScoringPool(Rubric(), {task.name: task_spec(task)}) as pool:
        return pool.score(list(zip(problems, texts, strict=True)))


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
