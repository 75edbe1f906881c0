"""boxed_math: math-verify's own examples, our own, and how the pool keeps it in bounds.

`math_verify_examples.json` lists gold answer, completion, verdict and kwargs: the first five are from math-verify's
README, the others from its tests (Apache-2.0), all those of at most 400 characters.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from one_grader import grader, problem, verdict
from toy_task import toy_problem

from rlreason.recipe.schema import Reward
from rlreason.rewards.failures import kind_of

SPEC = "boxed_math.py:score"
EXAMPLES = json.loads((Path(__file__).parent / "math_verify_examples.json").read_text(encoding="utf-8"))
ON_PURPOSE_OTHERWISE = {
    # Wrong in math-verify's tests, which read LaTeX alone there (none spans a line break): here the number is read.
    ("$9$", "Answer $ \n 9 \n $"): True,
    ("$9$", "Answer \\( \n 9 \n \\)"): True,
    # Right in math-verify's tests, which read plain numbers alone there: a bare "1,22" is a list here.
    ("1,22", "1.22"): False,
}


@pytest.mark.parametrize(("gold", "completion", "right", "kwargs"), EXAMPLES)
def test_math_verifys_own_examples_agree(gold, completion, right, kwargs):
    score = verdict(SPEC, completion, gold, answer_in="anywhere", **kwargs)
    assert score.correct is ON_PURPOSE_OTHERWISE.get((gold, completion), right)


@pytest.mark.parametrize(
    ("completion", "gold", "kwargs", "right"),
    [
        (r"so \boxed{0.5}", "1/2", {}, True),
        (r"so \boxed{\frac{2}{4}}", r"\frac12", {}, True),
        (r"\boxed{x^2 + 2x + 1}", "(x+1)^2", {}, True),
        (r"\boxed{x^2 + 2x}", "(x+1)^2", {}, False),
        (r"\boxed{2}", "x^2+1", {}, False),
        (r"\boxed{1} or \boxed{2}", "1", {}, False),
        (r"\boxed{1} no, \boxed{2}", "2", {}, True),
        ("it is 2", "2", {}, False),
        ("The answer is $\\sqrt{4}$.", "2", {"answer_in": ["boxed", "phrase"]}, True),
        (r"\boxed{\{2, 1\}}", r"$\{1, 2\}$", {}, True),
        (r"\boxed{(2, 1)}", "(1, 2)", {}, False),
        (r"\boxed{2}", "1, 2", {}, False),
        (r"\boxed{1, 2}", "2", {}, False),
        (r"\boxed{2, 1}", "1, 2", {}, True),
        (r"\boxed{(1)}", "1", {}, True),
        (r"\boxed{1,234.0}", "1234", {}, True),
        (r"\boxed{50\%}", "1/2", {}, True),
        (r"\boxed{x = 3}", "3", {}, True),
        (r"\boxed{12 \text{ cm}}", "12", {}, True),
        (r"\boxed{3.14159}", r"\pi", {"digits": 3}, True),
        (r"\boxed{3.14}", r"\pi", {"digits": 3}, False),
        (r"\boxed{f(y)}", "f(x)", {"strict": False}, True),
        (r"\boxed{f(y)}", "f(x)", {}, False),
        (r"\boxed{" + "1+" * 300 + "1}", "301", {}, False),
        (r"\boxed{" + "(" * 11 + "1" + ")" * 11 + "}", "1", {}, False),
        (r"\boxed{" + "(" * 10 + "1" + ")" * 10 + "}", "1", {}, True),
    ],
)
def test_the_boxed_answer_is_compared_as_mathematics(completion, gold, kwargs, right):
    assert verdict(SPEC, completion, gold, **kwargs).correct is right


def test_it_works_off_the_main_thread():
    verdicts = []
    call = grader(SPEC, {}).call
    thread = threading.Thread(target=lambda: verdicts.append(call(problem("1/2"), r"\boxed{0.5}", None)))
    thread.start()
    thread.join()
    assert verdicts == [{"reward": 1.0, "correct": True}]


def test_an_answer_that_takes_for_ever_is_ended_by_the_pool(make_pool, tmp_path):
    marker = tmp_path / "marker"
    attack = rf"__import__('os').system('touch {marker}')"
    texts = [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{4/2}", rf"\boxed{{{attack}}}", attack, rf"\boxed{{\text{{{attack}}}}}"]
    pool = make_pool(Reward(spec="rewards/boxed_math.py:score", deadline_s=1.5))
    hung, right, *attacks = pool.score([(toy_problem(1), text) for text in texts])
    assert kind_of(hung.failure) == "PluginTimeout"
    assert right.reward == 1.0
    assert [score.reward for score in attacks] == [0.0, 0.0, 0.0]
    assert not marker.exists()
