import re

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task

TASK = build_task("clock", "rules", {"rule": "modular"})
PROMPT = re.compile(r"Question: ([-+*() \d]+) mod (\d+) Answer:")


def read(prompt: str) -> tuple[int, int]:
    """Value of the expression before the modulus (Python's own arithmetic), and the modulus."""
    match = PROMPT.fullmatch(prompt)
    assert match is not None
    return eval(match[1]), int(match[2])


@pytest.mark.parametrize("level", ["train", "validation", "iid", "zero_shot"])
def test_answers_are_remainders_and_the_held_out_prime_is_zero_shots_alone(level):
    moduli = set()
    for cell in TASK.cells:
        for index in range(60):
            problem = TASK.problem(level, cell.name, index)
            number, modulus = read(problem.prompt)
            assert problem.answer == str(number % modulus)
            moduli.add(modulus)
    assert moduli == ({19} if level == "zero_shot" else {11, 13, 17, 23, 29, 31})


def test_no_prime_of_training_gives_the_zero_shot_answer():
    for index in range(100):
        problem = TASK.problem("zero_shot", "modular/2", index)
        number, _ = read(problem.prompt)
        assert int(problem.answer) not in {number % prime for prime in (11, 13, 17, 23, 29, 31)}


def test_a_guess_among_the_remainders_is_right_once_in_the_prime():
    assert TASK.chance("zero_shot", "modular/1") == pytest.approx(1 / 19)
    assert TASK.chance("train", "modular/1") == pytest.approx(sum(1 / p for p in (11, 13, 17, 23, 29, 31)) / 6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"primes": [5, 9, 11]}, "9 is no prime"),
        ({"primes": [5, 5, 11]}, "named twice"),
        ({"primes": [19]}, "primes"),
        ({"primes": [5, 7, 11]}, "held_out_prime 19: .*5, 7, 11"),  # the default is not among them
        ({"held_out_prime": 18}, "18 is not one of 11, 13, 17, 19, 23, 29, 31"),
        ({"held_out_prime": 31}, "31 is the largest of primes"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("clock", "rules", {"rule": "modular", **parameters})
