import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import RecordsError
from rlreason.watch import parts
from rlreason.watch.parts import Curriculum, NewestDerivations, RowCount, evenly, without_common
from tests.watch.small_run import STEP, draw_problems, planned_run, roll_out


@given(st.integers(0, 3000), st.integers(1, 300))
def test_a_bounded_even_choice_that_ends_with_the_last(count: int, most: int):
    numbers = list(range(1, count + 1))
    chosen = evenly(numbers, most)
    assert len(chosen) <= most + 1
    assert chosen[-1:] == numbers[-1:]
    gaps = [later - earlier for earlier, later in pairwise(chosen[:-1])]
    assert len(set(gaps)) <= 1
    assert count <= most or len(chosen) > most // 2


def test_the_heat_map_holds_what_the_parts_say(tmp_path: Path):
    folder = planned_run(tmp_path)
    curriculum = Curriculum(folder, "rl-0")
    assert curriculum.heat() is None
    draw_problems(folder, 1, [0.5, None], unlocked=False)
    draw_problems(folder, 2, [0.75, 0.25])
    heat = curriculum.heat()
    assert heat is not None
    assert (heat.cells, heat.updates) == (("complementary/2", "complementary/3"), (1, 2))
    assert heat.success == ((0.5, 0.75), (None, 0.25))
    assert heat.share == ((1.0, 0.75), (0.0, 0.25))  # 3 problems of 3, then 3 and 1 of 4
    assert heat.locked == ()  # as the newest update says


def test_what_a_resumed_stage_wrote_again_or_dropped_is_seen(tmp_path: Path):
    folder = planned_run(tmp_path)
    curriculum = Curriculum(folder, "rl-0")
    for update in (1, 2, 3):
        draw_problems(folder, update, [0.5, 0.5])
    curriculum.heat()
    (folder.records / "curriculum" / "rl-0" / "part-000003.parquet").unlink()
    draw_problems(folder, 2, [0.25, 0.5], unlocked=False)
    heat = curriculum.heat()
    assert heat is not None
    assert heat.success[0] == (0.5, 0.25)
    assert heat.locked == ("complementary/3",)


def test_thousands_of_parts_are_not_all_read_and_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = planned_run(tmp_path)
    written = draw_problems(folder, 1, [0.5, 0.5])
    for number in range(2, 2001):
        os.link(written, written.with_name(f"part-{number:06d}.parquet"))
    read: list[int] = []
    real = parts.read_part
    monkeypatch.setattr(parts, "read_part", lambda *asked: (read.append(asked[3]), real(*asked))[1])
    curriculum = Curriculum(folder, "rl-0")
    heat = curriculum.heat()
    assert heat is not None
    assert heat.updates[-1] == 2000
    assert parts.MOST_UPDATES / 2 < len(read) == len(set(read)) <= parts.MOST_UPDATES + 1
    curriculum.heat()
    assert len(read) == len(heat.updates)
    os.link(written, written.with_name("part-002001.parquet"))
    curriculum.heat()
    assert read[len(heat.updates) :] == [2001]


def test_the_newest_derivations_are_of_the_newest_part_and_of_every_verdict(tmp_path: Path):
    folder = planned_run(tmp_path)
    newest = NewestDerivations(folder, "rl-0")
    assert newest.shown() == ()
    roll_out(folder, 1, [(False, False)])
    roll_out(folder, 2, [(True, True)] * 20 + [(False, False), (True, False), (None, None)])
    shown = newest.shown()
    assert [each.verdict for each in shown[:4]] == ["right", "wrong", "right answer, wrong steps", "unscored"]
    assert len(shown) == parts.MOST_DERIVATIONS == len({each.problem for each in shown})
    assert {each.update for each in shown} == {2}
    first = shown[0]
    assert (first.pieces[0].text, first.pieces[0].verdict) == (STEP, "wrong")
    assert (first.gold, first.reward, shown[3].reward, shown[3].failure) == ("Bob", 1.0, None, "Timeout")


def test_a_damaged_part_is_named(tmp_path: Path):
    folder = planned_run(tmp_path)
    written = draw_problems(folder, 1, [0.5, 0.5])
    written.write_bytes(written.read_bytes()[:100])
    with pytest.raises(RecordsError, match=r"part-000001\.parquet is not a whole Parquet file"):
        Curriculum(folder, "rl-0").heat()
    with pytest.raises(RecordsError, match=r"part-000001\.parquet cannot be read"):
        RowCount(folder, "curriculum", "rl-0").rows()


def test_rows_are_counted_without_being_read(tmp_path: Path):
    folder = planned_run(tmp_path)
    count = RowCount(folder, "rollouts", "rl-0")
    assert count.rows() == 0
    roll_out(folder, 1, [(True, True)])
    roll_out(folder, 2, [(True, True)] * 3)
    assert count.rows() == 8


def test_names_of_cells_lose_only_what_all_share():
    assert without_common(["a:train:x/1", "a:train:y/1"]) == ["x/1", "y/1"]
    assert without_common(["a:train:x/1", "b:train:x/1"]) == ["a:x/1", "b:x/1"]
    assert without_common(["one", "a:train:x/1"]) == ["one", "a:train:x/1"]
