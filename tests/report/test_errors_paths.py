import math

import pandas as pd
import pytest

from rlreason.records import RunFolder, read_plan
from rlreason.report.errors import summarise_errors
from rlreason.report.memorised import TrainedPaths
from tests.report.synthetic import write_plan
from tests.report.wrong_run import Told, write_told

TRAINED = (("boss", "pet"), ("boss", "friend"), ("friend", "pet"))
DETAIL = {"path": ["boss", "rival"], "gold_steps": 2}


@pytest.fixture
def followed(tmp_path):
    """Told completions -> followed category -> n, and the share expected by chance."""
    folder = RunFolder(tmp_path)
    write_plan(folder)

    def count(told, detail=DETAIL, trained=TRAINED):
        write_told(folder, "evaluate-sft-0", {"iid": told}, {each.problem: detail for each in told}, trained=trained)
        errors = summarise_errors(folder, read_plan(folder))
        rows = errors.followed
        return {name: n for name, n in zip(rows["followed"], rows["n"], strict=True) if n}, rows["by_chance"], errors

    return count


def wrong(problem, *names):
    return Told(problem, False, "w" * len(names), "order", 0, names)


def test_wrong_derivations_are_sorted_by_whose_path_they_follow(followed):
    counts, _, _ = followed(
        [
            wrong("a", "boss", "rival"),  # the asked one, with wrong facts
            wrong("b", "boss", "pet"),  # begins as asked, and is trained
            wrong("c", "boss", "boss"),
            wrong("d", "boss", "pet", "pet"),  # longer than the trained one
            wrong("e", "friend", "pet"),  # trained, and begins otherwise
            wrong("f", "hates"),  # no operation that is known
            Told("g", True, "ww", "order", 0, ("boss", "pet")),  # right: not counted
        ]
    )
    assert counts == {"asked path": 1, "trained path": 1, "untrained path": 2, "begins otherwise": 2}


def test_chance_is_the_trained_share_of_the_paths_that_begin_alike(followed):
    # names: boss, pet, friend, rival. Of length 2 from boss: 4 paths, 3 without the asked one, 2 of them trained
    _, by_chance, _ = followed([wrong("a", "boss", "pet"), wrong("b", "boss", "boss")])
    assert by_chance.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_the_asked_path_is_not_counted_as_a_trained_other():
    trained = TrainedPaths(pd.DataFrame({"task": "t", "path": [["a", "b"], ["a", "c"], ["a"]]}))
    assert trained.chance("t", ("a", "b"), 2, names=3) == pytest.approx(1 / 2)
    assert trained.chance("t", ("a", "b"), 1, names=3) == 1.0
    assert trained.chance("t", ("a", "b"), 3, names=3) == 0.0


def test_what_only_the_asked_path_begins_has_no_chance(followed):
    _, by_chance, _ = followed([wrong("a", "boss", "rival")])
    assert all(math.isnan(value) for value in by_chance)


def test_where_no_trained_paths_are_recorded_the_report_says_so(followed):
    counts, _, errors = followed([wrong("a", "boss", "pet")], trained=())
    assert counts == {}
    assert any("which wrong derivations repeat a trained path is not told" in line for line in errors.not_told)
