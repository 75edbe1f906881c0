"""Judges a completion line by line: runs the algorithm along with it, state by state.

A line is right where it is the next state's, given the states so far: a wrong result is judged once, and then carried
on with as the text has it. The work is bounded by the first `MAX_LINES` lines of at most `MAX_LINE` characters, and by
`MAX_LOOK_AHEADS` searches of the states ahead for one that a line jumps to. Nothing of the text is evaluated.

Kinds of a line that is not right: fetch (the operands are not what the tape holds), operation (another operation, or
another result), control (it goes elsewhere than the state says, or is no state of the run), skipped (a later state:
some were left out before it), repeated, stop (goes on past the last state or after the answer), format (not a line of
the task). Two belong to the derivation as a whole: stop (it ends early, or without an answer) and answer (right lines,
but another answer than theirs).
"""

from __future__ import annotations

import re

from rlreason.tasks.derivations import pieces, verdict
from rlreason.tasks.tail.notation import Notation
from rlreason.tasks.tail.states import Algorithm, Given, State, Values, execute, read
from rlreason.tasks.tail.text import Parts, Writer, canonical
from rlreason.types import DerivationCheck, Problem, Step, StepVerdict

MAX_LINES = 512
MAX_LINE = 2_000
MAX_LOOK_AHEADS = 16
_CONCLUSION = re.compile(r"So\s{0,9},\s{0,9}the\s{1,9}answer\s{1,9}is\s{0,9}:")


def check_derivation(
    algorithm: Algorithm, notation: Notation, writer: Writer, problem: Problem, text: str
) -> DerivationCheck:
    """The verdict over one completion. The answer is what follows the first conclusion, up to the end of a line."""
    found = _CONCLUSION.search(text)
    run = _Run(algorithm, problem.detail["given"], notation, writer)
    steps = []
    for start, end in pieces(text, 0, found.start() if found else len(text), "\n", MAX_LINES):
        judged, kind = run.judge(text[start:end]) if end - start <= MAX_LINE else ("wrong", "format")
        steps.append(Step(start, end, judged, kind, float(judged == "right")))
    answer, rest = _answer(text, found.end()) if found else (None, len(text))
    trailing = [Step(start, end, "wrong", "stop") for start, end in pieces(text, rest, len(text), "\n", MAX_LINES)]
    return verdict(steps, trailing, complete=run.complete, answer=answer, gold=problem.answer)


class _Run:
    """The algorithm's run, as far as a text has told it."""

    def __init__(self, algorithm: Algorithm, given: Given, notation: Notation, writer: Writer) -> None:
        self._input = (algorithm, given, notation)
        self._writer = writer
        self._written: dict[int, Values] = {}
        self._said: set[str] = set()
        self._look_aheads = 0
        self._machine = algorithm.run(given, notation)
        self._index = 0
        self._state: State | None = next(self._machine)
        if not writer.tells(self._state):
            self._go_on(self._state.result)

    @property
    def complete(self) -> bool:
        """Whether the last state that has a line was told."""
        return self._state is None

    def judge(self, line: str) -> tuple[StepVerdict, str]:
        """Verdict and kind of the next line."""
        expected = self._state
        if expected is not None:
            wanted = self._writer.line(expected)
            if line == wanted or canonical(line) == wanted:
                self._said.add(wanted)
                self._go_on(expected.result)
                return "right", ""
        line = canonical(line)
        if line in self._said:
            return "repeated", "repeated"
        self._said.add(line)
        parts = self._writer.parts(line)
        if parts is None:
            return "wrong", "format"
        if expected is None:
            return "wrong", "stop"
        if parts.label == expected.label:
            kind = self._fault(expected, parts)
        elif self._skip_to(parts.label):
            kind = "skipped"
        else:
            return "wrong", "control"
        self._carry_on(parts.result)
        return "wrong", kind

    def _fault(self, expected: State, parts: Parts) -> str:
        """What is wrong with a line of the right label."""
        wanted = self._writer.parts(self._writer.line(expected))
        assert wanted is not None
        if parts.fetch != wanted.fetch:
            return "fetch"
        same = (parts.operation, parts.result) == (wanted.operation, wanted.result)
        return "control" if same else "operation"

    def _skip_to(self, label: str) -> bool:
        """Go on to the state of that label, where one is ahead."""
        self._look_aheads += 1
        if self._look_aheads > MAX_LOOK_AHEADS:
            return False
        states, _ = execute(*self._input, self._written)
        if not any(state.label == label and self._writer.tells(state) for state in states[self._index + 1 :]):
            return False
        while self._state is not None and self._state.label != label:
            self._go_on(self._state.result)
        return True

    def _carry_on(self, result: str) -> None:
        """Go on with the result as the text has it, or with the state's own where the text's cannot be read."""
        assert self._state is not None
        own = self._state.result
        written = _read_values(result, own)
        if written is not None and written != own:
            self._written[self._index] = written
        self._go_on(written or own)

    def _go_on(self, values: Values) -> None:
        """To the next state that has a line."""
        try:
            self._state = self._machine.send(values)
            self._index += 1
            while not self._writer.tells(self._state):
                self._state = self._machine.send(self._state.result)
                self._index += 1
        except StopIteration:
            self._state = None


def _read_values(text: str, like: Values) -> Values | None:
    """Values by the same names and of the same types as `like`; None where the text is of another form."""
    pairs = text.split(" , ")
    if len(pairs) != len(like):
        return None
    values = {}
    for pair, (name, value) in zip(pairs, like.items(), strict=True):
        written, _, rest = pair.partition(" ")
        found = read(rest, value) if written == name else None
        if found is None:
            return None
        values[name] = found
    return values


def _answer(text: str, start: int) -> tuple[str | None, int]:
    """The next line that holds anything, without a closing full stop, and where the text goes on after it."""
    line = next(pieces(text, start, len(text), "\n", 1), None)
    if line is None:
        return None, len(text)
    start, end = line
    answer = canonical(text[start:end]).removesuffix(".").rstrip() if end - start <= MAX_LINE else ""
    return answer or None, end
