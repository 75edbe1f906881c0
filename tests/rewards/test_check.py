"""`reward check` end to end: known faults are found in real workers, and a sound reward is let off."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlreason.errors import RewardError
from rlreason.recipe.schema import Reward
from rlreason.rewards import samples as kinds
from rlreason.rewards.check import GIVE_UP, Report, check_reward
from rlreason.rewards.samples import Trial, trial_of_task
from rlreason.tasks import build_task
from rlreason.tasks.sampling import sample

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def trial() -> Trial:
    task = build_task("small", "complementary", {"people": 16, "hops": {2: 1}})
    return trial_of_task(task, sample(task, "train", ["complementary/2"], 4))


def checked(name: str, trial: Trial, **settings: float) -> Report:
    return check_reward(Reward(spec=f"cheats.py:{name}", **settings), trial, [HERE])


def serious(report: Report) -> list[str]:
    return [finding.name for finding in report.findings if finding.severity == "serious"]


def test_a_sound_reward_has_no_findings(trial):
    report = checked("fine", trial)
    assert report.findings == () and report.ok and report.untried == 0
    by_kind = {row.kind: row for row in report.rows}
    gold, wrong, empty = by_kind[kinds.GOLD], by_kind[kinds.WRONG_ANSWER], by_kind[kinds.EMPTY]
    assert (gold.n, gold.mean, gold.least, gold.most, gold.failures) == (4, 1.0, 1.0, 1.0, {})
    assert (wrong.n, wrong.most, empty.n, empty.most) == (4, 0.0, 4, 0.0)
    # scored one by one twice, and nothing failed
    assert report.calls == 2 * sum(row.n for row in report.rows)
    assert 0 < report.p50_ms <= report.p99_ms
    assert report.as_json()["ok"] is True and report.as_json()["rows"][0]["kind"] == kinds.GOLD


def test_a_reward_that_runs_the_text_is_caught_by_the_file_it_writes(trial):
    assert "runs_text" in serious(checked("evaluating", trial))


def test_an_answer_merely_mentioned_is_paid_in_a_list_of_all(trial):
    assert "every_answer" in serious(checked("mentioned", trial))


def test_a_reward_that_counts_its_calls_is_unsteady(trial):
    assert "unsteady" in serious(checked("counting", trial))


@pytest.mark.parametrize("name", ["graded_on_a_curve", "process"])
def test_a_reward_that_depends_on_its_company_or_worker_is_found(name, trial):
    names = serious(checked(name, trial))
    assert "order" in names and "unsteady" not in names


def test_what_fails_on_hostile_text_is_named_with_the_text(trial):
    report = checked("encoding", trial)
    assert serious(report) == ["fails_on_hostile"] and not report.ok
    says = report.findings[0].says
    assert "(lone surrogates)" in says and "PluginRaised: cheats.py:encoding raised UnicodeEncodeError" in says
    row = next(row for row in report.rows if row.kind == kinds.SURROGATES)
    assert (row.n, row.mean, row.failures) == (2, None, {"PluginRaised": 2})


def test_a_reward_that_hangs_is_given_up_after_a_few_deadlines(trial):
    report = checked("hanging", trial, deadline_s=0.2)
    assert sum(row.n for row in report.rows) == GIVE_UP
    assert report.untried > 30 and report.p50_ms is None and report.calls == 0
    assert serious(report) == ["fails", "gold_unpaid"]


def test_a_reward_that_cannot_be_loaded_is_refused(trial):
    with pytest.raises(RewardError, match="did you mean 'fine'"):
        checked("fnie", trial)
