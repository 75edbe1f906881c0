"""Completions to try a reward on: right, wrong in known ways, empty, greedy for reward, and hostile.

Made from a task's own problems, and checked with that task: a completion of a kind that a problem has no example of
(no other answer to be wrong with, no step to spoil) is left out. Scoring them is done in `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.tasks.contract import Task
from rlreason.tasks.registry import task_spec
from rlreason.types import Problem

GOLD = "gold derivation"
BARE = "gold answer alone"
WRONG_ANSWER = "wrong final answer"
WRONG_STEP = "right answer, wrong step"
TRUNCATED = "cut in half"
ANOTHER = "another problem's gold"
RIGHT = "right (given)"
WRONG = "wrong (given)"
EMPTY = "empty"
PROMPT = "the prompt echoed"
EVERY_ANSWER = "every answer at once"
REPEATED = "answer 1000 times"
NULS = "NULs"
SURROGATES = "lone surrogates"
BRACKETS = "100 kB of brackets"
SPACES = "100 kB of spaces"
CODE = "code that writes a file"
RIGHT_TO_LEFT = "right-to-left marks"
NESTED_JSON = "JSON nested 50,000 deep"
HUGE_NUMBER = "1e999999999"

HOSTILE = (NULS, SURROGATES, BRACKETS, SPACES, CODE, RIGHT_TO_LEFT, NESTED_JSON, HUGE_NUMBER)
BUILDER = "rlreason.tasks.registry:build_task"
_DEEP = 50_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion of a known kind."""

    kind: str
    problem: Problem
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a reward is tried on.

    Attributes:
        samples: gold ones first; at least one.
        task_specs, task_builder: as `ScoringPool` takes them, for the problems' task.
        around: what stands before and after a final answer, for texts that try to be read as one.
    """

    samples: tuple[Sample, ...]
    task_specs: Mapping[str, Mapping[str, Any]]
    task_builder: str
    around: tuple[str, str]


def trial_of_task(task: Task, problems: Sequence[Problem]) -> Trial:
    """Completions made from gold derivations.

    Args:
        problems: of that task, at least one.
    """
    by_kind = [
        _same(GOLD, problems, lambda problem: problem.target),
        _same(BARE, problems, lambda problem: problem.answer),
        _wrong_answers(task, problems),
        _wrong_steps(task, problems),
        _same(TRUNCATED, problems, lambda problem: problem.target[: len(problem.target) // 2]),
        _others(problems),
        greedy(problems, [_around(task, problem) for problem in problems]),
    ]
    samples = tuple(sample for kind in by_kind for sample in kind)
    return Trial(samples, {task.name: task_spec(task)}, BUILDER, _around(task, problems[0]))


def greedy(problems: Sequence[Problem], around: Sequence[tuple[str, str]]) -> Iterator[Sample]:
    """Completions that say nothing, or everything: what a policy finds that looks for cheap reward.

    Args:
        problems: [N].
        around: [N] for each problem, what stands before and after its final answer.
    """
    yield from _same(EMPTY, problems, lambda problem: "")
    yield from _same(PROMPT, problems, lambda problem: problem.prompt)
    for problem, (before, after) in zip(problems, around, strict=True):
        others = sorted({other.answer for other in problems} - {problem.answer})
        if len(others) > 1:  # the right one is neither first nor last, so that a reader of one answer is not blamed
            answers = [*others[: len(others) // 2], problem.answer, *others[len(others) // 2 :]]
            yield Sample(EVERY_ANSWER, problem, " ".join(answers))
            yield Sample(EVERY_ANSWER, problem, "\n".join(before + answer + after for answer in answers))
    yield from _same(REPEATED, problems, lambda problem: " ".join([problem.answer] * 1000))


def hostile(problem: Problem, around: tuple[str, str], marker: Path) -> Iterator[Sample]:
    """Texts that break careless readers, each alone and in the place of the final answer.

    Args:
        around: what stands before and after a final answer.
        marker: a file that would be made if the text were run as code.
    """
    code = f"__import__('os').system('touch {marker}')"
    texts = {
        NULS: "\0" * 100 + problem.answer + "\0",
        SURROGATES: f"\ud800{problem.answer}\udfff",
        BRACKETS: "([{" * (_DEEP // 3) + "(" * _DEEP,
        SPACES: " " * 2 * _DEEP + ".",
        CODE: code,
        RIGHT_TO_LEFT: f"\u202e{problem.answer}\u2066\u200f",
        NESTED_JSON: '{"answer": ' + "[" * _DEEP,
        HUGE_NUMBER: "1e999999999",
    }
    for kind in HOSTILE:
        yield Sample(kind, problem, texts[kind])
        yield Sample(kind, problem, around[0] + texts[kind] + around[1])
    yield Sample(CODE, problem, f"```python\n{code}\n```")


def _same(kind: str, problems: Sequence[Problem], text: Callable[[Problem], str]) -> Iterator[Sample]:
    return (Sample(kind, problem, text(problem)) for problem in problems)


def _wrong_answers(task: Task, problems: Sequence[Problem]) -> Iterator[Sample]:
    answers = dict.fromkeys(problem.answer for problem in problems)
    for problem in problems:
        texts = (_with_answer(problem.target, problem.answer, other) for other in answers if other != problem.answer)
        text = next((text for text in texts if not task.check(problem, text).answer_correct), None)
        if text is not None:
            yield Sample(WRONG_ANSWER, problem, text)


def _wrong_steps(task: Task, problems: Sequence[Problem]) -> Iterator[Sample]:
    """The first step replaced by one of another problem's, where the answer stays right and the derivation does not."""
    foreign = list(
        dict.fromkeys(
            problem.target[step.start : step.end]
            for problem in problems
            for step in task.check(problem, problem.target).steps
        )
    )
    for problem in problems:
        steps = task.check(problem, problem.target).steps
        if not steps:
            continue
        head, tail = problem.target[: steps[0].start], problem.target[steps[0].end :]
        for text in (head + step + tail for step in foreign):
            verdict = task.check(problem, text)
            if verdict.answer_correct and verdict.derivation_correct is False:
                yield Sample(WRONG_STEP, problem, text)
                break


def _others(problems: Sequence[Problem]) -> Iterator[Sample]:
    """Every problem with the gold of the next one that has another answer."""
    for index, problem in enumerate(problems):
        following = (*problems[index + 1 :], *problems[:index])
        other = next((other for other in following if other.answer != problem.answer), None)
        if other is not None:
            yield Sample(ANOTHER, problem, other.target)


def _around(task: Task, problem: Problem) -> tuple[str, str]:
    """Before and after the answer in what the gold derivation says after its last step."""
    steps = task.check(problem, problem.target).steps
    return around_answer(problem.target[steps[-1].end if steps else 0 :], problem.answer)


def around_answer(text: str, answer: str) -> tuple[str, str]:
    """What stands before and after the last mention of the answer; two empty texts where it is not mentioned."""
    before, found, after = text.rpartition(answer) if answer else ("", "", "")
    return (before, after) if found else ("", "")


def _with_answer(text: str, answer: str, other: str) -> str:
    """The text with the last mention of its answer replaced; the text itself where it is not mentioned."""
    before, found, after = text.rpartition(answer) if answer else ("", "", text)
    return before + other + after if found else text
