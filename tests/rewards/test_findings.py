"""What rewards by kind of completion mean, from Scores written by hand."""

from __future__ import annotations

import pytest

from rlreason.rewards import samples as kinds
from rlreason.rewards.findings import FINDINGS, Tried, find
from rlreason.rewards.samples import Sample
from rlreason.types import Problem, Score

PROBLEM = Problem("1", "t", "t/1", "train", "2+2=?", "4", "= 4")
SOUND = {kinds.GOLD: 1.0, kinds.WRONG_ANSWER: 0.0, kinds.EMPTY: 0.0, kinds.PROMPT: 0.0, kinds.EVERY_ANSWER: 0.0}


def tried(rewards: dict[str, float | str], problem: Problem = PROBLEM) -> list[Tried]:
    """One completion a kind; a text instead of a reward is a failure."""
    scores = {
        kind: Score(reward=None, failure=value) if isinstance(value, str) else Score(reward=value)
        for kind, value in rewards.items()
    }
    return [Tried(Sample(kind, problem, f"<{kind}>"), score, 0.001) for kind, score in scores.items()]


def names(rewards: dict[str, float | str], **settings) -> list[str]:
    """ "name" of each serious finding, "(name)" of each note."""
    found = find(tried(rewards), settings.pop("again", {}), settings.pop("elsewhere", {}), False, **settings)
    return [one.name if one.severity == "serious" else f"({one.name})" for one in found]


def test_nothing_is_said_of_a_sound_reward():
    assert names(SOUND) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({kinds.EMPTY: 0.1}, ["empty"]),
        ({kinds.PROMPT: 0.3}, ["prompt"]),
        ({kinds.PROMPT: 0.2}, ["(prompt)"]),  # under a quarter of what the right one is paid
        ({kinds.EVERY_ANSWER: 1.0}, ["every_answer"]),
        ({kinds.WRONG_ANSWER: 1.0}, ["wrong_answer"]),
        ({kinds.WRONG_ANSWER: 0.9}, []),
        ({kinds.ANOTHER: 2.0}, ["wrong_answer"]),
        ({kinds.WRONG_STEP: 1.0}, ["(wrong_step)"]),
        ({kinds.TRUNCATED: 1.0, kinds.REPEATED: 1.0}, ["(cut)", "(repeated)"]),
        ({kinds.GOLD: 0.0}, ["gold_unpaid"]),
        ({kinds.GOLD: "PluginRaised: x"}, ["fails", "gold_unpaid"]),
        ({kinds.TRUNCATED: "InvalidScore: nan"}, ["fails"]),
        ({kinds.NULS: "PluginTimeout: x"}, ["fails_on_hostile"]),
        ({kinds.TRUNCATED: "Unscorable: x"}, ["(declines)"]),
        ({kinds.NULS: 1.0}, []),  # may hold the answer
    ],
)
def test_each_fault_has_its_finding(change, found):
    assert names(SOUND | change) == found


def test_penalties_are_measured_against_the_right_completion():
    penalties = {kind: value - 1 for kind, value in SOUND.items()}
    assert names(penalties) == []  # right 0, all else -1
    assert names(penalties | {kinds.EMPTY: 0.0}) == ["empty"]
    assert names(penalties | {kinds.WRONG_ANSWER: 0.0}) == ["wrong_answer"]


def test_every_right_completion_must_beat_every_wrong_one_of_its_problem():
    given = [
        *tried({kinds.RIGHT: 1.0, kinds.WRONG: 0.0}),
        *tried({kinds.RIGHT: 0.5, kinds.WRONG: 0.4}, Problem("2", "t", "t/1", "given", "", "7", "7")),
    ]
    assert find(given, {}, {}, False) == []
    (finding,) = find([*given, *tried({kinds.WRONG: 1.0})], {}, {}, False)
    assert finding.name == "wrong_answer"
    assert finding.says == (
        "pays a wrong completion as much as the right one in 1 of 3: 1.00 (right: 1.00) for '<wrong (given)>'"
    )


def test_a_reward_of_the_whole_text_is_told_why_the_derivation_earns_nothing():
    (finding,) = find(tried(SOUND | {kinds.GOLD: 0.0, kinds.BARE: 1.0}), {}, {}, False)
    assert finding.says == (
        "pays 1 of 1 gold derivations nothing, such as '<gold derivation>'; it pays the answer alone, so it judges "
        "the whole text"
    )


def test_rewards_that_change_are_told_apart():
    same, other, failed = Score(reward=1.0 + 1e-12), Score(reward=0.5), Score(reward=None, failure="PluginTimeout: x")
    assert names(SOUND, again={0: same}, elsewhere={0: same}) == []
    assert names(SOUND, again={0: other}, elsewhere={0: other}) == ["unsteady"]
    assert names(SOUND, again={0: same}, elsewhere={0: other}) == ["order"]
    (finding,) = find(tried(SOUND), {0: failed, 1: Score(reward=0.0)}, {}, False)
    assert finding.says.endswith("1, then no score (PluginTimeout: x), for gold derivation (1 of 2 changed)")


def test_what_is_allowed_is_a_note_and_notes_come_last():
    faults = SOUND | {kinds.WRONG_ANSWER: 1.0, kinds.EMPTY: 1.0}
    assert names(faults) == ["wrong_answer", "empty"]
    assert names(faults, allowed=["wrong_answer"]) == ["empty", "(wrong_answer)"]


def test_code_that_ran_is_serious():
    (finding,) = find(tried(SOUND), {}, {}, True)
    assert (finding.name, finding.severity) == ("runs_text", FINDINGS["runs_text"]) == ("runs_text", "serious")
