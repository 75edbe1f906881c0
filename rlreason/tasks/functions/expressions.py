"""Typed calls of the string functions: writing, reading, drawing and evaluating them.

Between the functions and the task. An expression is a tree of calls over texts and counts; the ones drawn here hold the
input at one leaf, and literals at the others, so that their number of operations is the length of the input's path.
What is drawn obeys four rules: no value is empty or longer than the limit, every operation changes the text to one not
seen before on the path, and the answer changes when the input does. Levels and splits are decided elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from rlreason.tasks.equations import Equation, Execution, Question
from rlreason.tasks.functions.strings import BY_NAME, SYMBOLS, Kind

INPUTS = (3, 10)
"""Fewest and most symbols of an input, where a recipe says no others."""
_LITERALS = (2, 3)
"""Fewest and most symbols of a literal text."""
_MOST = 3
"""Largest literal count; the smallest is 1."""
_PROBES = 2
_ALLOWED = frozenset(SYMBOLS)


@dataclass(frozen=True, slots=True)
class Call:
    """A function applied to arguments: other calls, texts and counts."""

    name: str
    arguments: tuple[Expression, ...]


Expression = Call | str | int


def write(expression: Expression) -> str:
    """The expression as words between spaces: "func_1 ( a b c , 2 )"."""
    if isinstance(expression, Call):
        return f"{expression.name} ( {' , '.join(map(write, expression.arguments))} )"
    return " ".join(expression) if isinstance(expression, str) else str(expression)


def read(left: str) -> Call | None:
    """The call that a text with single spaces spells, of a known function on literals of the right kinds, else None."""
    name, _, rest = left.partition(" ( ")
    function = BY_NAME.get(name)
    if function is None or not rest.endswith(" )"):
        return None
    written = rest.removesuffix(" )").split(" , ")
    if len(written) != len(function.takes):
        return None
    arguments = [_read_literal(part, kind) for part, kind in zip(written, function.takes, strict=True)]
    known = tuple(argument for argument in arguments if argument is not None)
    return Call(name, known) if len(known) == len(arguments) else None


def _read_literal(written: str, kind: Kind) -> str | int | None:
    symbols = written.split(" ")
    if not all(len(symbol) == 1 and symbol in _ALLOWED for symbol in symbols):
        return None
    if kind == "text":
        return "".join(symbols)
    return int(written) if len(symbols) == 1 and written.isdigit() else None


def execute(left: str) -> Execution | None:
    """See `equations.checker.Execute`. Texts are operands; counts are part of the operation."""
    call = read(left)
    if call is None:
        return None
    operands = tuple(write(argument) for argument in call.arguments if isinstance(argument, str))
    return Execution(operands, write(apply(call)))


def apply(call: Call) -> str:
    """Value of a call on literals."""
    return BY_NAME[call.name].apply(*call.arguments)


@dataclass(frozen=True, slots=True)
class Operation:
    """A call with a hole where the path from the input goes through."""

    name: str
    before: tuple[str | int, ...]
    after: tuple[str | int, ...]

    def on(self, operand: Expression) -> Call:
        return Call(self.name, (*self.before, operand, *self.after))

    @property
    def texts(self) -> tuple[str, ...]:
        """Literal texts beside the hole."""
        return tuple(argument for argument in (*self.before, *self.after) if isinstance(argument, str))


def draw_question(
    path: Sequence[str], longest: int, rng: random.Random, inputs: tuple[int, int] = INPUTS
) -> Question | None:
    """A question whose input goes through these functions, innermost first; None where a rule is broken (draw again).

    Args:
        longest: most symbols of any value.
        inputs: fewest and most symbols of the input.
    """
    alphabet = BY_NAME[path[0]].alphabet
    text = "".join(rng.choices(alphabet, k=rng.randint(*inputs)))
    operations: list[Operation] = []
    values = [text]
    for name in path:
        operation = _draw_operation(name, rng)
        value = apply(operation.on(values[-1]))
        if not 0 < len(value) <= longest or value in values:
            return None
        operations.append(operation)
        values.append(value)
    if not _depends_on_input(operations, values, alphabet, rng):
        return None
    expression: Expression = text
    equations: list[Equation] = []
    for place, operation in enumerate(operations):
        expression = operation.on(expression)
        equations.append(Equation(write(operation.on(values[place])), write(values[place + 1])))
    given = [text, *(literal for operation in operations for literal in operation.texts)]
    return Question(write(expression), tuple(map(write, given)), tuple(equations))


def _draw_operation(name: str, rng: random.Random) -> Operation:
    takes = BY_NAME[name].takes
    hole = rng.choice([place for place, kind in enumerate(takes) if kind == "text"])
    arguments = [
        rng.randint(1, _MOST) if kind == "count" else "".join(rng.choices(ascii_lowercase, k=rng.randint(*_LITERALS)))
        for kind in takes
    ]
    return Operation(name, tuple(arguments[:hole]), tuple(arguments[hole + 1 :]))


def _depends_on_input(
    operations: Sequence[Operation], values: Sequence[str], alphabet: str, rng: random.Random
) -> bool:
    """Whether inputs that differ from this one at every place lead to other answers."""
    for _ in range(_PROBES):
        value = "".join(rng.choice(alphabet.replace(symbol, "")) for symbol in values[0])
        for operation in operations:
            value = apply(operation.on(value))
        if value == values[-1]:
            return False
    return True
