"""What `rlreason reward new` writes: a reward that works, and its test, in one of the forms a plug-in may have.

Both files need nothing but rlreason (and pytest for the test). The top-level `rewards/` folder has fuller examples.
"""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

from rlreason.errors import UserError, one_of

_HEAD = '''"""{summary}

In a recipe:

    rewards:
      parts:
        - spec: "{folder}/{name}.py:score"
          kwargs: {{{example}}}
          deadline_s: 10

- `problem`: `problem.prompt`, `problem.answer` (the gold one), `problem.detail` (what the task knows beyond the text).
- `completion`: the text that the policy wrote. Compare it, search it; never run it.
- `derivation`: the task's own check of that text: `answer`, `answer_correct`, and `steps` with a verdict each.

Return a finite number, True or False, or a mapping with `reward` and perhaps `correct`, `parts` and `steps`. Where no
verdict is possible, raise: the completion is then left out of training, and the cause is shown.
"""

'''

_ANSWER = '''from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def score(problem: Problem, completion: str, derivation: DerivationCheck, *, ignore_case: bool = True) -> float:
    """1 where the final answer is the gold one, else 0."""
    found = derivation.answer or ""
    if ignore_case:
        return float(found.casefold() == problem.answer.casefold())
    return float(found == problem.answer)
'''

_STEPS = '''from collections.abc import Mapping
from typing import Any

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def score(
    problem: Problem, completion: str, derivation: DerivationCheck, *, steps_share: float = 0.3
) -> Mapping[str, Any]:
    """(1 - steps_share) for the right answer and steps_share times the share of right steps; each step has a score."""
    answer = float(derivation.answer_correct)
    steps = [float(step.verdict == "right") for step in derivation.steps]
    right = sum(steps) / len(steps) if steps else 0.0
    return {
        "reward": (1 - steps_share) * answer + steps_share * right,
        "parts": {"answer": answer, "right_steps": right},
        "steps": steps,
    }
'''

_BATCH = '''from collections.abc import Sequence

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward(batch=True)
def score(
    problems: Sequence[Problem],
    completions: Sequence[str],
    derivations: Sequence[DerivationCheck],
    *,
    ignore_case: bool = True,
) -> list[float]:
    """1 where the final answer is the gold one, else 0: a verdict for each completion, in order.

    Called with many completions at once, for rewards where one large call costs less than many small ones (a model).
    Which completions come together is not fixed: no verdict may depend on the others.
    """
    found = [derivation.answer or "" for derivation in derivations]
    gold = [problem.answer for problem in problems]
    if ignore_case:
        found, gold = [text.casefold() for text in found], [text.casefold() for text in gold]
    return [float(one == other) for one, other in zip(found, gold, strict=True)]
'''

_ASYNC = '''import asyncio

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
async def score(problem: Problem, completion: str, derivation: DerivationCheck, *, ignore_case: bool = True) -> float:
    """1 where the final answer is the gold one, else 0. Many completions wait for their verdicts at the same time."""
    return float(await same_answer(derivation.answer or "", problem.answer, ignore_case))


async def same_answer(found: str, gold: str, ignore_case: bool) -> bool:
    """Put the request to your service here, with a client that is async too."""
    await asyncio.sleep(0)
    return found.casefold() == gold.casefold() if ignore_case else found == gold
'''

_TEST = '''"""Tests of {name}.py."""

{imports}from pathlib import Path

from rlreason.rewards.loader import resolve
from rlreason.types import DerivationCheck, Problem{step_import}

FILE = Path(__file__).with_name("{name}.py")
PROBLEM = Problem("1", "people", "people/1", "train", "Who is the friend of Ann?", answer="Bob", target="Bob")


def check(answer: str | None{check_argument}) -> DerivationCheck:
    """What the task would say of a completion with that final answer."""
    right = answer == PROBLEM.answer
    return DerivationCheck(answer, answer_correct=right, derivation_correct=right{check_steps})


{tests}'''

_CALLED = """def reward_of(answer: str | None, **kwargs: bool) -> float:
    return resolve(f"{FILE}:score", kwargs=kwargs).call(PROBLEM, f"The answer is {answer}", check(answer))


"""

