import pytest

from rlreason.records.run_folder import RunFolder, read_json, write_json
from rlreason.records.tables import write_part
from rlreason.report import build_report
from rlreason.report.reward_tables import reward_tables
from rlreason.report.summary import summarise
from tests.report.synthetic import as_columns, finished_run, write_updates

# (problem, sample): the check's verdicts and the scorer's scores, step by step
STEPS = {
    ("a", 0): (["right", "wrong", "right"], [0.9, 0.2, 0.8]),  # found
    ("a", 1): (["right", "wrong"], [0.9, 0.5]),  # missed: one half is called right
    ("b", 0): (["right"], [0.4]),  # a right derivation that is not passed
    ("b", 1): (["unsupported"], [0.1]),  # found
}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """The synthetic run with a step scorer between its two stages, and an audit of its rewards."""
    folder = finished_run(tmp_path)
    plan = read_json(folder.plan_path)
    plan["stages"]["prm-0"] = {"name": "judge", "type": "prm", "seed": 0, "parent": "sft-0",
                               "config": {"labels": {"type": "symbolic"}}, "arms": ["sft_rl"]}  # fmt: skip
    plan["stages"]["rl-0"]["scorer"] = "judge"
    write_json(folder.plan_path, plan)
    rows = [
        {"stage": "prm-0", "level": "iid", "problem": problem, "sample": sample, "step": step, "verdict": verdict,
         "kind": "", "score": score}
        for (problem, sample), (verdicts, scores) in reversed(STEPS.items())
        for step, (verdict, score) in enumerate(zip(verdicts, scores, strict=True))
    ]  # fmt: skip
    write_part(folder, "steps", "prm-0", 0, as_columns(rows))
    folder.mark_done("prm-0", {"seconds": 5.0, "completed": "2025-01-01T00:00:30+00:00"})
    nan = float("nan")
    metrics = {
        "reward_mean": [0.5] * 20,
        "reward_when_right": [1.0] * 20,
        "reward_when_wrong": [0.0] * 18 + [0.5] * 2,
        "right_answer_wrong_steps": [nan] * 10 + [0.25] * 10,
        "unscored": [0.0] * 20,
        "unscored_PluginTimeout": [nan] * 18 + [3.0, 2.0],
    }
    write_updates(folder, "rl-0", metrics)
    return folder


def test_a_scorer_is_judged_derivation_by_derivation(run):
    (scorer,) = summarise(run).scorers
    assert (scorer.name, scorer.labels, scorer.arms, list(scorer.levels)) == ("judge", "symbolic", ("sft_rl",), ["iid"])
    figures = scorer.levels["iid"]
    assert (figures.steps, figures.derivations, figures.wrong) == (7, 4, 3 / 7)
    # called wrong: a0's second, b0's, b1's; two of them are
    assert (figures.precision, figures.recall, figures.f1) == (2 / 3, 2 / 3, 2 / 3)
    assert (figures.first_error_accuracy, figures.correct_accuracy, figures.process_f1) == (2 / 3, 0.0, 0.0)


def test_the_audit_holds_what_was_paid_against_the_check(run):
    audit, unscored = reward_tables(summarise(run))["audit"]
    row = dict(zip(audit.headings, (cell.text for cell in audit.rows[0]), strict=True))
    assert row == {
        "stage": "atomic → rl",
        "reward of right answers": "1 → 1",
        "of wrong answers": "0 → 0.5",
        "right answers with wrong steps": "0.25 → 0.25",
    }
    assert [cell.text for cell in unscored.rows[0]] == ["atomic → rl", "5"]
    assert unscored.headings == ("stage", "PluginTimeout")


def test_the_report_shows_both_in_every_form(run):
    page = build_report(run)
    html, markdown = page.read_text(), page.with_suffix(".md").read_text()
    for text in (html, markdown):
        assert "Step scorers" in text and "Audit of the rewards" in text and "labels: symbolic" in text
    assert "42.9%" in markdown and "66.7%" in markdown  # wrong steps, F1
    figures = read_json(page.with_name("report.json"))["scorers"]["prm-0"]["levels"]["iid"]
    assert figures["f1"] == pytest.approx(2 / 3)


def test_a_run_without_rewards_or_scorers_has_neither_section(plain_page):
    assert reward_tables(summarise(RunFolder(plain_page.parents[1]))) == {"audit": [], "scorers": []}
    assert "Step scorers" not in plain_page.read_text()
