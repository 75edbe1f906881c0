"""The rules of the verdict in a recipe, in its plan, and frozen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlreason.errors import RecipeError
from rlreason.recipe import build_plan
from rlreason.recipe.freeze import freeze, freeze_to, frozen_path, read_frozen, registration, rules_of
from rlreason.recipe.schema import Recipe
from rlreason.recipe.verdict import Verdict, resolved_verdict
from rlreason.records.documents import PlanVerdict

NOW = "2025-01-01T00:00:00+00:00"


def test_a_run_planned_before_there_were_rules_is_judged_by_the_recipe_s_defaults():
    assert PlanVerdict().model_dump() == Verdict().model_dump()


def test_the_first_level_is_not_judged_and_what_the_evaluation_says_is_filled_in(load: Any):
    recipe = load("evaluation.levels=[iid, zero_shot]", "evaluation.k=[4, 1]").recipe
    resolved = resolved_verdict(recipe.verdict, recipe.evaluation)
    assert (resolved["levels"], resolved["k"], resolved["probes"]) == (["zero_shot"], [1, 4], [])
    alone = load().recipe
    assert resolved_verdict(alone.verdict, alone.evaluation)["levels"] == ["iid"]
    assert build_plan(recipe, model_fingerprint="m").to_json()["verdict"] == resolved


def test_no_rule_of_the_verdict_changes_what_a_stage_is(load: Any):
    plans = [
        build_plan(load(*said).recipe, model_fingerprint="m")
        for said in ((), ("verdict.alpha=0.01", "verdict.k=[1, 2]"))
    ]
    assert [stage.id for stage in plans[0].stages] == [stage.id for stage in plans[1].stages]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("verdict.levels=[zero]", "verdict.levels[0]: level 'zero' is not one of iid"),
        ("verdict.levels=[]", "verdict.levels: is empty; name a level"),
        ("verdict.controls=[rft]", "verdict.controls[0]: arm 'rft' is not one of sft, sft_rl"),
        ("verdict.probes=[skill]", "verdict.probes[0]: probe 'skill' is not one of nothing"),
        ("verdict.k=[4]", "verdict.k: [4] shows no course over k; give two different k"),
        ("verdict.k=[1, 8]", "verdict.k[1]: 8 exceeds evaluation.samples 4; raise `samples`, or drop that k"),
        ("verdict.amplification=3", "verdict.amplification: 3 exceeds half of evaluation.samples, 2"),
        ("verdict.alpha=1.5", "verdict.alpha"),
        ("verdict.outcome=steps", "verdict.outcome"),
    ],
)
def test_rules_that_refer_to_nothing_are_refused_with_the_remedy(load: Any, override: str, said: str):
    with pytest.raises(RecipeError) as refused:
        load(override)
    assert said in str(refused.value)


def test_freezing_writes_rules_and_their_hash_and_freezing_again_changes_nothing(load: Any):
    loaded = load()
    path = frozen_path(loaded)
    assert path == loaded.folder / "small.frozen.json"
    frozen = freeze_to(path, loaded.recipe, NOW)
    assert read_frozen(path) == frozen == freeze_to(path, loaded.recipe, "2026-01-01T00:00:00+00:00")
    assert frozen.frozen == NOW
    assert frozen.rules["verdict"]["minimal_gap"] == 0.05
    assert frozen.rules["evaluation"]["problems"] == 4


def test_other_rules_are_not_written_over_frozen_ones(load: Any):
    path = frozen_path(load())
    freeze_to(path, load().recipe, NOW)
    with pytest.raises(RecipeError, match=r"verdict.minimal_gap: 0.05 -> 0.1\nDelete it"):
        freeze_to(path, load("verdict.minimal_gap=0.1").recipe, NOW)


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("stages.rl.updates=9", []),
        ("resources.micro_batch_tokens=64", []),
        ("evaluation.samples=8", ["evaluation.samples: 4 -> 8"]),
        ("verdict.minimal_seeds=1", ["verdict.minimal_seeds: 3 -> 1"]),
        ("tasks.people.people=16", ["task.people: 8 -> 16"]),
        ("seeds=[0, 1]", ["seeds: [0] -> [0, 1]"]),
        ("arms.more=[atomic, atomic]", ["arms.more.after: (absent) -> None", "arms.more.stages: (absent) -> ["]),
    ],
)
def test_what_changed_since_is_named_and_how_stages_train_is_no_rule(load: Any, override: str, changes: list[str]):
    frozen = freeze(load().recipe, NOW)
    changed: Recipe = load(override).recipe
    told = registration(changed, frozen)
    assert (told["hash"] == frozen.hash) == (not changes)
    assert told["frozen"]["hash"] == frozen.hash
    assert [line.startswith(change) for line, change in zip(told["frozen"]["changes"], changes, strict=True)] == [
        True for _ in changes
    ]
    assert registration(changed, None)["frozen"] is None


def test_rules_survive_json_as_they_are(load: Any, tmp_path: Path):
    recipe = load("tasks.people.hops={1: 0.5, 2: 0.5}").recipe
    frozen = freeze_to(tmp_path / "f.json", recipe, NOW)
    assert read_frozen(tmp_path / "f.json").rules == frozen.rules == json.loads(json.dumps(rules_of(recipe)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as frozen rules"),
        ("[1]", "the top level"),
        ('{"recipe": "a", "frozen": "t", "hash": "x"}', "rules: Field required"),
        ('{"recipe": "a", "frozen": "t", "hash": "x", "rules": {"seeds": [0]}}', "it was edited; restore it"),
    ],
)
def test_a_file_that_holds_no_frozen_rules_is_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(RecipeError, match=said):
        read_frozen(tmp_path / "f.json")
