"""The completions that rewards are tried on: each is of the kind it says, by the task's own check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlreason.rewards import samples as kinds
from rlreason.rewards.samples import around_answer, hostile, trial_of_task
from rlreason.tasks import build_task
from rlreason.tasks.sampling import sample

TASK = build_task("small", "complementary", {"people": 16, "hops": {2: 1, 3: 1}})
PROBLEMS = sample(TASK, "train", [cell.name for cell in TASK.cells], 12)


def of(kind):
    return [one for one in trial_of_task(TASK, PROBLEMS).samples if one.kind == kind]


def test_gold_comes_first_and_is_right():
    trial = trial_of_task(TASK, PROBLEMS)
    assert [one.kind for one in trial.samples[: len(PROBLEMS)]] == [kinds.GOLD] * len(PROBLEMS)
    assert all(TASK.check(one.problem, one.text).derivation_correct for one in of(kinds.GOLD))


def test_wrong_kinds_are_wrong_as_they_say():
    for kind, answer_right in ((kinds.WRONG_ANSWER, False), (kinds.WRONG_STEP, True), (kinds.ANOTHER, False)):
        found = of(kind)
        assert len(found) == len(PROBLEMS), kind
        for one in found:
            verdict = TASK.check(one.problem, one.text)
            assert (verdict.answer_correct, verdict.derivation_correct) == (answer_right, False), one
            assert verdict.answer is not None
    assert all(TASK.check(one.problem, one.text).answer is None for one in of(kinds.TRUNCATED))


def test_every_answer_is_said_and_the_right_one_is_neither_first_nor_last():
    answers = {problem.answer for problem in PROBLEMS}
    found = of(kinds.EVERY_ANSWER)
    assert len(found) == 2 * len(PROBLEMS)
    for bare, concluded in zip(found[::2], found[1::2], strict=True):
        assert set(bare.text.split()) == answers
        lines = concluded.text.splitlines()
        assert len(lines) == len(answers)
        right = [index for index, line in enumerate(lines) if TASK.check(bare.problem, line).answer_correct]
        assert len(right) == 1 and 0 < right[0] < len(lines) - 1


def test_a_lone_problem_has_no_kinds_that_need_another_answer():
    found = {one.kind for one in trial_of_task(TASK, PROBLEMS[:1]).samples}
    # a wrong step is had from the problem itself: its second step where its first should stand
    assert found == {
        kinds.WRONG_STEP,
        kinds.GOLD,
        kinds.BARE,
        kinds.TRUNCATED,
        kinds.EMPTY,
        kinds.PROMPT,
        kinds.REPEATED,
    }


def test_hostile_texts_stand_alone_and_in_the_place_of_the_answer(tmp_path: Path):
    around = trial_of_task(TASK, PROBLEMS).around
    assert around[0].endswith("answer is: ")
    found = list(hostile(PROBLEMS[0], around, tmp_path / "written"))
    assert {one.kind for one in found} == set(kinds.HOSTILE)
    for kind in kinds.HOSTILE:
        alone, placed, *_ = (one.text for one in found if one.kind == kind)
        assert placed == around[0] + alone + around[1]
    assert max(len(one.text) for one in found) < 110_000


def test_the_code_would_leave_its_file_if_it_were_run(tmp_path: Path):
    marker = tmp_path / "written"
    code = next(one.text for one in hostile(PROBLEMS[0], ("", ""), marker) if one.kind == kinds.CODE)
    subprocess.run([sys.executable, "-c", f"eval({code!r})"], check=True)
    assert marker.exists()


@given(st.text(), st.text())
def test_what_stands_around_an_answer_makes_the_text_again(text: str, answer: str):
    before, after = around_answer(text, answer)
    assert (before + answer + after == text) if answer and answer in text else (before, after) == ("", "")