_AWAITED = """def reward_of(answer: str | None, **kwargs: bool) -> float:
    score = resolve(f"{FILE}:score", kwargs=kwargs).call
    return asyncio.run(score(PROBLEM, f"The answer is {answer}", check(answer)))


"""

_ANSWER_TESTS = """def test_the_gold_answer_is_paid():
    assert reward_of("Bob") == 1.0


def test_another_answer_and_none_are_not():
    assert reward_of("Carl") == 0.0
    assert reward_of(None) == 0.0


def test_case_counts_where_the_recipe_says_so():
    assert reward_of("bob") == 1.0
    assert reward_of("bob", ignore_case=False) == 0.0
"""

_STEPS_TESTS = """def test_answer_and_steps_have_their_shares():
    score = resolve(f"{FILE}:score", kwargs={"steps_share": 0.4}).call
    half_right = (Step(0, 3, "right"), Step(4, 7, "wrong"))
    verdict = score(PROBLEM, "... ...", check("Bob", half_right))
    assert verdict["reward"] == 0.6 + 0.4 * 0.5
    assert verdict["parts"] == {"answer": 1.0, "right_steps": 0.5}
    assert verdict["steps"] == [1.0, 0.0]


def test_no_steps_and_no_answer_are_paid_nothing():
    assert resolve(f"{FILE}:score").call(PROBLEM, "", check(None))["reward"] == 0.0
"""

_BATCH_TESTS = """def rewards_of(*answers: str | None, **kwargs: bool) -> list[float]:
    score = resolve(f"{FILE}:score", kwargs=kwargs)
    assert score.batch
    return score.call([PROBLEM] * len(answers), ["..."] * len(answers), [check(answer) for answer in answers])


def test_each_completion_has_its_verdict_in_order():
    assert rewards_of("Carl", "Bob", None) == [0.0, 1.0, 0.0]


def test_case_counts_where_the_recipe_says_so():
    assert rewards_of("bob") == [1.0]
    assert rewards_of("bob", ignore_case=False) == [0.0]
"""

_SHARE, _CASE = "steps_share: 0.3", "ignore_case: false"
KINDS = {
    "answer": (_ANSWER, _CALLED + _ANSWER_TESTS, _CASE),
    "steps": (_STEPS, _STEPS_TESTS, _SHARE),
    "batch": (_BATCH, _BATCH_TESTS, _CASE),
    "async": (_ASYNC, _AWAITED + _ANSWER_TESTS, _CASE),
}
"""Kind -> the plug-in's code, its tests, and a kwarg for the recipe."""


def write_reward(name: str, folder: Path, kind: str) -> tuple[Path, Path]:
    """Write NAME.py and test_NAME.py into the folder, which is made where it is missing.

    Args:
        kind: one of `KINDS`.
    Returns:
        The two files.
    Raises:
        UserError: a name or kind that will not do, or a file is there already: nothing was written then.
    """
    if kind not in KINDS:
        raise UserError(one_of("--kind", kind, KINDS))
    _check_name(name)
    file, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (file, test):
        if path.exists():
            raise UserError(f"{path} is there already and is not overwritten; choose another name or --folder")
    code, tests, example = KINDS[kind]
    words = {"name": name, "folder": folder.as_posix(), "example": example}
    steps = kind == "steps"
    summary = f"{name}: say here in one line what it pays for, and below what it does not judge."
    test_text = _TEST.format(
        **words,
        imports="import asyncio\n" if kind == "async" else "",
        step_import=", Step" if steps else "",
        check_argument=", steps: tuple[Step, ...] = ()" if steps else "",
        check_steps=", steps=steps" if steps else "",
        tests=tests,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(_HEAD.format(**words, summary=summary) + code, encoding="utf-8")
        test.write_text(test_text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error}; choose another --folder") from None
    return file, test


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        near = "".join(letter if letter.isalnum() else "_" for letter in name)
        hint = f", such as {near!r}" if near.isidentifier() and not keyword.iskeyword(near) else ""
        raise UserError(f"{name!r} cannot be the name of a Python module; use letters, digits and underscores{hint}")
    if name.startswith("test_"):
        raise UserError(f"{name!r}: names that begin with test_ are those of tests; call it {name[5:]!r}")
    if importlib.util.find_spec(name) is not None:
        raise UserError(f"{name!r} is the name of an installed module; choose another, such as {name + '_reward'!r}")
