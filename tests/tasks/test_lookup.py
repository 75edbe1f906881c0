"""Made-up facts to look up: fresh every time, answerable from the prompt, checked like any derivation."""

import pytest

from rlreason.errors import TaskError
from rlreason.tasks.complementary.text import parse_sentence
from rlreason.tasks.registry import build_task, task_spec


def sentences(text: str) -> list[tuple[str, str, str]]:
    """The facts a text tells, in order."""
    facts = [parse_sentence(part.strip() + ".") for part in text.split(".") if part.strip()]
    assert all(fact is not None for fact in facts)
    return [fact for fact in facts if fact is not None]


def test_a_text_tells_the_same_facts_each_time_in_some_order():
    task = build_task("lookup", "lookup", {"facts": [4], "times": 3})
    for index in range(20):
        told = sentences(task.text(index))
        assert len(told) == 12
        assert len(set(told[:4])) == 4
        assert sorted(told[:4]) == sorted(told[4:8]) == sorted(told[8:])


def test_no_text_gives_a_person_two_tails_of_one_relation():
    task = build_task("lookup", "lookup", {"facts": [12]})
    for index in range(50):
        facts = set(sentences(task.text(index)))
        assert len({(head, relation) for head, relation, _ in facts}) == len(facts)


def test_some_texts_need_the_person_and_the_relation_together():
    task = build_task("lookup", "lookup", {"facts": [8]})
    needy = 0
    for index in range(50):
        facts = set(sentences(task.text(index)))
        heads, relations = {fact[0] for fact in facts}, {fact[1] for fact in facts}
        needy += len(heads) < len(facts) and len(relations) < len(facts)
    assert needy > 25


def test_the_answer_stands_in_the_prompt_and_the_gold_derivation_is_right():
    task = build_task("lookup", "lookup", {})
    for cell in task.cells:
        for index in range(20):
            problem = task.problem("iid", cell.name, index)
            head, tail = problem.detail["visited"]
            assert (head, problem.detail["path"][0], tail) in sentences(problem.prompt.partition(" Question")[0])
            assert task.check(problem, problem.target).derivation_correct


def test_another_tail_is_caught_at_the_step():
    task = build_task("lookup", "lookup", {})
    problem = task.problem("iid", "lookup/4", 0)
    wrong = next(tail for _, _, tail in problem.detail["facts"] if tail != problem.answer)
    verdict = task.check(problem, problem.target.replace(problem.answer, wrong))
    assert (verdict.answer_correct, verdict.first_error, verdict.first_error_kind) == (False, 0, "context_hop")


def test_levels_draw_different_problems_and_a_rebuilt_task_draws_the_same():
    task = build_task("lookup", "lookup", {"people": 30})
    again = build_task(**task_spec(task))
    assert task.problem("iid", "lookup/8", 3) == again.problem("iid", "lookup/8", 3)
    assert task.problem("iid", "lookup/8", 3).prompt != task.problem("train", "lookup/8", 3).prompt


def test_its_words_cover_every_complementary_text():
    known = set(build_task("lookup", "lookup", {"people": 514}).words())
    other = build_task("people", "complementary", {"people": 16, "parametric_relations": 4, "contextual_relations": 5})
    assert set(other.words()) <= known


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"facts": [40]}, "facts"),
        ({"facts": [0]}, "facts"),
        ({"people": 4, "people_per_text": 5}, "people_per_text"),
        ({"people_per_txt": 3}, "people_per_text"),
    ],
)
def test_impossible_parameters_are_named(parameters, named):
    with pytest.raises(TaskError, match=named):
        build_task("lookup", "lookup", parameters)


def test_an_unknown_cell_or_level_names_those_there_are():
    task = build_task("lookup", "lookup", {})
    with pytest.raises(TaskError, match="lookup/4"):
        task.problem("iid", "lookup/5", 0)
    with pytest.raises(TaskError, match="validation"):
        task.problem("zero_shot", "lookup/4", 0)
