"""A task of several turns through whole runs: gold episodes, rl, evaluation, their records, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlreason.errors import RecipeError
from rlreason.recipe import load_recipe
from rlreason.records.documents import read_ledger
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages.binding import bind
from tests.stages.small import Recorder, assert_same_results, run
from tests.stages.wason_recipe import HERE, RECIPE


def write(folder: Path, text: str = RECIPE + HERE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "turns.yaml").write_text(text)
    return folder / "turns.yaml"


def check_records(folder: Path, mismatch: float = 1e-3) -> None:
    """Episodes of several turns were sampled, learned from and evaluated, and the records tell them apart.

    `mismatch`: between generator and learner, at most."""
    records = RunFolder(folder)
    rollouts, evaluations = read_table(records, "rollouts"), read_table(records, "evaluations")
    for table in (rollouts, evaluations):
        turns = [json.loads(each) for each in table["turns"]]
        assert max(map(len, turns)) > 1, "some environment was heard"
        assert all(text.startswith(said[0]) for text, said in zip(table["text"], turns, strict=True))
    assert len(rollouts) == 3 * 4 * 4
    for row in rollouts.itertuples():
        observed = len(row.completion_tokens) - row.tokens
        assert (np.array(row.generator_logprobs) == 0).sum() == observed
        assert len(row.completion_tokens) <= 48
        assert (observed > 0) == (len(json.loads(row.turns)) > 1)
    updates = read_table(records, "updates").pivot(index=["stage", "update"], columns="metric", values="value")
    learned = updates[updates["mismatch_mean"].notna()]
    assert len(learned) == 3 and (learned["mismatch_mean"] < mismatch).all()
    per_update = rollouts.groupby("update")["tokens"].sum()
    assert learned["completion_tokens"].tolist() == per_update.tolist()
    (stage,) = set(rollouts["stage"])
    ledger = read_ledger(records, stage)
    assert ledger is not None and (ledger.samples, ledger.sampled_tokens) == (48, rollouts["tokens"].sum())


def test_a_run_is_recorded_whole_and_resumes_as_if_never_stopped(tmp_path):
    recipe = write(tmp_path)
    run(recipe, tmp_path / "whole")
    check_records(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "stopped", progress=Recorder(stop=("rl", 2)))
    run(recipe, tmp_path / "stopped")
    assert_same_results(tmp_path / "whole", tmp_path / "stopped")


def test_episodes_are_sampled_ahead_too_and_go_on_under_new_weights(tmp_path):
    asynchrony = "{mode: newest, partial_rollouts: true, chunk_tokens: 3, max_staleness: 2}"
    run(write(tmp_path), tmp_path / "run", f"stages.rl.asynchrony={asynchrony}")
    check_records(tmp_path / "run", mismatch=np.inf)  # the rollouts are stale
    for row in read_table(RunFolder(tmp_path / "run"), "rollouts").itertuples():
        assert 0 <= row.update - 1 - row.policy_version <= 2
        assert row.policy_versions is None or len(row.policy_versions) == len(row.completion_tokens)


TRAINING = "{learning_rate: 1.0e-3}"
RFT = f"    type: rft\n    data: [{{cells: ['order/1']}}]\n    updates: 2\n    optimizer: {TRAINING}\n"
DPO = RFT.replace("type: rft", "type: dpo")
PRM = f"scorers:\n  judge: {{type: prm, data: [{{cells: ['order/1']}}], updates: 2, optimizer: {TRAINING}}}\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (RECIPE.replace("stages:\n", f"stages:\n  own:\n{RFT}", 1), "stages.own.data[0]: .* rft"),
        (RECIPE.replace("stages:\n", f"stages:\n  own:\n{DPO}", 1), "stages.own.data[0]: .* dpo"),
        (RECIPE + PRM, "scorers.judge.data[0]: .* prm"),
    ],
)
def test_training_that_takes_a_completion_for_one_text_is_refused(tmp_path, text, place):
    text = text.replace("  sft: [gold]\n", "  sft: [gold]\n  own: [own]\n") if "  own:\n" in text else text
    loaded = load_recipe(write(tmp_path, text + HERE))
    pattern = place.replace("[0]", r"\[0\]") + " would train what its environment says .* use sft on its gold episodes"
    with pytest.raises(RecipeError, match=pattern):
        bind(loaded)


def test_derivations_of_several_turns_are_not_scored_under_the_base(tmp_path):
    recipe = write(tmp_path, RECIPE + "verdict: {reach_derivations: 8}\n" + HERE)
    with pytest.raises(RecipeError, match=r"verdict.reach_derivations 8: task .* has several turns, .* leave it at 0"):
        bind(load_recipe(recipe))


def test_sft_without_gold_episodes_is_refused(tmp_path, monkeypatch):
    from dataclasses import replace

    from rlreason.tasks.wason import Wason

    whole = Wason.problem
    monkeypatch.setattr(Wason, "problem", lambda *arguments: replace(whole(*arguments), turns=()))
    with pytest.raises(
        RecipeError, match=r"stages.gold.data\[0\]: .* sft needs gold episodes, of which cell 'order/1'"
    ):
        bind(load_recipe(write(tmp_path)))
