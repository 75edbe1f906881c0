"""Where the final answer stands in a completion: pure functions of a text, shared by the graders in `rewards/`.

A recipe chooses with a grader's kwarg `answer_in`: one name of `PLACES`, or several, of which the first that is found
counts. Each function takes time linear in the text, whatever the text, and never raises. What the answer means, and
whether it is right, is the grader's to say.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlreason.errors import RewardError, one_of

LONGEST_ANSWER = 10_000
"""Characters; a longer answer counts as not found, which bounds what a grader must chew on."""
DECIMAL = r"(?:(?:\d{1,3}(?:,\d{3}(?!\d))++|\d++)(?:\.\d++)?|(?<!\d)\.\d++)"
"""A number without its sign, thousands in threes between commas: "1,234.5", ".5"."""
SIGN = r"(?<![\w)])[-+\u2212]"
"""A sign, as opposed to the dash of "10-5". The last one is the typographic minus."""

AnswerIn = str | Sequence[str]
USUAL: AnswerIn = ("boxed", "answer_tag", "phrase", "last_line")

_BRACES = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|\\.|[{}]", re.DOTALL)
_PHRASE = re.compile(r"(?:\banswer[*_]{0,2}\s{0,4}(?:is\b|:|=)|####)[*_:=\s]{0,8}", re.IGNORECASE)
_NUMBER = re.compile(rf"(?:{SIGN})?(?:{DECIMAL})", re.ASCII)
_DRESSING = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|operatorname|left|right|displaystyle)(?![A-Za-z])"
    r"|\\[()\[\]]|\\?[${}]|\*\*"
)
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~")
_ESCAPED = re.compile(r"\\([%#&_])")


def find(text: str, answer_in: AnswerIn) -> str | None:
    """The final answer, without outer space; None where it stands in none of the places, or is too long.

    Args:
        text: the completion.
        answer_in: a name of `PLACES`, or several: the first that is found counts.
    Raises:
        RewardError: there is no such place (the recipe's mistake, never the text's).
    """
    for place in (answer_in,) if isinstance(answer_in, str) else answer_in:
        if place not in PLACES:
            raise RewardError(one_of("answer_in", place, PLACES))
        answer = PLACES[place](text)
        if answer is not None and answer.strip():
            return answer.strip() if len(answer) <= LONGEST_ANSWER else None
    return None


def boxed(text: str) -> str | None:
    r"""What the last \boxed{...} (or \fbox) with balanced braces holds; escaped braces do not count."""
    starts = [start for start in (text.find(r"\boxed"), text.find(r"\fbox")) if start >= 0]
    if not starts:
        return None
    open_braces: list[int | None] = []  # where the content of a box begins; None for any other brace
    last: tuple[int, int] | None = None
    for token in _BRACES.finditer(text, min(starts)):
        mark = token.group()
        if mark == "}":
            begin = open_braces.pop() if open_braces else None
            if begin is not None and (last is None or begin > last[0]):
                last = begin, token.start()
        elif mark.endswith("{") and mark != r"\{":
            open_braces.append(None if mark == "{" else token.end())
    return None if last is None else text[slice(*last)]


def tagged(text: str, tag: str = "answer") -> str | None:
    """What the last closed <tag>...</tag> holds."""
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, max(end, 0))
    return None if start < 0 else text[start + len(tag) + 2 : end]


def after_phrase(text: str) -> str | None:
    """The line after the last "answer is", "answer:", "answer =" or "####"; a full stop at its end is left out.

    Sentences are not told apart ("Dr. Who"): what else stands on that line is part of the answer.
    """
    last = _last(_PHRASE, text)
    return None if last is None else _line(text[last.end() :])


def last_line(text: str) -> str | None:
    """The last line that is not blank, without a full stop at its end."""
    stripped = text.rstrip()
    return _line(stripped[stripped.rfind("\n") + 1 :]) if stripped else None


def last_number(text: str) -> str | None:
    """The last number, its sign included and nothing around it: no fraction, exponent or unit."""
    last = _last(_NUMBER, text)
    return None if last is None else last.group()


def plain(text: str) -> str:
    r"""The text without LaTeX and Markdown dressing: \text{...}, $, \left, braces, ** and spacing commands."""
    return _ESCAPED.sub(r"\1", _DRESSING.sub("", _SPACING.sub(" ", text))).strip()


def from_detail(detail: Mapping[str, Any], key: str, problem: str) -> Any:
    """`problem.detail[key]`, for graders whose recipe says that it holds what they need.

    Raises:
        RewardError: the key is not there; names the problem and the keys that are.
    """
    if key not in detail:
        raise RewardError(one_of(f"problem {problem!r}: key of its detail", key, detail))
    return detail[key]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def _line(text: str) -> str:
    line = text.partition("\n")[0].strip()
    return line.removesuffix(".").rstrip("* ").removesuffix(".")


PLACES: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "answer_tag": tagged,
    "phrase": after_phrase,
    "last_line": last_line,
    "last_number": last_number,
    "whole": lambda text: text,
}
