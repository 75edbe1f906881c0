import re

import pytest

from rlreason.errors import TaskError
from rlreason.tasks import build_task
from rlreason.tasks.rules.grammar import CONSTRUCTORS, MARKERS, PRODUCTIONS, combine, lost_by

TASK = build_task("tree", "rules", {"rule": "grammar"})
PRODUCTION = re.compile(r"(\w+ \w+) \( ([a-z ]+) , ([a-z ]+) \)")


def transduce(expression: str, held_out: tuple[str, ...] = (), instead: str = "") -> str:
    """Output of a written expression, innermost first; productions in `held_out` are replaced by `instead`."""
    while (match := PRODUCTION.search(expression)) is not None:
        production = instead if match[1] in held_out else match[1]
        value = " ".join(combine(production, match[2].replace(" ", ""), match[3].replace(" ", "")))
        expression = expression[: match.start()] + value + expression[match.end() :]
    return expression


def expression_of(prompt: str) -> str:
    return prompt.removeprefix("Question: ").removesuffix(" Answer:")


def test_each_constructor_and_marker_by_hand():
    together = {"blick": "abcde", "dax": "cdeab", "wug": "acbde", "zup": "acdeb"}
    assert {name: make("ab", "cde") for name, make in CONSTRUCTORS.items()} == together
    assert {name: mark("abcde") for name, mark in MARKERS.items()} == {
        "fep": "abcde",
        "kiv": "edcba",
        "lorp": "bcdea",
        "tam": "badce",
    }
    assert combine("kiv dax", "ab", "cde") == "baedc"
    assert len(PRODUCTIONS) == 16 == len({combine(production, "abc", "def") for production in PRODUCTIONS})


@pytest.mark.parametrize("level", ["train", "validation", "iid", "zero_shot"])
def test_answers_are_outputs_and_held_out_productions_are_zero_shots_alone(level):
    for cell in TASK.cells:
        for index in range(50):
            problem = TASK.problem(level, cell.name, index)
            expression = expression_of(problem.prompt)
            used = re.findall(r"[a-z]{2,} [a-z]{2,}", expression)
            assert len(used) == cell.difficulty
            assert problem.answer == transduce(expression)
            assert ({"kiv dax", "tam wug"}.isdisjoint(used)) == (level != "zero_shot")


def test_training_has_every_other_production():
    used = {
        production
        for index in range(200)
        for production in re.findall(r"[a-z]{2,} [a-z]{2,}", TASK.problem("train", "grammar/2", index).prompt)
    }
    assert used == set(PRODUCTIONS) - {"kiv dax", "tam wug"}


def test_no_related_production_in_the_place_of_the_held_out_one_gives_its_answer():
    for index in range(60):
        problem = TASK.problem("zero_shot", "grammar/1", index)
        expression = expression_of(problem.prompt)
        held_out = " ".join(expression.split()[:2])
        related = [p for p in PRODUCTIONS if p not in ("kiv dax", "tam wug") and set(p.split()) & set(held_out.split())]
        assert len(related) >= 4
        assert problem.answer not in {transduce(expression, (held_out,), other) for other in related}


def test_the_checker_reads_nested_operands_in_the_order_of_writing():
    problem = TASK.problem("train", "grammar/3", 1)
    check = TASK.check(problem, problem.target)
    assert check.derivation_correct and len(check.steps) == 3


def test_a_held_out_set_that_leaves_a_marker_or_constructor_unknown_is_refused():
    assert lost_by(["kiv dax", "tam wug"]) == []
    every = [production for production in PRODUCTIONS if production.startswith("kiv")]
    assert lost_by(every) == ["kiv"]
    with pytest.raises(TaskError, match="leave 'kiv' in no training production"):
        build_task("tree", "rules", {"rule": "grammar", "held_out_productions": every})
    with pytest.raises(TaskError, match="did you mean 'kiv dax'"):
        build_task("tree", "rules", {"rule": "grammar", "held_out_productions": ["kiv dex"]})
