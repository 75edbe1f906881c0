"""Scores an answer with reasoning-gym's own scorer, and keeps text that a model wrote away from those that evaluate it.

Some of its scorers hand the answer to eval or to sympy's parser. Those are given only answers of the form that they ask
for, so that whatever they evaluate is a number, a list or an expression; any other answer is refused and pays 0. A
scorer that evaluates and has no such form here is refused with its dataset (`require_harmless`): a new version of the
library brings none in unseen. What is left to the pool: a scorer that takes too long or too much memory is killed.
"""

from __future__ import annotations

import ast
import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, localcontext
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from rlreason.errors import TaskError

Entry = Mapping[str, Any]
"""A problem as reasoning-gym makes it: "question", "answer", "metadata"."""

LONGEST = 2_000
"""Characters of an answer, where the gold one is not longer itself."""
LARGEST_POWER = 100
_FUNCTIONS = frozenset(
    [
        *("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
        *("exp", "log", "ln", "sqrt", "erf", "erfi", "Si", "Ci", "Abs"),
    ]
)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub)
_EVALUATORS = frozenset(
    [
        *("eval", "exec", "__import__", "system", "popen", "Popen"),
        *("parse_expr", "sympify", "simplify", "nsimplify", "Rational", "lambdify"),  # sympy's, given text
    ]
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What an answer is worth.

    Attributes:
        reward: their score, finite; 1 or more is right.
        refused: the answer was not of the scorer's form, and was not shown to it.
        raised: the scorer failed on it.
    """

    reward: float
    refused: bool = False
    raised: bool = False


def score(name: str, dataset: Any, answer: str, gold: str, entry: Entry) -> Scored:
    """Their verdict on an answer.

    Args:
        name: of the dataset; `dataset`: the object that made the entry.
        answer: without space around it; `gold`: the right one, "" where the entry has none.
    Raises:
        MemoryError: scoring it did not fit.
    """
    if len(answer) > max(LONGEST, 2 * len(gold)) or (name in _FORMS and not _FORMS[name](answer)):
        return Scored(0.0, refused=True)
    if name in _EXACT:
        return Scored(float(answer == gold))
    whole = gold if answer == gold.strip() else answer  # space around the gold answer counts in some of them
    try:
        with localcontext(Context()):  # as precise as any other process
            reward = float(dataset.score_answer(whole, copy.deepcopy(entry)))  # some write into the entry
    except MemoryError:
        raise
    except Exception:  # made for well-formed answers, many of them fall over others
        return Scored(0.0, raised=True)
    return Scored(reward) if math.isfinite(reward) else Scored(0.0, raised=True)


def require_harmless(name: str, dataset: type[Any], where: str) -> None:
    """Refuse a dataset whose scorer may run answers as code, unless `score` knows the form of its answers.

    Raises:
        TaskError: names the calls.
    """
    found = sorted(evaluators(dataset))
    if found and name not in _FORMS:
        raise TaskError(
            f"{where}: the scorer of reasoning-gym's dataset {name!r} uses {', '.join(found)}, which could run what a "
            "model wrote, and rlreason does not know which answers are harmless to it; install the version of "
            "reasoning-gym that requirements/ names, or leave the dataset out"
        )


def evaluators(dataset: type[Any]) -> set[str]:
    """Names of calls that run text as code, in a dataset's scorer and in what it calls within its own package."""
    package = dataset.__module__.partition(".")[0]
    waiting: list[Any] = [dataset.score_answer]
    own: set[CodeType] = set()
    used: set[str] = set()
    while waiting:
        function = waiting.pop()
        if function.__code__ in own:
            continue
        own.add(function.__code__)
        names = set(_names(function.__code__))
        used |= names
        for name in names:
            for called in (function.__globals__.get(name), getattr(dataset, name, None)):
                members = list(vars(called).values()) if isinstance(called, type) else [called]
                functions = (getattr(member, "__func__", member) for member in members)  # of static and class methods
                waiting += [
                    each for each in functions if isinstance(each, FunctionType) and each.__module__.startswith(package)
                ]
    return (used & _EVALUATORS) - {code.co_name for code in own}  # a parse_expr of its own is read like any function


def _names(code: CodeType) -> Iterator[str]:
    """Global names and attributes that a function uses, those of the functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _pattern(pattern: str) -> Callable[[str], bool]:
    allowed = re.compile(pattern, re.ASCII)
    return lambda answer: allowed.fullmatch(answer) is not None


def _expression(answer: str, *, symbols: bool) -> bool:
    """Whether it is numbers, signs, + - * / and parentheses; with `symbols` also variables of one letter, named
    functions of one argument, and powers that stay small.

    sympy's parser splits it into the same words, and knows each of these as a number, a symbol or a function.
    """
    if re.fullmatch(r"[\w\s.+\-*/()]*", answer, re.ASCII) is None or "_" in answer:
        return False
    try:
        tree = ast.parse(answer.strip(), mode="eval").body
        return _harmless(tree, symbols)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also of parentheses a hundred deep
        return False


def _harmless(node: ast.expr, symbols: bool) -> bool:
    inside = partial(_harmless, symbols=symbols)
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, _OPERATORS) and inside(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return symbols and inside(left) and inside(right) and _stays_small(right)
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _OPERATORS) and inside(left) and inside(right)
        case ast.Name(id=name):
            return symbols and (len(name) == 1 or name == "pi")
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            return symbols and name in _FUNCTIONS and inside(argument)
    return False


def _stays_small(exponent: ast.expr) -> bool:
    """No large number, and no power but of a variable: 9**9**9 is a number of 369 million digits."""
    for node in ast.walk(exponent):
        match node:
            case ast.Constant(value=int() | float() as value) if value > LARGEST_POWER:
                return False
            case ast.BinOp(left=left, op=ast.Pow()) if not isinstance(left, ast.Name):
                return False
    return True


_EXACT = frozenset({"game_of_life_halting"})
"""Datasets whose own scorer pays any answer in full; here the answer must be the gold one."""

_FORMS: Mapping[str, Callable[[str], bool]] = {
    # evaluate the answer
    "binary_matrix": _pattern(r"[\d\s,\[\]]*"),
    "spiral_matrix": _pattern(r"[\d\s,\[\]]*"),
    "string_insertion": _pattern(r"[A-E\s,'\"\[\]]*"),
    "n_queens": _pattern(r"[Q_\s,'\"\[\]]*"),
    "countdown": partial(_expression, symbols=False),
    "puzzle24": partial(_expression, symbols=False),
    "simple_integration": partial(_expression, symbols=True),
    "intermediate_integration": partial(_expression, symbols=True),
    # evaluate the gold answer or the question, never the answer
    "bitwise_arithmetic": _pattern(r"[0-9a-fA-FxX+\-]*"),
    # pay in full for "nan", which no difference to the gold answer is too large for
    "number_sorting": _pattern(r"[\d\s,.'\"\[\]eE+\-]*"),  # evaluates the gold answer too
    "complex_arithmetic": _pattern(r"[\d\s.+\-ijIJ()]*"),
    # a fraction written 1e999999999 takes all memory
    "coin_flip": _pattern(r"[\d\s.,/+\-]*(e[+\-]?\d{1,2})?"),
}
"""Dataset -> whether an answer may be shown to its scorer."""
