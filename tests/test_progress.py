from __future__ import annotations

import io
import math

from rich.console import Console

from rlreason.progress import TerminalProgress
from rlreason.recipe.plan import PlannedStage


def stage(name: str, seed: int = 0) -> PlannedStage:
    return PlannedStage(
        id=f"{name}-0123456789", name=name, type="rl", seed=seed, parent=None, config=None, arms=("a", "b")
    )


def printed(rewards: list[float]) -> str:
    """What a pipe gets from one stage that reports these rewards."""
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=200)) as progress:
        progress.run_started([stage("sft"), stage("rl")], done=["sft-0123456789"])
        progress.stage_started(stage("rl"), total=len(rewards), unit="updates", done=0)
        for done, reward in enumerate(rewards, start=1):
            progress.stage_advanced(stage("rl"), done, {"reward_mean": reward, "loss": math.nan})
        progress.stage_finished(stage("rl"), seconds=83.4)
    return out.getvalue()


def test_a_finished_stage_says_what_changed_from_its_first_updates_to_its_last():
    # means of the first three (0.1, 0.2, 0.3) and the last three (0.7, 0.8, 0.9)
    text = printed([0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9])
    assert "[2/2] rl of a, b  0:01:23  reward 0.2 -> 0.8" in text
    assert "loss" not in text  # undefined: left out


def test_too_few_updates_are_not_compared():
    assert "reward 0.9" in printed([0.1, 0.9])
    assert "->" not in printed([0.1, 0.9])


def test_rollouts_that_could_not_be_scored_are_counted_where_a_person_sees_them():
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=200)) as progress:
        for unscored in ([2.0, 0.0, 3.0], [0.0]):
            progress.stage_started(stage("rl"), total=3, unit="updates", done=0)
            for done, count in enumerate(unscored, start=1):
                progress.stage_advanced(stage("rl"), done, {"reward_mean": 0.5, "unscored": count})
            progress.stage_finished(stage("rl"), seconds=1.0)
    first, second = (line for line in out.getvalue().splitlines() if line)
    assert first.endswith("5 rollouts could not be scored") and second.endswith("reward 0.5")


def test_a_resumed_run_says_how_much_was_done_before():
    assert "2 stages, 1 done before" in printed([0.5])


def test_notes_are_plain_text_not_markup():
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=200)) as progress:
        progress.note("[bold]not markup[/bold]")
    assert "[bold]not markup[/bold]" in out.getvalue()


def test_a_live_terminal_shows_the_stage_and_its_figures():
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=200, force_terminal=True, color_system=None)) as progress:
        progress.run_started([stage("rl", seed=2)], done=[])
        progress.stage_started(stage("rl", seed=2), total=30, unit="updates", done=4)
        progress.stage_advanced(stage("rl"), 5, {"reward_mean": 0.25, "generated_tokens_per_second": 3210.0})
    text = out.getvalue()
    assert "[1/1] rl of a, b (seed 2)" in text
    assert "5/30" in text and "reward 0.25  3,210 tokens/s" in text
