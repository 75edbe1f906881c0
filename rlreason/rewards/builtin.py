"""The rewards that ship inside the package: each reads only the task's own check of the completion.

Examples to copy from stand in the top-level `rewards/` folder.
"""

from __future__ import annotations

from typing import Any

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def answer(problem: Problem, completion: str, derivation: DerivationCheck) -> float:
    """1 where the final answer is the gold one, else 0. Steps are not looked at."""
    return float(derivation.answer_correct)


@reward
def derivation(problem: Problem, completion: str, derivation: DerivationCheck) -> float:
    """Share of the steps that are right; 1 only where the whole derivation is, the answer included.

    A derivation that stops early, or whose answer does not follow, counts as one more step that is not right: two
    right steps and a wrong answer pay 2/3.

    Raises:
        ValueError: the task does not check the steps of this problem.
    """
    if derivation.derivation_correct is None:
        raise ValueError(
            f"task {problem.task!r} does not check the steps of problem {problem.id!r}; use "
            "rlreason.rewards.builtin:answer"
        )
    if derivation.derivation_correct:
        return 1.0
    right = sum(step.verdict == "right" for step in derivation.steps)
    return right / max(len(derivation.steps), right + 1)


@reward
def format(problem: Problem, completion: str, derivation: DerivationCheck) -> float:
    """1 where a final answer could be read from the text, right or wrong, else 0."""
    return float(derivation.answer is not None)


@reward
def environment(problem: Problem, completion: str, derivation: DerivationCheck) -> dict[str, Any]:
    """What the task itself pays, and the parts it was made from: for tasks that come with a scorer of their own.

    Raises:
        ValueError: the task pays nothing of its own.
    """
    if derivation.reward is None:
        raise ValueError(f"task {problem.task!r} has no reward of its own; use rlreason.rewards.builtin:answer")
    return {"reward": derivation.reward, "parts": derivation.parts}
