"""The language of rules: conditions on three numbers, read from hostile text and compared by what they hold of.

A rule is made of comparisons of a, b, c and whole numbers with + - * %, min and max, joined by and, or, not. Its text
is cut into the words of the language, parsed by `ast` and walked node by node over all triples at once: nothing of it
is ever evaluated, and what is too long, too deep or too large is no rule.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

import numpy as np

LONGEST = 200
"""Characters of a rule."""
DEEPEST = 8
"""Parentheses inside each other."""
LARGEST = 2**40
"""No value on the way may be larger: numpy would wrap around beyond 2**63."""
_WORD = re.compile(r"[abc]\b|(?:and|or|not|min|max)\b|[0-9]{1,4}\b|<=|>=|==|!=|[-+*%<>(),]", re.ASCII)
_COMPARISONS: dict[type[ast.cmpop], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OPERATIONS: dict[type[ast.operator], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_CHOICES = {"min": np.minimum, "max": np.maximum}


class Grid:
    """All triples of the numbers 0 to `largest`, in order, and the places at which they stand."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        numbers = np.arange(largest + 1, dtype=np.int64)
        self.columns = dict(
            zip("abc", (axis.ravel() for axis in np.meshgrid(*[numbers] * 3, indexing="ij")), strict=True)
        )
        self.size = (largest + 1) ** 3

    def place(self, triple: tuple[int, int, int]) -> int:
        """Where a triple stands."""
        a, b, c = triple
        return (a * (self.largest + 1) + b) * (self.largest + 1) + c

    def triple(self, place: int) -> tuple[int, int, int]:
        """The triple that stands there."""
        rest, c = divmod(place, self.largest + 1)
        return (*divmod(rest, self.largest + 1), c)


class NoRuleError(ValueError):
    """A text is no rule of the language. Never leaves this module."""


def read_rule(text: str, grid: Grid) -> tuple[str, np.ndarray] | None:
    """The rule that a text states, in its plain form, and the triples [grid.size] bool that it holds of; None where the
    text is no rule."""
    try:
        tree = _parse(text)
        holds = _condition(tree, grid)
    except NoRuleError:
        return None
    return ast.unparse(tree), holds


def _parse(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise NoRuleError("too long")
    words, at, depth = [], 0, 0
    text = text.strip()
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            raise NoRuleError(f"no word at {at}")
        words.append(word.group())
        depth += {"(": 1, ")": -1}.get(word.group(), 0)
        if depth > DEEPEST:
            raise NoRuleError("too deep")
        at = word.end()
        while at < len(text) and text[at] == " ":
            at += 1
    try:
        return ast.parse(" ".join(words), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NoRuleError("no expression") from None


def _condition(node: ast.expr, grid: Grid) -> np.ndarray:
    """[grid.size] bool."""
    if isinstance(node, ast.BoolOp):
        parts = [_condition(part, grid) for part in node.values]
        joined: np.ndarray = (np.logical_and if isinstance(node.op, ast.And) else np.logical_or).reduce(parts)
        return joined
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_condition(node.operand, grid)
    if isinstance(node, ast.Compare):
        sides = [_number(side, grid)[0] for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
        compared: np.ndarray = np.logical_and.reduce([_COMPARISONS[type(op)](left, right) for op, left, right in pairs])
        return compared
    raise NoRuleError("no condition")


def _number(node: ast.expr, grid: Grid) -> tuple[np.ndarray, int]:
    """([grid.size] int64, a bound on how large they are)."""
    if isinstance(node, ast.Name) and node.id in grid.columns:
        return grid.columns[node.id], grid.largest
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return np.full(grid.size, node.value), node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value, bound = _number(node.operand, grid)
        return -value, bound
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _CHOICES
        and not node.keywords
    ):
        values = [_number(part, grid) for part in node.args]
        if len(values) < 2:
            raise NoRuleError("a choice of one")
        return _CHOICES[node.func.id].reduce([value for value, _ in values]), max(bound for _, bound in values)
    if isinstance(node, ast.BinOp):
        return _operation(node, grid)
    raise NoRuleError("no number")


def _operation(node: ast.BinOp, grid: Grid) -> tuple[np.ndarray, int]:
    (left, most_left), (right, most_right) = _number(node.left, grid), _number(node.right, grid)
    if isinstance(node.op, ast.Mod):
        # by a number that is written out: a rule says of every triple whether it holds, and nothing is divided by 0
        if not isinstance(node.right, ast.Constant) or not most_right:
            raise NoRuleError("a remainder by no number")
        return left % right, most_right
    if type(node.op) not in _OPERATIONS:
        raise NoRuleError("no operation")
    bound = most_left * most_right if isinstance(node.op, ast.Mult) else most_left + most_right
    if bound > LARGEST:
        raise NoRuleError("too large")
    return _OPERATIONS[type(node.op)](left, right), bound
