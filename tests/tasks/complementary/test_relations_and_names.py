import re
from collections import Counter

import pytest

from rlreason.errors import TaskError
from rlreason.tasks.complementary.names import FIRST, LAST
from rlreason.tasks.complementary.relations import GROUPS, VALUES, Relations, take_units
from rlreason.tasks.complementary.text import form_words
from rlreason.tasks.complementary.world import draw_names
from tests.tasks.complementary.worlds import TWINS

FULL = Relations({"parametric": 8, "contextual": 8}, {"parametric": 12, "contextual": 11})


def test_the_full_table_has_the_sizes_of_the_paper():
    assert [len(FULL.in_group(group)) for group in GROUPS] == [20, 19]
    symmetric = [name for name, twin in FULL.twins.items() if twin == name]
    paired = [name for name, twin in FULL.twins.items() if twin not in (None, name)]
    assert (len(symmetric), len(paired)) == (8, 8)
    assert {name: twin for name, twin in FULL.twins.items() if twin} == TWINS


def test_no_inverse_pair_straddles_the_groups():
    assert all(FULL.groups[name] == FULL.groups[twin] for name, twin in TWINS.items())


@pytest.mark.parametrize("count", range(1, 9))
def test_taking_fewer_relations_never_splits_a_pair(count: int):
    table = Relations({"parametric": count, "contextual": count}, {"parametric": 0, "contextual": 0})
    assert len(table.by_name) == 2 * count
    assert all(TWINS[name] in table.by_name for name in table.by_name)


def test_units_that_do_not_fit_are_passed_over_and_a_pair_is_taken_when_nothing_else_is_left():
    assert take_units([("a", "b"), ("c",)], 1) == (("c",),)
    assert take_units([("c",), ("a", "b")], 2) == (("c",), ("a", "b"))  # c alone is one short
    assert take_units([("a", "b")], 1) == (("a", "b"),)
    assert take_units([("a", "b")], 0) == ()


def test_no_word_stands_for_two_things():
    values = [value for table in VALUES.values() for words in table.values() for value in words]
    entities = [*FIRST, *LAST, *values]
    assert [word for word, count in Counter(entities).items() if count > 1] == []
    assert set(entities).isdisjoint(FULL.by_name)
    assert set(entities).isdisjoint(form_words())
    assert len(FIRST) >= 400 and len(LAST) >= 400
    assert all(re.fullmatch("[A-Z][a-z]+", name) for name in (*FIRST, *LAST))
    assert all(re.fullmatch("[A-Za-z]+|[0-9]+", value) for value in values)


def test_names_have_one_word_while_the_list_lasts_and_never_repeat():
    few, many = draw_names(len(FIRST), None, 3, "tasks.t"), draw_names(len(FIRST) + 1, None, 3, "tasks.t")
    assert {len(name.split()) for name in few} == {1}
    assert {len(name.split()) for name in many} == {2}
    assert len(set(few)) == len(few) and len(set(many)) == len(many)


def test_too_few_names_are_refused_with_the_most_there_are():
    with pytest.raises(TaskError, match=rf"tasks.t: .*600.*at most {len(FIRST)} or set name_words: 2"):
        draw_names(600, 1, 0, "tasks.t")
