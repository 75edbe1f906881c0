r"""The final answer of a text, and whether two answers are the same.

An answer stands in the last \boxed{...}, after the last "####", or after the last "answer is" (or "answer:"), whichever
comes last. Every function takes time linear in the text and never raises. What an answer earns is not decided here.

Comparing as mathematics hands a text to math-verify, whose parser evaluates what it reads and may take for ever: it
belongs into a process that can be killed, as the workers that score are. Short, shallow answers alone get there.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

Grade = Literal["exact", "number", "math"]

LONGEST = 500
"""Characters; a longer answer counts as none."""
DEEPEST = 10
"""Brackets around brackets that math-verify is given; its time doubles with each."""
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40}"
"""A number without its sign: "1,234.5", ".5"."""
_TRIES = 8
_SIGNS = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|####|\banswer\s{0,4}(?:is\b|:|=)", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s:=*]{0,8}")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_AMOUNT = re.compile(rf"([-+\u2212]?)\s?\$?\s?({NUMBER})(?:\s?/\s?({NUMBER}))?", re.ASCII)
_DELIMITED = re.compile(r"\\boxed|\\\(|\\\[|\$")


def find_answer(text: str) -> str | None:
    """The final answer without outer space; None where there is none. Of the last eight places, the last that holds
    anything counts."""
    for sign in reversed(deque(_SIGNS.finditer(text), maxlen=_TRIES)):
        if sign.group().endswith("{"):
            answer = _to_closing_brace(text[sign.end() : sign.end() + LONGEST + 1])
        else:
            start = sign.end()
            between = _BETWEEN.match(text, start)
            answer = _line(text, between.end() if between else start)
        if answer:
            return answer
    return None


def _to_closing_brace(text: str) -> str:
    depth = 1
    for token in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return text[: token.start()].strip()
    return ""


def _line(text: str, start: int) -> str:
    """The line that begins there, without stars, space and a full stop at its end; "" where it is too long."""
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end].strip(" \t\r*")
    return line.removesuffix(".").rstrip(" \t*") if len(line) <= LONGEST else ""


def plain_text(answer: str) -> str:
    """The answer as it is compared to the letter: without outer and repeated space, a last full stop and outer $."""
    words = " ".join(answer.split()).removesuffix(".")
    return words.removeprefix("$").removesuffix("$").strip() if words.endswith("$") else words.strip()


def number_in(answer: str) -> Fraction | None:
    """The one number that an answer holds, after its last "=": "$1,200", "x = 3/4", "-5 degrees", "50 %" (which is 50).
    None where there is none, or several."""
    if len(answer) > LONGEST:
        return None
    found = _AMOUNT.findall(answer.rpartition("=")[2])
    if len(found) != 1:
        return None
    sign, number, below = found[0]
    value = exact(number)
    if below:
        if not exact(below):
            return None
        value /= exact(below)
    return -value if sign in ("-", "\u2212") else value


def exact(number: str) -> Fraction:
    """The value of a text that NUMBER matches."""
    return Fraction(number.replace(",", ""))


def same_text(gold: str, said: str) -> bool:
    """The same to the letter, but for space, a last full stop and outer $."""
    return plain_text(gold) == plain_text(said)


def same_number(gold: str, said: str) -> bool:
    """The same value."""
    value = number_in(gold)
    return value is not None and value == number_in(said)


def same_mathematics(gold: str, said: str) -> bool:
    """Equal as mathematics, by math-verify; see the module."""
    if same_text(gold, said):
        return True
    if len(said) > LONGEST or _depth(said) > DEEPEST:
        return False
    parse, verify = _math_verify()
    try:
        return bool(verify(_parsed(_delimited(gold)), parse(_delimited(said)), timeout_seconds=None))
    except Exception:  # its parser meets whatever a policy wrote, and what it cannot read is not the answer
        return False


GRADERS: Mapping[Grade, Callable[[str, str], bool]] = {
    "exact": same_text,
    "number": same_number,
    "math": same_mathematics,
}
"""(gold answer, answer found) -> whether it is right."""


def _depth(text: str) -> int:
    return max(accumulate(((one in "([{") - (one in ")]}") for one in text), initial=0))


def _delimited(answer: str) -> str:
    """As math-verify finds it: bare LaTeX in a box."""
    return answer if _DELIMITED.search(answer) else rf"\boxed{{{answer}}}"


@lru_cache(maxsize=1024)
def _parsed(gold: str) -> Any:
    return _math_verify()[0](gold)


@lru_cache(maxsize=1)
def _math_verify() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """parse(text) and verify(gold, said, ...); imported here because sympy takes a second."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    # its timeouts are signals, which only a main thread can take
    return lambda text: parse(text, targets, parsing_timeout=None), verify
