from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rlreason.cli import app
from rlreason.errors import RecordsError, UserError
from rlreason.watch.feed import Feed
from rlreason.watch.terminal import ago, colour, draw, progress_bar, sparkline
from rlreason.watch.view import StageState
from tests.watch.small_run import begin, draw_problems, planned_run, roll_out, tell

runner = CliRunner()


def drawn(feed: Feed, width: int) -> str:
    feed.look()
    out = io.StringIO()
    Console(file=out, width=width).print(draw(feed.view(), width))
    return out.getvalue()


def busy_run(path: Path):
    folder = planned_run(path)
    begin(folder, "rl-0")
    for update in (1, 2):
        phases = {"seconds_generate": 3.0, "seconds_learn": 1.0}
        tell(folder, "rl-0", [update], at=100.0 + 4 * update, reward_mean=0.25 * update, staleness_mean=1.0, **phases)
        draw_problems(folder, update, [0.5, None], unlocked=False)
    roll_out(folder, 2, [(False, False)])
    (folder.path / "incidents.jsonl").write_text('{"kind": "died", "actor": "\\u001b[31mgenerator 1"}\n')
    return folder


@pytest.mark.parametrize("width", [60, 100, 160])
def test_everything_is_drawn_at_every_width(tmp_path: Path, width: int):
    text = drawn(Feed(busy_run(tmp_path)), width)
    assert max(map(len, text.splitlines())) <= width
    for expected in ("tiny", "2/20", "reward", "0.5  ▁█", "versions behind", "complementary/2 ██", "locked", "died"):
        assert expected in text, expected
    assert "busy in the last 2 updates: generators 75%, learners 25%" in " ".join(text.split())
    assert "a & b.⟨order⟩" in " ".join(text.split())


def test_text_from_records_cannot_steer_the_terminal(tmp_path: Path):
    text = drawn(Feed(busy_run(tmp_path)), 160)
    assert "\x1b" not in text
    assert "␛[31mSo: Bob" in text and "␛[31mgenerator 1" in text


def test_a_run_that_has_not_begun_says_so(tmp_path: Path):
    from rlreason.records import RunFolder

    assert "The run has not begun" in drawn(Feed(RunFolder(tmp_path / "run")), 80)


def test_a_sparkline_goes_from_the_lowest_to_the_highest():
    assert sparkline([0.0, 1.0, 3.0, None, 7.0]) == "▁▂▄ █"  # the first, second, fourth and eighth block
    assert sparkline([2.0, 2.0]) == "▅▅"
    assert sparkline([None]) == ""


def test_a_share_is_red_at_none_and_green_at_all():
    assert colour(0.0) == "rgb(165,42,30)"
    assert colour(0.5) == "rgb(222,184,90)"
    assert colour(1.0) == "rgb(34,139,90)"
    assert colour(0.25) == "rgb(194,113,60)"  # half-way: (165 + 222) / 2 = 193.5, (42 + 184) / 2, (30 + 90) / 2


@pytest.mark.parametrize(
    ("state", "done", "total", "filled"),
    [("begun", 5, 20, 3), ("done", 5, 20, 12), ("begun", 5, None, 0), ("begun", 30, 20, 12)],
)
def test_a_bar_is_full_where_a_stage_stopped_early(state: str, done: int, total: int | None, filled: int):
    stage = StageState("rl-0", "rl", "rl", 0, (), state, done, total, "updates", None, 0, {})
    bar = progress_bar(stage, width=12)
    assert (len(bar.plain), sum(span.end - span.start for span in bar.spans if span.style == "green")) == (12, filled)


def test_times_are_told_in_the_unit_that_fits():
    assert [ago(seconds) for seconds in (-1, 3.2, 119, 121, 7300, 200_000)] == [
        *["0 s", "3 s", "119 s", "2 min", "2 h", "2 d"],
    ]


def test_the_command_prints_once_on_a_pipe_and_json_when_asked(tmp_path: Path):
    import json

    folder = busy_run(tmp_path)
    result = runner.invoke(app, ["watch", str(folder.path)])
    assert result.exit_code == 0 and "2/20" in result.output
    told = json.loads(runner.invoke(app, ["watch", str(folder.path), "--stage", "atomic", "--json"]).output)
    assert (told["focus"], told["state"]) == ("sft-0", "0 stages done")
    output = tmp_path / "trace.json"
    assert "the phases of 2 updates" in runner.invoke(app, ["trace", str(folder.path), "-o", str(output)]).output
    assert output.exists()


def test_what_the_command_cannot_do_is_refused_with_a_remedy(tmp_path: Path):
    folder = str(busy_run(tmp_path).path)
    for arguments, kind, message in (
        (["--stage", "rll"], RecordsError, "stage 'rll' is not one of atomic, rl, evaluate; did you mean 'rl'?"),
        (["--web", "--json"], UserError, "--web serves a page"),
        (["--port", "8080"], UserError, "--port 8080 is the page's: say --web too"),
    ):
        error = runner.invoke(app, ["watch", folder, *arguments]).exception
        assert isinstance(error, kind) and message in str(error)
