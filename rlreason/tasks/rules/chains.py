"""Chains of binary operations on integers, from left to right: what operators and modular arithmetic share.

The rules say what an operation is and which chains there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlreason.tasks.equations import Equation, Question

Operation = tuple[str, int]
"""Name of an operator and its right operand."""
Apply = Callable[[int, str, int], int]
"""Left operand, operator, right operand -> value."""


def run_chain(start: int, operations: Sequence[Operation], apply: Apply) -> list[int]:
    """Values on the way, the start first."""
    values = [start]
    for operator, operand in operations:
        values.append(apply(values[-1], operator, operand))
    return values


def chain_question(start: int, operations: Sequence[Operation], apply: Apply, suffix: str = "") -> Question:
    """The question what a chain comes to, whose values on the way must all differ.

    Args:
        suffix: what stands after the whole expression and after every left side.
    """
    values = run_chain(start, operations, apply)
    equations = tuple(
        Equation(f"{value} {operator} {operand}{suffix}", str(after))
        for value, after, (operator, operand) in zip(values[:-1], values[1:], operations, strict=True)
    )
    expression = str(start)
    for place, (operator, operand) in enumerate(operations):
        inner = f"( {expression} )" if place else expression
        expression = f"{inner} {operator} {operand}"
    given = (str(start), *(str(operand) for _, operand in operations))
    return Question(f"{expression}{suffix}", given, equations)
