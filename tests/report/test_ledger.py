"""Budgets of arms and of controls, from made-up ledgers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlreason.errors import RecordsError
from rlreason.records import Ledger, RunFolder, read_json, read_ledger, read_plan, write_json
from rlreason.report import build_report
from rlreason.report.ledger import budget_tables, summarise_budgets
from rlreason.report.summary import summarise
from tests.report.synthetic import finished_run

SPENT = {
    # powers of ten, so that a sum shows what went into it
    "sft-0": {"trained_tokens": 1, "updates": 1, "flops": 1e9, "device_seconds": 1.0},
    "rl-0": {"prompts": 10, "samples": 10, "sampled_tokens": 10, "trained_tokens": 10, "updates": 10, "flops": 1e10},
    "more-0": {"trained_tokens": 100, "updates": 100, "flops": 1e11},
    "judge-0": {"samples": 1000, "trained_tokens": 1000, "updates": 1000, "flops": 1e12},
    "late-0": {"samples": 10000, "trained_tokens": 10000, "updates": 10000, "flops": 1e13},
}


def spend(folder: RunFolder, stage: str, **ledger: Any) -> None:
    """Mark the stage done with a ledger."""
    figures = {"seconds": 1.0, "completed": "2025-01-01T00:00:20+00:00"}
    folder.mark_done(stage, {**figures, "ledger": {**SPENT[stage], **ledger}})


def add_stage(plan: dict[str, Any], id: str, type: str, parent: str, arms: list[str], **more: Any) -> None:
    stage = {"name": id.partition("-")[0], "type": type, "seed": 0, "parent": parent, "config": {}, "arms": arms}
    plan["stages"][id] = {**stage, **more}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Arms sft (atomic), sft_rl (atomic, rl), more (atomic, more: matched with rl), late (atomic, rl, late: whose steps
    are scored by what judge trains)."""
    folder = finished_run(tmp_path)
    plan = read_json(folder.plan_path)
    match = {"stage": "rl-0", "by": "tokens"}
    add_stage(plan, "more-0", "sft", "sft-0", ["more"], needs=["rl-0"], match=match)
    add_stage(plan, "judge-0", "prm", "sft-0", ["late"])
    add_stage(plan, "late-0", "rl", "rl-0", ["late"], needs=["judge-0"])
    for arm, stages in (("more", ["sft-0", "more-0"]), ("late", ["sft-0", "rl-0", "late-0"])):
        plan["arms"][arm] = {"title": "", "seeds": {"0": {"stages": stages, "evaluation": "evaluate-rl-0"}}}
    write_json(folder.plan_path, plan)
    for stage in SPENT:
        spend(folder, stage)
    return folder


def test_an_arm_is_the_sum_of_its_stages_and_owns_what_comes_after_the_shared_ones(folder):
    budgets = summarise_budgets(folder, read_plan(folder)).arms
    updates = {name: (arm.own[0].updates, arm.whole[0].updates) for name, arm in budgets.items()}
    assert updates == {
        "sft": (1, 1),  # the others go on from it
        "sft_rl": (10, 11),  # late goes on from it, more does not
        "more": (100, 101),  # its partner's budget is not its own
        "late": (11000, 11011),  # the training of its scorer is
    }
    assert budgets["late"].whole[0] == Ledger(
        prompts=10,
        samples=11010,
        sampled_tokens=10,
        trained_tokens=11011,
        updates=11011,
        flops=1.1011e13,
        device_seconds=1.0,
    )


def test_a_control_stands_beside_its_partner(folder):
    (pair,) = summarise_budgets(folder, read_plan(folder)).pairs
    assert (pair.stage, pair.partner, pair.by, pair.own, pair.budget, pair.ratio) == (
        "more-0",
        "rl-0",
        "tokens",
        100,
        10,
        10.0,
    )


