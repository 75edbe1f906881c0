"""Mean tokens of what stages sample, against problems counted here."""

from __future__ import annotations

import re

import pytest

from rlreason.recipe import load_recipe
from rlreason.stages.binding import BoundRecipe, bind
from rlreason.stages.lengths import TOKENS_A_WORD, LengthCounter
from tests.stages.small import write_recipe


@pytest.fixture(scope="module")
def bound(tmp_path_factory) -> BoundRecipe:
    return bind(load_recipe(write_recipe(tmp_path_factory.mktemp("lengths"))))


def words(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


def of(bound: BoundRecipe, type: str) -> tuple[float, float] | None:
    return LengthCounter(bound).of_stage(next(stage for stage in bound.plan.stages if stage.type == type))


def test_a_model_from_scratch_has_a_token_a_word_and_an_end_token(bound):
    rl = next(stage for stage in bound.plan.stages if stage.type == "rl")
    task, (entry,) = bound.tasks["people"], rl.config.data
    cells = task.match_cells(entry.cells)
    problems = [task.problem("train", cell.name, index) for cell in cells for index in range(16)]
    found = of(bound, "rl")
    assert found is not None
    assert found[0] == pytest.approx(sum(words(problem.prompt) for problem in problems) / len(problems))
    by_cell = [problems[at : at + 16] for at in range(0, len(problems), 16)]
    means = [1 + sum(words(problem.target) for problem in group) / 16 for group in by_cell]
    budget = rl.config.sampling.max_new_tokens
    assert found[1] == pytest.approx(sum(min(mean, budget) for mean in means) / len(means))


def test_a_stage_that_samples_nothing_has_no_lengths(bound):
    assert of(bound, "sft") is None


def test_an_evaluation_weighs_levels_and_probes_by_their_problems(tmp_path):
    probes = "{one: {cells: [parametric/1], level: iid, problems: 12}}"
    overrides = ["evaluation.levels=[iid]", "evaluation.cells=[complementary/2]", f"evaluation.probes={probes}"]
    bound = bind(load_recipe(write_recipe(tmp_path), [*overrides, "evaluation.problems=4"]))
    task = bound.tasks["people"]
    mean = {
        cell: sum(words(task.problem("iid", cell, index).prompt) for index in range(16)) / 16
        for cell in ("complementary/2", "parametric/1")
    }
    found = of(bound, "evaluate")
    assert found is not None
    assert found[0] == pytest.approx((4 * mean["complementary/2"] + 12 * mean["parametric/1"]) / 16)


def test_without_the_model_words_are_multiplied_and_that_is_said(tmp_path):
    absent = ["model.scratch=null", "model.path=nowhere/Qwen2.5-0.5B"]
    recipe = write_recipe(tmp_path)
    bound = bind(load_recipe(recipe, absent), may_lack_model=True)
    here = bind(load_recipe(recipe))
    found, counted = of(bound, "rl"), of(here, "rl")
    assert found is not None and counted is not None
    assert found[0] == pytest.approx(TOKENS_A_WORD * counted[0])
    assert (LengthCounter(bound).counted, LengthCounter(here).counted) == (False, True)
