import json
import re

import pytest

from rlreason.errors import ModelError, RewardError, TaskError
from rlreason.recipe import load_recipe
from rlreason.stages.binding import MAX_TOKENS, bind, max_tokens
from tests.stages.small import write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipe"))


def test_a_bound_recipe_has_its_tasks_its_plan_and_its_longest_sequence(recipe):
    bound = bind(load_recipe(recipe))
    assert list(bound.tasks) == ["people"]
    assert [stage.type for stage in bound.plan.stages] == ["sft", "evaluate", "rl", "evaluate"]
    assert (bound.model_path, bound.max_tokens) == (None, 192)


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        (
            "tasks.people.type=complementry",
            TaskError,
            r"'complementry' is not one of .*; did you mean 'complementary'\?",
        ),
        ("tasks.people.peopel=3", TaskError, r"'peopel' is not one of people, .*tasks\.people\.peopel"),
        (
            "stages.rl.data[0].cells=[complementary/9]",
            TaskError,
            r"cell of task 'people' 'complementary/9' is not one of parametric/1, .*stages\.rl\.data\[0\]\.cells",
        ),
        (
            "stages.atomic.data[0].level=zeroshot",
            TaskError,
            r"'zeroshot' is not one of train, .*; did you mean 'zero_shot'\? \(stages\.atomic\.data\[0\]\.level\)",
        ),
        ("evaluation.levels=[iid, zero]", TaskError, r"'zero' is not one of .*\(evaluation\.levels\[1\]\)"),
        ("evaluation.cells=[nothing/*]", TaskError, r"'nothing/\*' is not one of .*\(evaluation\.cells\)"),
        (
            "evaluation.probes.skill={cells: [parametric/*], level: never}",
            TaskError,
            r"'never' is not one of .*\(evaluation\.probes\.skill\.level\)",
        ),
        (
            "evaluation.probes.skill={cells: [complementary/2], level: iid}",
            TaskError,
            r"evaluation\.probes\.skill: cell 'complementary/2' at level 'iid' is asked by the levels or another probe",
        ),
        ("rewards.parts=[{spec: missing.py:score}]", RewardError, r"missing\.py"),
        ("resources.max_tokens=193", ModelError, r"resources\.max_tokens 193 is more than the model's 192 positions"),
    ],
)
def test_what_cannot_be_bound_is_refused_by_key_and_value(recipe, override, error, message):
    with pytest.raises(error, match=message):
        bind(load_recipe(recipe, [override]))


def test_two_probes_may_not_ask_the_same(recipe):
    probes = "{a: {cells: [parametric/1], level: iid}, b: {cells: [parametric/*], level: iid}}"
    with pytest.raises(TaskError, match=r"evaluation\.probes\.b: cell 'parametric/1' at level 'iid'"):
        bind(load_recipe(recipe, [f"evaluation.probes={probes}"]))


@pytest.mark.parametrize("path", ["no/such/model", "."])
def test_a_model_directory_that_is_not_one_is_refused(recipe, path):
    with pytest.raises(ModelError, match=re.escape(path) if path != "." else r"config\.json"):
        bind(load_recipe(recipe, ["model.scratch=null", f"model.path={path}"]))


@pytest.mark.parametrize(
    ("positions", "wanted", "expected"),
    [(512, None, 512), (100_000, None, MAX_TOKENS), (100_000, 8000, 8000), (None, None, 4096)],
)
def test_the_longest_sequence_is_the_model_s_or_what_the_recipe_says(recipe, tmp_path, positions, wanted, expected):
    config = {} if positions is None else {"max_position_embeddings": positions}
    (tmp_path / "config.json").write_text(json.dumps(config))
    overrides = [] if wanted is None else [f"resources.max_tokens={wanted}"]
    # the recipe's own model is from scratch; only the directory given counts here
    assert max_tokens(load_recipe(recipe, overrides).recipe, tmp_path) == expected