def test_a_control_that_stopped_early_is_shown_with_what_it_lacks(folder):
    spend(folder, "rl-0", trained_tokens=2000)
    summary = summarise(folder)
    *_, table = budget_tables(summarise_budgets(folder, summary.plan), summary)
    assert table.title == "Controls and their partners"
    ((control, partner, by, own, budget, ratio),) = table.rows
    assert (control.text, partner.text, by.text) == ("atomic → more", "atomic → rl", "trained tokens")
    assert (own.text, budget.text, ratio.text) == ("100", "2,000", "0.050")
    assert ratio.detail == "stopped at its own updates, 100 of 2,000 trained tokens"


def test_operations_that_are_not_known_leave_the_sum_unknown_and_the_rest_known(folder):
    spend(folder, "rl-0", flops=None)
    summary = summarise(folder)
    budgets = summarise_budgets(folder, summary.plan)
    assert budgets.arms["sft_rl"].whole[0].flops is None
    assert budgets.arms["more"].whole[0].flops == 1e9 + 1e11
    _, whole, _ = budget_tables(budgets, summary)
    by_arm = {row[0].text: row for row in whole.rows}
    assert [cell.text for cell in by_arm["sft_rl"]] == ["sft_rl", "10", "10", "10", "11", "11", "-", "1.0 s"]
    assert by_arm["more"][6].text == "1.01e+11"


def test_seeds_are_averaged_and_one_without_all_its_ledgers_is_left_out(tmp_path):
    folder = finished_run(tmp_path)
    plan = read_json(folder.plan_path)
    for seed in (1, 2):
        for name, type, parent in (("sft", "sft", None), ("rl", "rl", f"sft-{seed}")):
            stage = {"name": name, "type": type, "seed": seed, "parent": parent, "arms": ["sft_rl"]}
            plan["stages"][f"{name}-{seed}"] = stage
        run = {"stages": [f"sft-{seed}", f"rl-{seed}"], "evaluation": "evaluate-rl-0"}
        plan["arms"]["sft_rl"]["seeds"][str(seed)] = run
    write_json(folder.plan_path, plan)
    for seed, updates in ((0, 4), (1, 8)):
        for name in ("sft", "rl"):
            folder.mark_done(f"{name}-{seed}", {"seconds": 1.0, "ledger": {"updates": updates}})
    summary = summarise(folder)
    budgets = summarise_budgets(folder, summary.plan)
    assert {seed: ledger.updates for seed, ledger in budgets.arms["sft_rl"].whole.items()} == {0: 8, 1: 16}
    whole = budget_tables(budgets, summary)[1]
    assert {row[0].text: row[5].text for row in whole.rows} == {"sft": "4", "sft_rl": "12"}


def test_a_run_without_ledgers_has_no_budgets(plain_page):
    folder = RunFolder(plain_page.parents[1])
    summary = summarise(folder)
    assert budget_tables(summarise_budgets(folder, summary.plan), summary) == []
    assert read_ledger(folder, "rl-0") is None
    assert "Budgets" not in plain_page.read_text()


def test_the_report_has_the_budgets_in_every_form(folder):
    page = build_report(folder)
    told = json.loads((folder.report / "report.json").read_text())
    assert told["ledger"]["arms"]["more"]["own"]["0"]["trained_tokens"] == 100
    assert told["ledger"]["stages"]["rl-0"]["samples"] == 10
    assert told["ledger"]["matched"] == {
        "more-0": {"partner": "rl-0", "by": "tokens", "own": 100, "budget": 10, "ratio": 10.0}
    }
    assert told["stages"]["rl-0"]["figures"] == {"completed": "2025-01-01T00:00:20+00:00"}
    for text in (page.read_text(), (folder.report / "report.md").read_text()):
        assert "Budgets" in text and "Controls and their partners" in text


def test_a_ledger_that_is_damaged_is_told_with_file_and_key(folder):
    spend(folder, "rl-0", samples="many")
    with pytest.raises(RecordsError, match=r"rl-0/done\.json: samples: .*valid integer"):
        summarise_budgets(folder, read_plan(folder))
