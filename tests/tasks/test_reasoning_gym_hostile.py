"""What keeps hostile answers from reasoning-gym's scorers, some of which evaluate them."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sympy

from rlreason.errors import TaskError
from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.pool import ScoringPool
from rlreason.tasks import Task, build_task
from rlreason.tasks.gym import scoring
from rlreason.tasks.registry import task_spec

pytest.importorskip("pycosat", reason="reasoning-gym needs pycosat, which is compiled at set-up")
DATASETS = pytest.importorskip("reasoning_gym.factory").DATASETS
_UNSTEADY = pytest.importorskip("rlreason.tasks.gym.generators")._UNSTEADY

EVALUATING = {
    "binary_matrix",
    "spiral_matrix",
    "string_insertion",
    "n_queens",
    "countdown",
    "puzzle24",
    "simple_integration",
    "intermediate_integration",
    "number_sorting",
    "bitwise_arithmetic",
}
QUICK = sorted(EVALUATING - {"intermediate_integration", "puzzle24", "countdown"})


@pytest.fixture(scope="module")
def task() -> Task:
    parameters = {"datasets": dict.fromkeys([*sorted(EVALUATING), "complex_arithmetic", "coin_flip"])}
    return build_task("gym", "reasoning_gym", parameters)


def hostile(mark: Path) -> list[str]:
    call = f"__import__('os').system('touch {mark}')"
    return [
        call,
        f"  {call}",
        f"[{call}]",
        f"exec(\"open('{mark}', 'w')\")",
        f"().__class__.__base__.__subclasses__() or {call}",
        f"open('{mark}', 'w')",
        "self.config",
        "oracle_answer",
        "entry['answer']",
        "9**9**9**9",
        "2**(9**(9**9))",
        "factorial(10**9)",
        "10**9!",
        "(" * 5_000 + "1" + ")" * 5_000,
        "[" * 900 + "]" * 900,
        "-" * 1_900 + "1",
        "1" * 100_000,
        "1+" * 900 + "1",
        "sin(" * 400 + "x" + ")" * 400,
        "\x00", "é", "٣", "lambda: 1", "x:=1", "1 if 1 else 2", "[0 for _ in range(9)]", "f'{1}'",
    ]  # fmt: skip


def test_hostile_answers_to_evaluating_scorers_do_nothing_and_pay_next_to_nothing(task: Task, tmp_path: Path):
    mark = tmp_path / "made"
    for name in sorted(EVALUATING):
        problem = task.problem("train", f"{name}/1", 0)
        for answer in hostile(mark):
            began = time.monotonic()
            check = task.check(problem, f"So, the answer is: {answer}")
            assert not check.answer_correct and check.reward is not None and check.reward <= 0.1, (name, answer[:60])
            assert time.monotonic() - began < 5, (name, answer[:60])
        assert not mark.exists(), name


def test_right_answers_are_of_the_form_that_their_scorer_is_shown(task: Task):
    for cell in task.cells:
        count = 4 if cell.family == "intermediate_integration" else 12
        for index in range(count):
            problem = task.problem("train", cell.name, index)
            check = task.check(problem, problem.target)
            assert (check.answer_correct, check.parts["refused"]) == (True, 0.0), (cell.name, problem.answer)


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        ("3*x**2/2 + log(x) - E**(2*x**2 + 1) + C", True),
        ("(2*x + 5)**(3/2)/3 + x*asin(2*x) + sqrt(1 - 4*x**2)/2", True),
        ("x**101", False),
        ("2**2**2", False),
        ("x**(2*(1+1)**9)", False),
        ("exec(x)", False),
        ("sin(x, y)", False),
        ("sin(x=1)", False),
        ("xy", False),
        ("x.y", False),
        ("x__y", False),
        ("S('x')", False),
        ("1 // 2", False),
        ("1 % 2", False),
        ("[1]", False),
        ("x, y", False),
        ("", False),
    ],
)
def test_which_expressions_are_shown_to_sympy(answer: str, allowed: bool):
    assert scoring._expression(answer, symbols=True) is allowed


def test_in_a_numeric_expression_there_are_no_names_and_no_powers():
    numeric = [answer for answer in ("(3 + 4)*2 - 8/2", "-3", "2**3", "x", "sqrt(4)", "1e3") if
               scoring._expression(answer, symbols=False)]  # fmt: skip
    assert numeric == ["(3 + 4)*2 - 8/2", "-3", "1e3"]


def test_every_name_that_sympy_is_shown_is_a_function_of_it():
    assert all(callable(getattr(sympy, name)) for name in scoring._FUNCTIONS)


def test_nan_is_not_near_to_every_number(task: Task):
    numbers = task.problem("train", "number_sorting/1", 0)
    count = numbers.answer.count(",") + 1
    entry = {"answer": numbers.answer, "metadata": {"direction": "ascending"}}
    forged = "[" + ", ".join(["NaN"] * count) + "]"
    assert DATASETS["number_sorting"][0].score_answer(None, forged, entry) == 1.0  # theirs pays in full
    assert task.check(numbers, f"<answer>{forged}</answer>").reward == 0.0
    plane = task.problem("train", "complex_arithmetic/1", 0)
    for answer in ("nan", "nan+nanj", "inf-infj"):
        assert task.check(plane, f"<answer>{answer}</answer>").reward == 0.0


def test_a_fraction_with_a_huge_exponent_is_not_worked_out(task: Task):
    problem = task.problem("train", "coin_flip/1", 0)
    began = time.monotonic()
    assert task.check(problem, "<answer>1e999999999</answer>").parts["refused"] == 1.0
    assert time.monotonic() - began < 1


def test_a_scorer_that_pays_for_any_answer_is_not_asked():
    task = build_task("gym", "reasoning_gym", {"dataset": "game_of_life_halting"})
    problem = task.problem("train", "game_of_life_halting/1", 0)
    opposite = {"True": "False", "False": "True"}[problem.answer]
    entry = {"answer": problem.answer}
    assert DATASETS["game_of_life_halting"][0].score_answer(None, opposite, entry) == 1.0
    assert task.check(problem, f"<answer>{opposite}</answer>").reward == 0.0
    assert task.check(problem, problem.target).reward == 1.0


def test_every_scorer_of_the_library_that_evaluates_is_known():
    found = {name for name, (kind, _) in DATASETS.items() if scoring.evaluators(kind)}
    assert found - _UNSTEADY == EVALUATING
    assert set(scoring._FORMS) >= EVALUATING


def helper(text: str) -> Any:
    return eval(text)


class Innocent:
    def score_answer(self, answer: str, entry: Any) -> float:
        return float(answer == entry["answer"])

    def generate(self) -> Any:
        return eval("1 + 1")


class Straight(Innocent):
    def score_answer(self, answer: str, entry: Any) -> float:
        return sum(float(eval(part)) for part in answer)


class Through(Innocent):
    def score_answer(self, answer: str, entry: Any) -> float:
        return self._parse(answer)

    @staticmethod
    def _parse(answer: str) -> float:
        return float(helper(answer))


@pytest.mark.parametrize(("kind", "found"), [(Innocent, set()), (Straight, {"eval"}), (Through, {"eval"})])
def test_a_new_scorer_that_evaluates_is_noticed(kind: type[Any], found: set[str]):
    assert scoring.evaluators(kind) == found
    if found:
        with pytest.raises(TaskError, match=r"tasks.gym: the scorer of .*'new'.* uses eval"):
            scoring.require_harmless("new", kind, "tasks.gym")
    else:
        scoring.require_harmless("new", kind, "tasks.gym")


def test_what_a_scorer_says_that_is_no_number_pays_nothing():
    for said in (float("nan"), float("inf"), None, "much"):
        dataset = SimpleNamespace(score_answer=lambda answer, entry, said=said: said)
        assert scoring.score("chain_sum", dataset, "1", "2", {}) == scoring.Scored(0.0, raised=True)


def test_memory_that_a_scorer_runs_out_of_is_the_pools_business():
    def score_answer(answer: str, entry: Any) -> float:
        raise MemoryError

    with pytest.raises(MemoryError):
        scoring.score("chain_sum", SimpleNamespace(score_answer=score_answer), "1", "2", {})


def test_scoring_leaves_the_entry_as_it_was():
    def score_answer(answer: str, entry: Any) -> float:
        entry["metadata"]["moves"].append(answer)
        return float(len(entry["metadata"]["moves"]))

    entry = {"metadata": {"moves": []}}
    for _ in range(2):
        assert scoring.score("chain_sum", SimpleNamespace(score_answer=score_answer), "1", "2", entry).reward == 1.0


def test_space_around_a_right_answer_does_not_count():
    dataset = SimpleNamespace(score_answer=lambda answer, entry: float(answer == entry["answer"]))
    assert scoring.score("ab", dataset, "1 0", "1 0\n", {"answer": "1 0\n"}).reward == 1.0


def test_the_pool_pays_what_the_library_says(task: Task, tmp_path: Path):
    mark = tmp_path / "made"
    problems = [task.problem("train", f"{name}/1", 0) for name in QUICK]
    rubric = Rubric(parts=(Reward(spec="rlreason.rewards.builtin:environment"),))
    spec = task_spec(build_task("gym", "reasoning_gym", {"datasets": dict.fromkeys(QUICK)}))
    with ScoringPool(rubric, {"gym": spec}) as pool:
        right = pool.score([(problem, problem.target) for problem in problems])
        texts = [f"So, the answer is: {answer}" for answer in hostile(mark)]
        wrong = pool.score([(problem, text) for problem in problems for text in texts])
    assert [(score.reward, score.correct, score.derivation_correct) for score in right] == [(1.0, True, None)] * len(
        QUICK
    )
    assert all(score.reward is not None and score.reward <= 0.1 and not score.failure for score in wrong)
    assert not mark.exists()
