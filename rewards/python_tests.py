"""Pays for Python code that passes its tests, run in a sandbox of its own.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/python_tests.py:PythonTests"
          kwargs: {seconds_a_test: 1, seconds: 6, all_or_nothing: false}
          deadline_s: 10

The problem says in `problem.detail` what is tested, either a function or a program:

    {"entry_point": "add", "tests": [{"args": [1, 2], "expected": 3}, ...]}
    {"tests": [{"stdin": "1 2", "stdout": "3"}, ...]}

`entry_point` is "f", or "Class.method" of an instance made without arguments. The code is the last block fenced as
Python in the completion, else the last fenced as nothing in particular, else the whole text.

The expected values never enter the sandbox, and what comes out are plain JSON values, compared here: code that answers
with objects equal to everything, exits early, prints a verdict or patches what it finds passes nothing. Compared are
types too: True is not 1, 2.0 is not 2 where 2 is expected; tuples are lists; floats within `tolerance`; printed text
but for spaces at the ends of lines and empty lines at the end. Functions that return sets, bytes or objects fail.

Not judged: style, speed within the limits, and whether the code knew the tests: those that the prompt shows can be
answered by heart, so keep others back. See `rlreason.rewards.sandbox` for what the sandbox does not stop.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rlreason.rewards.sandbox import LAYERS, Limits, Sandbox, demand
from rlreason.types import DerivationCheck, Problem

FENCED = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
PYTHON = ("python", "python3", "py")
FORMS = ({"args", "expected"}, {"stdin", "stdout"})


class PythonTests:
    """Share of the tests passed, or all or nothing."""

    def __init__(
        self,
        *,
        all_or_nothing: bool = True,
        seconds_a_test: float = 1.0,
        seconds: float = 6.0,
        memory_mib: int = 1024,
        packages: bool = False,
        tolerance: float = 1e-6,
        require: Sequence[str] = LAYERS,
    ) -> None:
        """Refused where the machine's sandbox lacks a layer.

        Args:
            all_or_nothing: pay 1 for all tests and else 0, and stop at the first that fails.
            seconds_a_test: wall time of each; a test that overruns is failed, the others still run.
            seconds: wall time of all together; tests not reached are failed. Keep it below the reward's `deadline_s`,
                which would make the completion count as unscored.
            memory_mib: address space of the code's process.
            packages: the code may import what is installed, such as numpy; else the standard library alone.
            tolerance: of floats, relative, and absolute near 0.
            require: layers of the sandbox without which nothing is run: filesystem, network, processes.
        """
        demand(require)
        self.all_or_nothing = all_or_nothing
        self.seconds_a_test = seconds_a_test
        self.seconds = seconds
        self.limits = Limits(seconds_a_test, memory_mib)
        self.packages = packages
        self.tolerance = tolerance
        self.require = tuple(require)

    def __call__(self, problem: Problem, completion: str, derivation: DerivationCheck) -> Mapping[str, Any]:
        """`passed`: the share of tests passed. `compiled`: whether the code is Python at all."""
        entry_point, tests = tests_of(problem)
        passed = 0
        end = time.monotonic() + self.seconds
        with Sandbox(code_of(completion), self.limits, packages=self.packages, require=self.require) as sandbox:
            compiled = sandbox.compile().ending == "ok"
            for test in tests if compiled else ():
                seconds = min(self.seconds_a_test, end - time.monotonic())
                if seconds <= 0:
                    break
                right = self._passes(sandbox, entry_point, test, seconds)
                passed += right
                if self.all_or_nothing and not right:
                    break
        share = passed / len(tests)
        return {
            "reward": float(share == 1) if self.all_or_nothing else share,
            "correct": share == 1,
            "parts": {"passed": share, "compiled": float(compiled)},
        }

    def _passes(self, sandbox: Sandbox, entry_point: str, test: Mapping[str, Any], seconds: float) -> bool:
        if "stdin" in test:
            ran = sandbox.run(test["stdin"], seconds)
            return ran.ending == "ok" and lines_of(ran.printed) == lines_of(test["stdout"])
        ran = sandbox.call(entry_point, test["args"], seconds)
        return ran.ending == "ok" and same(ran.value, test["expected"], self.tolerance)


def code_of(completion: str) -> str:
    """The last block fenced as Python, finished or not; else the last fenced without a name; else the whole text."""
    blocks = [(name.lower(), code) for name, code in FENCED.findall(completion)]
    named = [code for name, code in blocks if name in PYTHON]
    return str((named or [code for name, code in blocks if not name] or [completion])[-1])


def same(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether two plain JSON values are the same, types included."""
    if isinstance(expected, float) and type(found) in (int, float):
        return close(found, expected, tolerance)
    if isinstance(expected, list | tuple):
        pairs = zip(found, expected, strict=True) if type(found) is list and len(found) == len(expected) else None
        return pairs is not None and all(same(*pair, tolerance) for pair in pairs)
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], tolerance) for key in expected)
    return bool(found == expected)


def close(found: float, expected: float, tolerance: float) -> bool:
    """Whether two numbers are the same but for the tolerance; NaN is NaN."""
    if math.isnan(expected):
        return found != found
    try:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an int beyond what a float holds
        return False


def lines_of(text: str) -> list[str]:
    """Lines without spaces at their ends, and without empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def tests_of(problem: Problem) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The entry point ("" for programs) and the tests of a problem.

    Raises:
        ValueError: it has none, or they are malformed.
    """
    entry_point, tests = problem.detail.get("entry_point", ""), problem.detail.get("tests")
    if not isinstance(tests, list | tuple) or not tests:
        raise ValueError(f"problem {problem.id!r} has no `tests` in its detail: a list with at least one test")
    for index, test in enumerate(tests):
        if not isinstance(test, Mapping) or set(test) not in FORMS:
            keys = " or ".join(" and ".join(sorted(form)) for form in FORMS)
            raise ValueError(f"problem {problem.id!r}, tests[{index}] is {test!r}; its keys are {keys}")
        if "args" in test and not entry_point:
            raise ValueError(f"problem {problem.id!r} tests a function, and its detail has no `entry_point`")
    return entry_point, tests
