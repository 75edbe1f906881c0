"""Arithmetic that stands in a derivation: equations found in a text, evaluated exactly.

Two forms are read: calculator annotations (`<<48/2=24>>`) and plain statements (`48 / 2 = 24`, `3 x $5 = $15`). Only
numbers, + - * / and brackets are evaluated, over rationals, from a syntax tree that allows nothing else; powers, names
and calls are not read. Whether an equation belongs where it stands is the checker's to say.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from rlreason.tasks.files.answers import NUMBER, exact

MOST = 200
"""Equations that are read of one text."""
_LONGEST = 200
_AMOUNT = rf"-?\$?(?:{NUMBER})%?"
_TERM = rf"[(]{{0,4}}{_AMOUNT}[)]{{0,4}}"
_OPERATORS = "-+*/x\u00d7\u00f7\u2212"
_SIDE = rf"{_TERM}(?:[ \t]{{0,2}}[{_OPERATORS}][ \t]{{0,2}}{_TERM}){{0,12}}+"
_EQUATION = re.compile(
    rf"<<([^<>\n]{{1,{_LONGEST}}})>>|(?<![\w.,$%)])({_SIDE}(?:[ \t]{{0,2}}=[ \t]{{0,2}}{_SIDE}){{1,3}}+)", re.ASCII
)
_NUMBER = re.compile(rf"({NUMBER})(%?)", re.ASCII)
_OPERATOR_BEFORE = re.compile(r"[-+*/^=<>_{\\\u00d7\u00f7\u2212][ \t]*$")
_GOES_ON = re.compile(r"[\w^]|[ \t]{0,2}[-+*/^=\u00d7\u00f7\u2212][ \t]{0,2}[\w(.$\\]", re.ASCII)
_ALLOWED = re.compile(r"[-+*/(). \d]+", re.ASCII)
_SAME = str.maketrans({"$": "", "\u00d7": "*", "x": "*", "\u00f7": "/", "\u2212": "-"})
_PERCENT = re.compile(rf"({NUMBER})%", re.ASCII)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})", re.ASCII)
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation as it stands in a text.

    Attributes:
        start, end: span in the text, the marks of an annotation included.
        sides: the texts between its equality signs; at least one.
        values: what each is worth, None where it cannot be read.
    """

    start: int
    end: int
    sides: tuple[str, ...]
    values: tuple[Fraction | None, ...]

    @property
    def holds(self) -> bool:
        """Every side is worth the same. A result with decimals may be rounded to them ("10/3=3.33")."""
        first = self.values[0]
        return len(self.sides) > 1 and all(
            _equal(first, value, side) for value, side in zip(self.values[1:], self.sides[1:], strict=True)
        )

    @property
    def result(self) -> Fraction | None:
        """The value of the last side."""
        return self.values[-1]

    @property
    def operands(self) -> frozenset[Fraction]:
        """The numbers of all sides but the last."""
        return frozenset(value for side in self.sides[:-1] for value in _amounts(side))

    @property
    def words(self) -> str:
        """The equation without its spaces, to tell whether it was said before."""
        return "=".join("".join(side.split()) for side in self.sides)


def equations(text: str) -> Iterator[Equation]:
    """The first `MOST` equations of a text, in order. A plain statement counts only where every side can be read and it
    is not a piece of a longer formula."""
    found = 0
    for match in _EQUATION.finditer(text):
        if found == MOST:
            return
        annotated, stated = match.groups()
        sides = tuple(side.strip() for side in (annotated or stated).split("="))
        equation = Equation(match.start(), match.end(), sides, tuple(map(value_of, sides)))
        if annotated is None and (None in equation.values or _is_a_piece(text, match.start(), match.end())):
            continue
        if annotated is None and not any(operation in side[1:] for side in sides for operation in _OPERATORS):
            continue  # "5 = 5" states nothing
        found += 1
        yield equation


def value_of(source: str) -> Fraction | None:
    """The exact value of an arithmetic expression; None where it is anything else, too long, or divides by 0."""
    if len(source) > _LONGEST:
        return None
    text = _THOUSANDS.sub("", _PERCENT.sub(r"(\1/100)", source)).translate(_SAME).strip()
    if not _ALLOWED.fullmatch(text):
        return None
    try:
        return _value(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def numbers(text: str) -> frozenset[Fraction]:
    """Every number that a text names; a percentage also as a share of one, and beside it the 100 that it is of."""
    found: set[Fraction] = set()
    for number, percent in _NUMBER.findall(text):
        found.add(exact(number))
        if percent:
            found |= {exact(number) / 100, Fraction(100)}
    return frozenset(found)


def _amounts(side: str) -> Iterator[Fraction]:
    for number, percent in _NUMBER.findall(side):
        yield exact(number) / 100 if percent else exact(number)


def _is_a_piece(text: str, start: int, end: int) -> bool:
    return bool(_OPERATOR_BEFORE.search(text, max(0, start - 8), start) or _GOES_ON.match(text, end))


def _equal(value: Fraction | None, stated: Fraction | None, side: str) -> bool:
    if value is None or stated is None:
        return False
    _, point, decimals = side.rstrip(" %)").rpartition(".")
    if not (point and decimals.isdigit()):
        return value == stated
    unit = Fraction(1, 10 ** len(decimals)) / (100 if side.endswith("%") else 1)
    return 2 * abs(value - stated) <= unit


def _value(node: ast.expr, source: str) -> Fraction:
    """
    Raises:
        ValueError: the tree holds anything but numbers, signs and the four operations.
        ZeroDivisionError
    """
    match node:
        case ast.Constant():
            return Fraction(source[node.col_offset : node.end_col_offset])
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, source)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand, source)
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](_value(node.left, source), _value(node.right, source))
    raise ValueError(f"{type(node).__name__} is not arithmetic")
