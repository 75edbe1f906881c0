"""The made-up run of `rlreason bench report`: as many rows as it says, readable as any run."""

import sys

import pytest

from rlreason.bench import report as bench
from rlreason.errors import UserError
from rlreason.records import RunFolder
from rlreason.report.summary import summarise


def test_the_run_has_the_rows_it_says_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "PROBLEMS", 30)
    monkeypatch.setattr(bench, "BLOCK_ROWS", 100)
    rows, files = bench.write_run(RunFolder(tmp_path), samples=4)
    # 3 arms x 3 seeds x 3 levels x 30 problems x 5 completions, 20 problems a file
    assert (rows, files) == (4050, 9 * 5)
    summary = summarise(RunFolder(tmp_path))
    assert summary.counts.table["n"].sum() == rows
    figures = {name: arm.levels["iid"].pass_at_1.value for name, arm in summary.arms.items()}
    assert figures["sft"] < figures["sft_rl"]
    assert summary.arms["sft"].levels["iid"].samples == 4


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match=r"--rows 1,000 leaves no sample a problem; 27,648 is the least"):
        bench.bench_report(1000)


def test_a_command_is_measured_and_one_that_fails_is_named():
    seconds, processor, peak = bench._measure(
        [sys.executable, "-c", "import time; x = bytearray(50_000_000); time.sleep(0.5)"]
    )
    assert processor > 0
    assert seconds > 0
    assert 0.045 < peak < 1
    with pytest.raises(UserError, match="no such thing"):
        bench._measure([sys.executable, "-c", "raise SystemExit('no such thing')"])
