import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.errors import TaskError
from rlreason.types import Problem
from tests.tasks.complementary.worlds import TWINS, complementary


def gold(problem: Problem) -> set[tuple[str, str, str]]:
    nodes, detail = problem.detail["visited"], problem.detail
    hops = zip(nodes, detail["path"], nodes[1:], detail["groups"], strict=False)
    return {(head, name, tail) for head, name, tail, group in hops if group == "contextual"}


def contradictions(facts: set[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Facts that disagree with another, once every fact is also read backwards through its twin."""
    both = facts | {(tail, TWINS[name], head) for head, name, tail in facts if name in TWINS}
    tails: dict[tuple[str, str], set[str]] = {}
    for head, name, tail in both:
        tails.setdefault((head, name), set()).add(tail)
    return [fact for fact in facts if len(tails[fact[:2]]) > 1 or fact[0] == fact[2]]


@settings(max_examples=60)
@given(
    people=st.integers(6, 40),
    seed=st.integers(0, 3),
    index=st.integers(0, 10_000),
    cell=st.sampled_from(["contextual/1", "contextual/3", "complementary/2", "complementary/3"]),
    contexts=st.sampled_from(["relation_unique", "strict"]),
    facts=st.sampled_from(["fresh", "world"]),
)
def test_contexts_tell_what_is_needed_and_contradict_nothing(people, seed, index, cell, contexts, facts):
    task = complementary(
        people=people,
        world_seed=seed,
        contexts=contexts,
        context_facts=facts,
        contextual_relations=7,
        contextual_values=1,
    )
    problem = task.problem("train", cell, index)
    told = [tuple(fact) for fact in problem.detail["facts"]]
    assert gold(problem) <= set(told)
    assert len(set(told)) == len(told)
    assert contradictions(set(told)) == []
    assert all(task.relations.groups[name] == "contextual" for _, name, _ in told)
    if facts == "world":
        assert all(task.world.tails[name][head] == tail for head, name, tail in told)


@settings(max_examples=60)
@given(index=st.integers(0, 100_000), seed=st.integers(0, 3))
def test_relation_unique_contexts_say_each_relation_once_and_contradict_nothing(index: int, seed: int):
    task = complementary(people=6, contextual_relations=8, distractors=4, world_seed=seed)
    problem = task.problem("train", "contextual/3", index)
    told = [tuple(fact) for fact in problem.detail["facts"]]
    names = [name for _, name, _ in told]
    assert len(told) == 3 + 4 == len(set(names))
    assert contradictions(set(told)) == []


def test_strict_contexts_give_every_person_who_matters_all_their_facts():
    task = complementary(contexts="strict", contextual_relations=8, contextual_values=3, distractors=3)
    problem = task.problem("train", "contextual/2", 7)
    told = [tuple(fact) for fact in problem.detail["facts"]]
    heads = [head for head, _, _ in told]
    assert set(problem.detail["visited"][:2]) <= set(heads)
    assert len(set(heads)) == 2 + 3
    assert {heads.count(head) for head in heads} == {8 + 3}
    assert heads == sorted(heads, key=heads.index)  # a person's facts stand together


def test_needed_facts_stand_anywhere_in_a_context():
    task = complementary()
    places = set()
    for index in range(200):
        problem = task.problem("train", "contextual/1", index)
        told = [tuple(fact) for fact in problem.detail["facts"]]
        places.add(told.index(*gold(problem)))
    assert places == {0, 1, 2}


def test_parametric_problems_have_no_context():
    problem = complementary().problem("train", "parametric/2", 0)
    assert problem.prompt.startswith("Question: ") and problem.detail["facts"] == []


@pytest.mark.parametrize("contexts", ["relation_unique", "strict"])
def test_parametric_distractors_stand_in_every_second_parametric_prompt_and_nowhere_else(contexts):
    plain = complementary(contexts=contexts, distractors=1)
    told = complementary(contexts=contexts, distractors=1, parametric_distractors=3)
    problems = [told.problem("train", "parametric/2", index) for index in range(200)]
    some = [problem for problem in problems if problem.detail["facts"]]
    assert 70 < len(some) < 130
    for problem in some:
        facts = [tuple(fact) for fact in problem.detail["facts"]]
        things = {fact[0] for fact in facts} if contexts == "strict" else facts
        assert len(things) == 3
        assert not contradictions(set(facts))
        assert told.check(problem, problem.target).derivation_correct
    for cell in ("contextual/2", "complementary/2"):
        assert told.problem("train", cell, 5) == plain.problem("train", cell, 5)


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"contexts": "strict", "parametric_distractors": 99}, "parametric_distractors 99 are more people than the"),
        ({"parametric_distractors": 99}, "parametric_distractors 99 are more than the 5 contextual relations"),
    ],
)
def test_more_parametric_distractors_than_there_are_are_refused(settings, refusal):
    with pytest.raises(TaskError, match=refusal):
        complementary(**settings)


@pytest.mark.parametrize("contexts", ["relation_unique", "strict"])
def test_fresh_facts_cannot_be_memorised(contexts: str):
    task = complementary(people=8, contexts=contexts)
    rng = random.Random(0)
    tails: dict[tuple[str, ...], set[str]] = {}
    for _ in range(300):
        problem = task.problem("train", "contextual/1", rng.randrange(10**6))
        for head, name, tail in gold(problem):
            tails.setdefault((head, name), set()).add(tail)
    assert min(map(len, tails.values())) > 1
