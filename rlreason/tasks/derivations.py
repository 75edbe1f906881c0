"""How every task's checker reads a completion: its pieces, the answer after the conclusion, and the verdict over all.

What makes a piece right is the task's own affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rlreason.types import DerivationCheck, Step

_INK = re.compile(r"\S")


def pieces(text: str, start: int, stop: int, mark: str, most: int) -> Iterator[tuple[int, int]]:
    """Spans of the first `most` pieces of text[start:stop] that hold anything, without the space around them.

    Args:
        mark: what ends a piece and belongs to it: "." or a line's end.
    """
    for _ in range(most):
        first = _INK.search(text, start, stop)
        if first is None:
            return
        end = text.find(mark, first.start(), stop) + 1 or stop
        yield first.start(), first.start() + len(text[first.start() : end].rstrip())
        start = end


def answer_after(text: str, start: int, longest: int) -> tuple[str | None, int]:
    """The answer that begins at `start` (negative: there is no conclusion), up to a full stop, and where the text goes
    on after it. Words are separated by single spaces; more than `longest` characters are no answer."""
    if start < 0:
        return None, len(text)
    end = text.find(".", start)
    end = len(text) if end < 0 else end
    answer = " ".join(text[start:end].split()) if end - start <= longest else ""
    return answer or None, end + 1


def verdict(
    steps: Sequence[Step], trailing: Sequence[Step], *, complete: bool, answer: str | None, gold: str
) -> DerivationCheck:
    """The verdict over a completion whose steps were judged.

    Args:
        steps: before the conclusion.
        trailing: what goes on after the answer; none of it is right.
        complete: the steps reach the end of the gold derivation.
        answer: None where none could be read.
        gold: the right answer.
    """
    error = next((index for index, step in enumerate(steps) if step.verdict != "right"), None)
    kind = ""
    if error is not None:
        kind = steps[error].kind
    elif not complete or answer is None:
        error, kind = len(steps), "stop"
    elif answer != gold:
        error, kind = len(steps), "answer"
    elif trailing:
        error, kind = len(steps), "stop"
    return DerivationCheck(answer, answer == gold, error is None, (*steps, *trailing), error, kind)
