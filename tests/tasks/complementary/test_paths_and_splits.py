import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.tasks.complementary.paths import PathSpace, canonical, reverse, stable_share
from rlreason.tasks.complementary.relations import Relation
from rlreason.tasks.complementary.splits import HashedSplit, ListedSplit, PathRules, make_split
from tests.tasks.complementary.worlds import TWINS, reverse_path

SPOUSE = Relation("spouse", "parametric", "spouse")
CHILD = Relation("child", "parametric", "parent")
PARENT = Relation("parent", "parametric", "child")
CITY = Relation("city", "parametric", None, ("Oslo", "Lima"))
RIVAL = Relation("rival", "contextual", "rival")
MENTOR = Relation("mentor", "contextual", "student")
STUDENT = Relation("student", "contextual", "mentor")
ALL = (SPOUSE, CHILD, PARENT, CITY, RIVAL, MENTOR, STUDENT)
LOOKUP = {relation.name: relation.twin for relation in ALL}


def rules(**changes: object) -> PathRules:
    given = {"held_out": frozenset(), "share": 0.25, "salt": "0", "twins": LOOKUP}
    always = {"trainable": lambda path: True, "walkable": lambda path: True}
    return PathRules(**{**given, **always, **changes})  # type: ignore[arg-type]


def test_two_hop_paths_written_out():
    space = PathSpace(2, (SPOUSE, CHILD, PARENT, CITY), repeats=True, mixed=False)
    assert set(space) == {
        *{("spouse", "child"), ("spouse", "parent"), ("spouse", "city")},
        *{("child", "spouse"), ("child", "child"), ("child", "city")},
        *{("parent", "spouse"), ("parent", "parent"), ("parent", "city")},
    }
    assert set(PathSpace(2, (SPOUSE, CHILD, CITY), repeats=False, mixed=False)) == {
        *{("spouse", "child"), ("spouse", "city"), ("child", "spouse"), ("child", "city")}
    }


def test_mixed_paths_use_both_groups():
    assert set(PathSpace(2, (SPOUSE, CITY, RIVAL), repeats=False, mixed=True)) == {
        ("spouse", "rival"),
        ("rival", "spouse"),
        ("rival", "city"),
    }


@settings(max_examples=20, deadline=None)
@given(hops=st.integers(1, 3), repeats=st.booleans(), mixed=st.booleans())
def test_draws_are_the_listed_paths_equally_often(hops: int, repeats: bool, mixed: bool):
    space, rng = PathSpace(hops, ALL, repeats, mixed), random.Random(0)
    listed = list(space)
    assert len(set(listed)) == len(listed) <= space.bound
    drawn = Counter(path for _ in range(40 * len(listed)) if (path := space.draw(rng)))
    assert set(drawn) <= set(listed)
    if listed:
        mean = drawn.total() / len(listed)
        assert all(abs(drawn[path] - mean) < 6 * mean**0.5 + 3 for path in listed)


def test_the_reverse_goes_back_through_twins_and_a_value_has_none():
    assert reverse(("spouse", "child", "mentor"), LOOKUP) == ("student", "parent", "spouse")
    assert reverse(("spouse", "city"), LOOKUP) is None
    assert canonical(("spouse", "child"), LOOKUP) == canonical(("parent", "spouse"), LOOKUP) == ("parent", "spouse")
    assert canonical(("spouse", "city"), LOOKUP) == ("spouse", "city")


def test_shares_are_stable_numbers_that_depend_on_where_words_end():
    # printf 'a\x1fb' | b2sum -l 64
    assert stable_share("a", "b") == 0xF84C4D669FE0D410 / 2**64
    assert stable_share("ab", "c") != stable_share("a", "bc")


@settings(max_examples=40, deadline=None)
@given(salt=st.integers(0, 1000).map(str), share=st.sampled_from([0.0, 0.1, 0.4, 0.9]), hops=st.integers(2, 3))
def test_a_listed_split_holds_out_whole_directions_and_leaves_every_relation_in_training(salt, share, hops):
    training = PathSpace(hops, (SPOUSE, CHILD, PARENT, CITY, MENTOR, STUDENT), True, True)
    everything = PathSpace(hops, ALL, True, True)
    split = make_split(training, everything, rules(held_out=frozenset({"rival"}), share=share, salt=salt))
    assert isinstance(split, ListedSplit)
    seen, composition, unseen = (set(split.paths[kind]) for kind in ("seen", "composition", "zero_shot"))
    assert seen | composition == set(training) and not seen & composition
    assert seen | composition | unseen == set(everything)
    assert all("rival" in path for path in unseen) and not any("rival" in path for path in seen | composition)
    trained = {name for path in seen for name in path}
    for path in composition:
        assert trained.issuperset(path)
        assert tuple(reverse_path(list(path)) or path) not in seen
    assert bool(composition) == (share > 0)
    if share <= 0.4:  # exact while coverage does not forbid it
        classes = {canonical(path, LOOKUP) for path in training}
        held = {canonical(path, LOOKUP) for path in composition}
        assert len(held) == (max(1, round(share * len(classes))) if share else 0)


def test_one_hop_paths_are_never_held_out_for_composition():
    space = PathSpace(1, (SPOUSE, CHILD, PARENT), True, False)
    split = make_split(space, space, rules(share=0.9))
    assert split.draw("composition", random.Random(0)) is None


def test_paths_without_a_training_instance_are_neither_trained_nor_composition():
    space = PathSpace(2, (SPOUSE, CHILD, PARENT), True, False)
    split = ListedSplit(space, space, rules(trainable=lambda path: "spouse" not in path))
    assert all("spouse" not in path for kind in ("seen", "composition") for path in split.paths[kind])


def test_a_hashed_split_keeps_the_same_promises():
    training = PathSpace(3, (SPOUSE, CHILD, PARENT, CITY, MENTOR, STUDENT), True, True)
    everything = PathSpace(3, ALL, True, True)
    split = HashedSplit(training, everything, rules(held_out=frozenset({"rival"})))
    rng = random.Random(0)
    drawn = {
        kind: {path for _ in range(4000) if (path := split.draw(kind, rng))}
        for kind in ("seen", "composition", "zero_shot")
    }
    assert all(drawn.values())
    assert not drawn["seen"] & drawn["composition"]
    assert all(tuple(reverse_path(list(path)) or path) not in drawn["seen"] for path in drawn["composition"])
    assert {name for path in drawn["composition"] for name in path} <= {name for path in drawn["seen"] for name in path}
    assert all("rival" in path for path in drawn["zero_shot"])
    assert "rival" not in {name for kind in ("seen", "composition") for path in drawn[kind] for name in path}


def test_a_hashed_split_asks_only_for_relations_it_saw_in_training():
    space = PathSpace(3, (SPOUSE, CHILD, PARENT, MENTOR, STUDENT), True, True)
    split = HashedSplit(space, space, rules(trainable=lambda path: "spouse" not in path))
    rng = random.Random(0)
    composition = {path for _ in range(4000) if (path := split.draw("composition", rng))}
    assert composition and not any("spouse" in path for path in composition)


def test_the_twins_of_this_file_are_the_shipped_ones():
    assert all(TWINS.get(name) == twin for name, twin in LOOKUP.items())
