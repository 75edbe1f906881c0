"""Ledgers of real stages beside what their records say, and controls that stop at their partners' budgets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rlreason.algorithms.budget import Spending
from rlreason.engines.codec import TextCodec
from rlreason.errors import ModelError, RunFailed
from rlreason.recipe.own_samples import Rft
from rlreason.recipe.plan import PlannedMatch, PlannedStage
from rlreason.records.documents import read_ledger
from rlreason.records.run_folder import RunFolder
from rlreason.records.tables import read_table
from rlreason.stages import evaluate
from rlreason.stages.allowance import Allowance, allowance_of, within_samples
from rlreason.stages.ledger import keep_seconds, keep_spending, spent_by_updates, stage_ledger
from rlreason.stages.own_samples import samples_by_round
from tests.stages.groups import config
from tests.stages.small import RECIPE, Recorder, assert_same_results, run, write_recipe

LINEAR = "optimizer: {learning_rate: 2.0e-3, schedule: linear}"
CONTROLS = RECIPE.replace(
    "arms:\n",
    f"""
  more:
    {{type: sft, data: [{{cells: ["parametric/*"]}}], updates: 40, batch_rows: 2, row_tokens: 96, checkpoint_every: 1,
     match: {{stage: rl, by: tokens}}, {LINEAR}}}
  little:
    {{type: sft, data: [{{cells: ["parametric/*"]}}], updates: 1, batch_rows: 1, row_tokens: 96,
     match: {{stage: rl, by: flops}}, {LINEAR}}}
  as_many:
    {{type: rl, data: [{{cells: ["complementary/*"]}}], updates: 50, prompts_per_update: 4, group_size: 2,
     sampling: {{max_new_tokens: 8}}, match: {{stage: rl, by: samples}}, {LINEAR}}}
  as_long:
    {{type: rl, data: [{{cells: ["complementary/*"]}}], updates: 50, prompts_per_update: 3, group_size: 4,
     sampling: {{max_new_tokens: 8}}, match: {{stage: rl, by: tokens}}, checkpoint_every: 2,
     optimizer: {{learning_rate: 1.0e-3}}}}
arms:
  more: {{after: sft, stages: [more]}}
  little: {{after: sft, stages: [little]}}
  as_many: {{after: sft, stages: [as_many]}}
  as_long: {{after: sft, stages: [as_long]}}
""",
)


class StopIn(Recorder):
    """Stops the run in the stage of a name."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__()
        self._name, self._at = name, at

    def stage_advanced(self, stage: PlannedStage, done: int, metrics: Mapping[str, float]) -> None:
        super().stage_advanced(stage, done, metrics)
        if (stage.name, done) == (self._name, self._at):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def controls(tmp_path_factory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("controls"), CONTROLS)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def matched(controls, tmp_path_factory) -> tuple[Path, Recorder]:
    folder, progress = tmp_path_factory.mktemp("matched"), Recorder()
    run(controls, folder, progress=progress)
    return folder, progress


def stage_of(folder: Path, name: str) -> str:
    stages = json.loads((folder / "plan.json").read_text())["stages"]
    (id,) = (id for id, stage in stages.items() if stage["name"] == name)
    return id


def done(folder: Path, id: str) -> dict[str, Any]:
    return json.loads((folder / "stages" / id / "done.json").read_text())


def metric(folder: Path, id: str, name: str) -> list[float]:
    rows = read_table(RunFolder(folder), "updates", [id])
    return rows[rows["metric"] == name].sort_values("update")["value"].tolist()


def keys(first: int, count: int) -> int:
    """Keys that `count` tokens see, of which the first is the `first` (from 1) of its sequence."""
    return sum(range(first, first + count))


# --- what a ledger says


