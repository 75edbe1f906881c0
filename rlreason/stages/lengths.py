"""How many tokens a recipe's prompts and completions have, from problems of its tasks: what an estimate of time needs.

No engine is asked. A completion is taken to be as long as the task's target with an end token behind it, or as long as
its budget where that is shorter: what a policy writes that was trained on targets. Packed rows need no counting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rlreason.engines.codec import TextCodec
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation
from rlreason.recipe.training import Mixture, Sampling
from rlreason.stages.binding import BoundRecipe, pick
from rlreason.tasks.contract import Task

TOKENS_A_WORD = 1.25
"""Tokens a word or mark, assumed of a model that is not here: SmolLM2's tokenizer gives 1.27 on prompts and 1.23 on
targets of complementary tasks with names of two words."""
_PROBLEMS = 16
_WORD = re.compile(r"\w+|[^\w\s]")

Lengths = tuple[float, float]
"""Mean tokens of (a prompt, a completion)."""


class LengthCounter:
    """Lengths by planned stage; problems of a cell are drawn once.

    Attributes:
        counted: with the model's own tokenizer. False: from words, see `TOKENS_A_WORD`; a model from scratch has a
            token a word.
    """

    def __init__(self, bound: BoundRecipe) -> None:
        self._tasks = bound.tasks
        self._codec = TextCodec(bound.model_path) if bound.model_path else None
        self._a_word = TOKENS_A_WORD if bound.absent_model else 1.0
        self._known: dict[tuple[str, str, str], Lengths] = {}
        self.counted = bound.absent_model is None

    def of_stage(self, stage: PlannedStage) -> Lengths | None:
        """Of what a stage samples; None where it samples nothing."""
        sampling: Sampling | None = getattr(stage.config, "sampling", None)
        if sampling is None:
            return None
        if isinstance(stage.config, Evaluation):
            weighted = self._asked(stage.config)
        else:
            weighted = [each for entry in stage.config.data for each in self._entry(entry)]
        whole = sum(weight for weight, _ in weighted)
        prompt = sum(weight * lengths[0] for weight, lengths in weighted) / whole
        completion = sum(weight * min(lengths[1], sampling.max_new_tokens) for weight, lengths in weighted) / whole
        return prompt, completion

    def _entry(self, entry: Mixture) -> Iterable[tuple[float, Lengths]]:
        task = pick(self._tasks, entry.task)
        cells = task.match_cells(entry.cells)
        return [(entry.weight / len(cells), self._cell(task, entry.level, cell.name)) for cell in cells]

    def _asked(self, evaluation: Evaluation) -> Sequence[tuple[float, Lengths]]:
        task = pick(self._tasks, evaluation.task)
        asked = [(level, evaluation.cells, evaluation.problems) for level in evaluation.levels]
        asked += [(probe.level, probe.cells, probe.problems) for probe in evaluation.probes.values()]
        found = []
        for level, patterns, problems in asked:
            cells = task.match_cells(patterns)
            found += [(problems / len(cells), self._cell(task, level, cell.name)) for cell in cells]
        return found

    def _cell(self, task: Task, level: str, cell: str) -> Lengths:
        key = (task.name, level, cell)
        if key not in self._known:
            problems = [task.problem(level, cell, index) for index in range(_PROBLEMS)]
            prompt = self._mean([problem.prompt for problem in problems])
            self._known[key] = prompt, self._mean([problem.target for problem in problems]) + 1
        return self._known[key]

    def _mean(self, texts: Sequence[str]) -> float:
        if self._codec is not None:
            tokens: float = sum(map(len, self._codec.encode(texts)))
        else:
            tokens = self._a_word * sum(len(_WORD.findall(text)) for text in texts)
        return tokens / len(texts)
