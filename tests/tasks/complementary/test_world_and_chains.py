import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.tasks.complementary.chains import ChainMaker
from tests.tasks.complementary.worlds import TWINS, complementary


@settings(max_examples=25, deadline=None)
@given(people=st.integers(4, 41), new=st.integers(0, 7), seed=st.integers(0, 5))
def test_every_relation_is_a_function_and_its_twin_leads_back(people: int, new: int, seed: int):
    task = complementary(people=people, new_people=new, world_seed=seed, context_facts="world", parametric_values=2)
    world = task.world
    for name, tails in world.tails.items():
        group = world.known if task.relations.groups[name] == "parametric" else world.everyone
        assert set(tails) <= set(group)
        if name not in TWINS:
            assert set(tails) == set(group)
            continue
        assert all(world.tails[TWINS[name]][tail] == head != tail for head, tail in tails.items())
        # a matching leaves an odd person out; a permutation leaves nobody
        assert len(tails) == (len(group) // 2 * 2 if TWINS[name] == name else len(group))


def test_one_more_relation_changes_no_other_facts():
    fewer, more = complementary(parametric_values=1).world, complementary(parametric_values=2).world
    assert all(more.tails[name] == tails for name, tails in fewer.tails.items())


def test_fresh_contextual_facts_are_not_part_of_the_world():
    assert set(complementary().world.tails) == {"spouse", "child", "parent", "friend", "sibling"}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), facts=st.sampled_from(["fresh", "world"]))
def test_chains_follow_the_world_and_visit_nobody_twice(seed: int, facts: str):
    task = complementary(context_facts=facts, new_people=8)
    world, rng = task.world, random.Random(seed)
    maker = ChainMaker(task.relations, world, 0.1, 0.1, "0")
    path = ("spouse", "rival", "child", "mentor")
    chain = maker.walk(path, rng)
    if chain is None:
        return
    assert len(set(chain.nodes)) == 5
    for head, name, tail in chain.facts:
        if name in world.tails:
            assert world.tails[name][head] == tail
    assert chain.nodes[0] in world.known and chain.nodes[2] in world.known  # heads of parametric hops


@pytest.mark.parametrize("facts", ["fresh", "world"])
def test_a_chain_and_its_reverse_share_a_bucket_where_all_facts_are_fixed(facts: str):
    task = complementary(context_facts=facts)
    maker = ChainMaker(task.relations, task.world, 0.3, 0.3, "0")
    rng = random.Random(0)
    same = []
    for path in [("spouse", "child"), ("child", "sibling", "parent"), ("rival", "child")] * 40:
        chain = maker.walk(path, rng)
        if chain is None:
            continue
        back = type(chain)(tuple(TWINS[name] for name in reversed(path)), tuple(reversed(chain.nodes)))
        if facts == "world" or "rival" not in path:
            assert maker.bucket(chain) == maker.bucket(back)
        else:
            same.append(maker.bucket(chain) == maker.bucket(back))
    assert facts == "world" or not all(same)  # fresh facts: the end does not follow from the start


def test_buckets_have_about_the_shares_asked_for():
    task = complementary(people=400)
    maker = ChainMaker(task.relations, task.world, 0.2, 0.1, "0")
    rng = random.Random(1)
    chains = [chain for _ in range(4000) if (chain := maker.walk(("spouse", "child"), rng))]
    buckets = [maker.bucket(chain) for chain in {chain.nodes[0]: chain for chain in chains}.values()]
    # about 400 starts: three standard deviations are 0.06 and 0.045
    assert buckets.count("iid") / len(buckets) == pytest.approx(0.2, abs=0.06)
    assert buckets.count("validation") / len(buckets) == pytest.approx(0.1, abs=0.045)