def test_the_ledger_of_an_rl_stage_is_what_its_rollouts_cost(whole):
    id = stage_of(whole, "rl")
    ledger = done(whole, id)["ledger"]
    rollouts = read_table(RunFolder(whole), "rollouts", [id])
    assert ledger["samples"] == len(rollouts) == 5 * 3 * 4
    assert ledger["prompts"] == rollouts["problem"].nunique()
    assert ledger["sampled_tokens"] == ledger["trained_tokens"] == rollouts["tokens"].sum()
    assert ledger["updates"] == 5

    weights = load_file(whole / "base" / "seed-0" / "model.safetensors")
    parameters = sum(array.size for array in weights.values())  # the head is the embedding
    width = 1 * 64  # layers x query width
    expected = 0
    for row in rollouts.itertuples():
        prompt, sampled = len(row.prompt_tokens), row.tokens
        # decoding, then the learner's forward and backward pass over both
        expected += 2 * parameters * sampled + 4 * width * keys(prompt + 1, sampled)
        expected += 3 * (2 * parameters * (prompt + sampled) + 4 * width * keys(1, prompt + sampled))
    for row in rollouts.drop_duplicates(["update", "problem"]).itertuples():  # a prompt is read once an update
        expected += 2 * parameters * len(row.prompt_tokens) + 4 * width * keys(1, len(row.prompt_tokens))
    assert ledger["flops"] == pytest.approx(expected, rel=1e-12)


def test_the_ledger_of_an_sft_stage_counts_what_its_rows_hold(whole):
    figures = done(whole, stage_of(whole, "atomic"))
    ledger = figures["ledger"]
    assert (ledger["prompts"], ledger["samples"], ledger["sampled_tokens"], ledger["updates"]) == (0, 0, 0, 5)
    assert ledger["trained_tokens"] == figures["trained_tokens"]
    weights = load_file(whole / "base" / "seed-0" / "model.safetensors")
    held = figures["row_use"] * 5 * 4 * 96
    linear = 6 * sum(array.size for array in weights.values()) * held
    # every token sees itself at least, and at most a whole row
    assert linear + 12 * 64 * held < ledger["flops"] < linear + 12 * 64 * held * 96


def test_the_ledger_of_an_evaluation_counts_greedy_and_sampled_completions(whole):
    ids = [path.name for path in (whole / "stages").glob("evaluate-*")]
    for id in ids:
        ledger = done(whole, id)["ledger"]
        completions = read_table(RunFolder(whole), "evaluations", [id])
        problems = read_table(RunFolder(whole), "problems", [id]).set_index("problem")["prompt"]
        assert (ledger["prompts"], ledger["samples"]) == (6, 6 * 3)
        assert ledger["sampled_tokens"] == completions["tokens"].sum()
        assert (ledger["trained_tokens"], ledger["updates"]) == (0, 0)
        parameters = sum(each.size for each in load_file(whole / "base" / "seed-0" / "model.safetensors").values())
        lengths = dict(
            zip(problems.index, map(len, TextCodec(whole / "base" / "seed-0").encode(list(problems))), strict=True)
        )
        # the greedy request reads each prompt, and so does the other
        expected = sum(2 * (2 * parameters * length + 4 * 64 * keys(1, length)) for length in lengths.values())
        for row in completions.itertuples():
            expected += 2 * parameters * row.tokens + 4 * 64 * keys(lengths[row.problem] + 1, row.tokens)
        assert ledger["flops"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stop", [("sft", 3), ("rl", 4), ("evaluate", 4)])
def test_a_resumed_stage_counts_what_is_in_its_result_and_all_the_time_it_took(
    recipe, whole, tmp_path, stop, monkeypatch
):
    monkeypatch.setattr(evaluate, "block_completions", lambda resources: 6)  # greedy; 3 problems' samples
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, progress=Recorder(stop=stop))
    (kept,) = (tmp_path / "stages").glob("*/spent.json")
    before = json.loads(kept.read_text())["seconds"]
    assert before > 0
    run(recipe, tmp_path)
    for id in (path.name for path in (whole / "stages").iterdir()):
        expected, found = done(whole, id), done(tmp_path, id)
        extra = before if id == kept.parent.name else 0.0
        assert found["ledger"].pop("device_seconds") == pytest.approx(found["seconds"] + extra)
        expected["ledger"].pop("device_seconds")
        assert found["ledger"] == expected["ledger"], id
    assert not kept.exists()


# --- controls


def test_sft_stops_with_the_update_that_reaches_its_partners_tokens(matched):
    folder, _ = matched
    id = stage_of(folder, "more")
    budget = read_ledger(RunFolder(folder), stage_of(folder, "rl")).trained_tokens
    trained = np.cumsum(metric(folder, id, "trained_tokens"))
    assert trained[-2] < budget <= trained[-1]
    assert 1 < len(trained) < 40
    assert done(folder, id)["match"] == {
        "stage": stage_of(folder, "rl"),
        "by": "tokens",
        "partner": budget,
        "own": trained[-1],
    }


