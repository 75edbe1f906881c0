"""The recipes of docs/results.md that run in minutes: what their arms differ in, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlreason.recipe import load_recipe
from rlreason.stages.binding import BoundRecipe, bind
from rlreason.tasks.tail.text import MODULES

NAMES = ("tail-tiny", "functions-tiny", "rules-tiny", "rules-operators-tiny")
RESULTS = Path(__file__).parent.parent.parent / "docs" / "results.md"


@pytest.fixture(scope="module")
def bound() -> dict[str, BoundRecipe]:
    return {name: bind(load_recipe(name)) for name in NAMES}


def trained(found: BoundRecipe) -> dict[str, Any]:
    """Name -> stage, of those that train under the first seed."""
    kinds = ("evaluate", "interpolate")
    return {stage.name: stage for stage in found.plan.stages if stage.seed == 0 and stage.type not in kinds}


@pytest.mark.parametrize("name", NAMES)
def test_three_seeds_are_run_and_the_page_of_results_has_a_place_for_them(name: str, bound: dict[str, BoundRecipe]):
    assert bound[name].recipe.seeds == (0, 1, 2)
    page = RESULTS.read_text(encoding="utf-8")
    assert page.count(f"<!-- {name} -->\n") == page.count(f"\n<!-- /{name} -->") == 1


def test_tail_arms_lack_one_module_each_and_differ_in_nothing_else(bound: dict[str, BoundRecipe]):
    found = bound["tail-tiny"]
    tasks = {name: dict(found.recipe.tasks[arm.task or "full"].parameters) for name, arm in found.recipe.arms.items()}
    lacking = {name: set(MODULES) - set(task.pop("modules", MODULES)) for name, task in tasks.items()}
    assert lacking == {
        "full": set(),
        "no_expansion": {"linear_expansion"},
        "no_atomic_state": {"atomic_state"},
        "no_tape_review": {"tape_review"},
    }
    assert all(task == tasks["full"] for task in tasks.values())
    stages = [stage.config.model_dump(exclude={"data"}) for stage in trained(found).values()]
    assert len(stages) == 4 and all(stage == stages[0] for stage in stages)


def test_tail_arms_are_trained_on_short_rows_alone_which_have_every_mark(bound: dict[str, BoundRecipe]):
    found = bound["tail-tiny"]
    assert {cells for stage in trained(found).values() for entry in stage.config.data for cells in entry.cells} == {
        "compare_numbers/s"
    }
    task = found.tasks["full"]
    words = {word for index in range(400) for word in task.problem("train", "compare_numbers/s", index).prompt.split()}
    longest = [task.problem("long", "compare_numbers/s", index) for index in range(40)]
    # so that no word of a long question is new
    assert {word for problem in longest for word in problem.prompt.split()} <= words
    room = found.recipe.evaluation.sampling.max_new_tokens
    assert max(len(problem.target.split()) for problem in longest) + 1 < room


def test_tail_was_chosen_on_other_problems_and_another_seed(bound: dict[str, BoundRecipe]):
    used = bound["tail-tiny"].recipe
    worlds = {task.parameters.get("world_seed", 0) for task in used.tasks.values()}
    trials = sorted((RESULTS.parent / "results" / "trials").glob("*.yaml"))
    assert [path.stem for path in trials] == ["comparing", "counting", "reversing"]
    for path in trials:
        found = bind(load_recipe(path)).recipe
        assert not set(found.seeds) & set(used.seeds)
        assert not {task.parameters["world_seed"] for task in found.tasks.values()} & worlds


def test_functions_arms_go_on_from_one_checkpoint_with_as_many_samples(bound: dict[str, BoundRecipe]):
    stages = trained(bound["functions-tiny"])
    two, one, rft = stages["rl_depth_2"], stages["rl_depth_1"], stages["rft_depth_2"]
    assert two.parent == one.parent == rft.parent == stages["atomic"].id
    assert rft.match is not None and (rft.match.stage, rft.match.by) == (two.id, "samples")
    assert one.config.model_dump(exclude={"data"}) == two.config.model_dump(exclude={"data"})
    assert {cell for entry in one.config.data for cell in entry.cells} == {"composite/1"}


def test_no_composite_of_the_functions_asked_is_ever_written_out(bound: dict[str, BoundRecipe]):
    found = bound["functions-tiny"]
    shown = {(entry.task, cell) for entry in trained(found)["atomic"].config.data for cell in entry.cells}
    assert shown == {("strings", "atomic/1"), ("others", "atomic/1"), ("others", "composite/2")}
    asked, others = (set(found.recipe.tasks[name].parameters["functions"]) for name in ("strings", "others"))
    assert len(asked) == 8 and not asked & others


def test_functions_are_asked_at_depths_1_to_5_at_both_levels(bound: dict[str, BoundRecipe]):
    evaluation = bound["functions-tiny"].recipe.evaluation
    asked = {(level, cell) for level in evaluation.levels for cell in evaluation.cells}
    asked |= {(probe.level, cell) for probe in evaluation.probes.values() for cell in probe.cells}
    assert asked == {(level, f"composite/{depth}") for level in ("iid", "zero_shot") for depth in range(1, 6)} | {
        ("iid", "atomic/1")
    }


def test_the_rule_that_is_shown_trains_as_long_as_the_one_that_is_not(bound: dict[str, BoundRecipe]):
    stages = trained(bound["rules-tiny"])
    assert stages["shown"].config.model_dump(exclude={"data"}) == stages["sft"].config.model_dump(exclude={"data"})
    cells = {name: [cell for entry in stage.config.data for cell in entry.cells] for name, stage in stages.items()}
    assert cells == {"sft": ["*/1"], "rl": ["*/1", "*/2"], "shown": ["*/1", "*/2"]}