def test_the_schedule_of_a_control_ends_where_it_stops(matched):
    folder, _ = matched
    for name in ("more", "as_many"):
        rates = metric(folder, stage_of(folder, name), "learning_rate")
        updates = len(rates)
        # linear to zero one update after the last
        assert rates == pytest.approx([2e-3 * (updates - past) / updates for past in range(updates)])


def test_rl_matched_by_samples_makes_as_many_updates_as_they_are_enough_for(matched):
    folder, _ = matched
    # 60 samples, 8 an update
    said = done(folder, stage_of(folder, "as_many"))
    assert len(metric(folder, stage_of(folder, "as_many"), "loss")) == 8
    assert (said["match"]["partner"], said["match"]["own"]) == (60, 64)


def test_rl_matched_by_tokens_stops_with_the_update_that_reaches_them(matched):
    folder, _ = matched
    budget = read_ledger(RunFolder(folder), stage_of(folder, "rl")).trained_tokens
    trained = np.cumsum(metric(folder, stage_of(folder, "as_long"), "spent_trained_tokens"))
    assert trained[-2] < budget <= trained[-1]
    assert len(trained) < 50


def test_a_control_that_may_not_spend_enough_says_so(matched):
    folder, progress = matched
    said = done(folder, stage_of(folder, "little"))["match"]
    assert 0 < said["own"] < said["partner"]
    (note,) = (note for note in progress.notes if note.startswith("little"))
    assert note == (f"little stopped at its own updates: {said['own']:,.0f} of the {said['partner']:,.0f} FLOPs of rl")


@pytest.mark.parametrize("stop", [("more", 2), ("as_long", 3)])
def test_a_control_that_was_interrupted_stops_where_it_would_have_stopped(controls, matched, tmp_path, stop):
    with pytest.raises(KeyboardInterrupt):
        run(controls, tmp_path, progress=StopIn(*stop))
    run(controls, tmp_path)
    assert_same_results(matched[0], tmp_path)


RFT = """
name: small
model: {path: models/tiny-base}
tasks:
  people: {type: complementary, people: 32, hops: {1: 1, 2: 1}, wording: triples}
stages:
  rl:
    {type: rl, data: [{cells: ["contextual/*"]}], updates: 1, prompts_per_update: 5, group_size: 5,
     sampling: {max_new_tokens: 24}, optimizer: {learning_rate: 1.0e-4}}
  rft:
    {type: rft, data: [{cells: ["contextual/*"]}], rounds: 2, samples: 4, updates: 2, batch_rows: 2,
     sampling: {max_new_tokens: 24}, optimizer: {learning_rate: 1.0e-4}, match: {stage: rl, by: samples}}
arms: {rft: [rft], rl: [rl]}
evaluation:
  {levels: [iid], cells: ["contextual/*"], problems: 2, samples: 1, k: [1], sampling: {max_new_tokens: 24}}
resources: {generator: torch, learner: torch, threads: 1, accelerator: cpu}
"""


def test_rft_samples_exactly_what_its_partner_sampled(tmp_path):
    run(write_recipe(tmp_path, RFT), tmp_path / "run")
    id = stage_of(tmp_path / "run", "rft")
    said = done(tmp_path / "run", id)
    assert (said["match"]["partner"], said["match"]["own"]) == (25, 25)
    rollouts = read_table(RunFolder(tmp_path / "run"), "rollouts", [id])
    # 25 samples, 4 a problem: 7 problems, the last with one; 4 in the first round, 3 in the second
    counts = rollouts.groupby(["update", "problem"], sort=False).size()
    assert counts.groupby("update").agg(list).tolist() == [[4, 4, 4, 4], [4, 4, 1]]
    ledger = said["ledger"]
    assert (ledger["samples"], ledger["prompts"]) == (25, rollouts["problem"].nunique())
    assert ledger["sampled_tokens"] == rollouts["tokens"].sum()
    assert ledger["updates"] == 4
    assert ledger["trained_tokens"] == sum(metric(tmp_path / "run", id, "trained_tokens"))


# --- without a run


def control(**changes: Any) -> PlannedStage:
    stage = {"id": "b", "name": "control", "type": "rl", "seed": 0, "parent": None, "config": config(), "arms": ("a",)}
    return PlannedStage(**{**stage, "match": PlannedMatch("a", "partner", "samples"), **changes})


def context_at(folder: Path, **more: Any) -> Any:
    return SimpleNamespace(folder=RunFolder(folder), **more)


def test_a_stage_without_a_match_has_no_allowance(tmp_path):
    assert allowance_of(context_at(tmp_path), control(match=None)) is None


@pytest.mark.parametrize("figures", [{}, {"ledger": {"samples": 0, "trained_tokens": 7}}])
def test_a_partner_that_spent_nothing_of_the_kind_is_no_partner(tmp_path, figures):
    RunFolder(tmp_path).mark_done("a", {"seconds": 1.0, **figures})
    with pytest.raises(RunFailed, match=r"'control' is matched with 'partner' by samples, .* has no samples"):
        allowance_of(context_at(tmp_path), control())


def test_a_budget_is_used_up_by_what_reaches_it():
    allowance = Allowance("tokens", 10.0)
    assert not allowance.take(Spending(trained_tokens=9, samples=100))
    assert allowance.take(Spending(trained_tokens=1))


def test_updates_are_rounded_up_to_the_partners_samples_and_never_over_the_stages_own():
    # 4 prompts x 2
    matched = config(updates=6, match={"stage": "a", "by": "samples"})
    assert within_samples(matched, Allowance("samples", 17)).updates == 3
    assert within_samples(matched, Allowance("samples", 500)).updates == 6
    assert within_samples(matched, None) is matched
    by_tokens = config(match={"stage": "a", "by": "tokens"})
    assert within_samples(by_tokens, Allowance("tokens", 17)) is by_tokens


def test_samples_too_few_for_the_rounds_are_refused(tmp_path):
    RunFolder(tmp_path).mark_done("a", {"seconds": 1.0, "ledger": {"samples": 9}})
    settings = {"type": "rft", "data": [{"cells": ["*"]}], "updates": 1, "optimizer": {"learning_rate": 1e-3}}
    three = Rft.model_validate({**settings, "samples": 4, "rounds": 3})
    assert samples_by_round(context_at(tmp_path), control(config=three)) == [[4], [4], [1]]
    four = Rft.model_validate({**settings, "samples": 4, "rounds": 4})
    with pytest.raises(RunFailed, match="matched by 9 samples, which at 4 a problem are too few for 4 rounds"):
        samples_by_round(context_at(tmp_path), control(config=four))


def test_a_piece_that_is_done_again_replaces_itself_and_gpus_multiply_seconds(tmp_path):
    spent = iter(
        [Spending(samples=5, flops=1.0), Spending(samples=2, flops=float("nan")), Spending(samples=3, flops=2.0)]
    )
    context = context_at(
        tmp_path,
        meter=SimpleNamespace(take=lambda: next(spent)),
        engines=SimpleNamespace(description={"gpus": 4}),
    )
    stage = control()
    keep_spending(context, stage, "one")
    keep_spending(context, stage, "one")
    assert stage_ledger(context, stage, 1.0).flops is None
    keep_spending(context, stage, "one")
    keep_seconds(context, stage, 2.5)
    keep_seconds(context, stage, 0.5)
    ledger = stage_ledger(context, stage, 1.0)
    assert (ledger.samples, ledger.flops, ledger.device_seconds) == (3, 2.0, 4 * (2.5 + 0.5 + 1.0))


def test_updates_after_the_state_that_is_resumed_are_not_spent_yet(whole):
    id, folder = stage_of(whole, "rl"), RunFolder(whole)
    assert spent_by_updates(folder, id, through=0) == Spending()
    assert spent_by_updates(folder, id, through=2).samples == 2 * 12
    assert spent_by_updates(folder, id) == spent_by_updates(folder, id, through=5)


def test_operations_of_a_model_of_unknown_sizes_are_refused_before_anything_starts(controls, tmp_path, monkeypatch):
    from rlreason.recipe import load_recipe
    from rlreason.stages import binding

    monkeypatch.setattr(binding, "read_shape", lambda folder: None)
    with pytest.raises(ModelError, match=r"stages\.little\.match\.by: 'flops' of 'rl' and 'little' cannot be counted"):
        binding.check_countable(load_recipe(controls).recipe, tmp_path)
    binding.check_countable(load_recipe(controls).recipe, None)
