"""Each way to get a recipe wrong, and what the user is told: file, key, value, what is allowed, the near name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlreason.errors import ModelError, RecipeError, RewardError
from rlreason.recipe import load_recipe
from rlreason.recipe.validation import resolve_model_path, resolve_plugin_path

DELETE = object()


def edit(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the entry at a dotted path (numbers index lists), or take it out."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values[int(parent)] if isinstance(values, list) else values[parent]
    if value is DELETE:
        del values[last]
    else:
        values[int(last) if isinstance(values, list) else last] = value


MISTAKES = [
    # a misspelt key, at each depth
    ("stagess", {}, "stagess: key 'stagess' is not one of name, ", "did you mean 'stages'?"),
    ("extend", "quickstart", "extend: key 'extend' is not one of name, ", "did you mean 'extends'?"),
    ("model.scratch.layer", 3, "model.scratch.layer: key 'layer' is not one of layers, ", "did you mean 'layers'?"),
    ("stages.rl.grup_size", 3, "stages.rl.grup_size: key 'grup_size' is not one of ", "did you mean 'group_size'?"),
    ("stages.rl.data.0.cell", [], "stages.rl.data[0].cell: key 'cell' is not", "did you mean 'cells'?"),
    (
        "stages.rl.loss",
        {"clip": 1},
        "stages.rl.loss.clip: key 'clip' is not one of denominator, type, ",
        "did you mean 'clip_low'?",
    ),
    ("stages.rl.optimizer.lr", 1, "stages.rl.optimizer.lr: key 'lr' is not one of learning_rate, ", ""),
    ("arms.sft_rl.afte", "x", "arms.sft_rl.afte: key 'afte' is not one of after, stages, title", "'after'?"),
    ("evaluation.probes", {"p": {"cell": 1}}, "evaluation.probes.p.cell: key 'cell' is not one of cells, ", "'cells'?"),
    ("resources", {"lerners": 2}, "resources.lerners: key 'lerners' is not one of generator, ", "'learners'?"),
    # a key of another type of stage
    ("stages.atomic.group_size", 4, "stages.atomic.group_size: key 'group_size' is not one of data, ", ""),
    # a missing key
    ("evaluation", DELETE, "evaluation: is required; add it", ""),
    ("stages.rl.updates", DELETE, "stages.rl.updates: is required; add it", ""),
    ("tasks.people.type", DELETE, "tasks.people.type: is required; add it", ""),
    ("evaluation.levels", DELETE, "evaluation.levels: is required; add it", ""),
    # the wrong kind of value
    ("stages.rl.updates", "many", "stages.rl.updates: should be a valid integer", "got 'many'"),
    ("stages.rl.updates", 0, "stages.rl.updates: should be greater than 0; got 0", ""),
    ("stages.rl.optimizer.learning_rate", -1, "stages.rl.optimizer.learning_rate: should be greater than 0", ""),
    ("stages.rl", [1], "stages.rl: should be a mapping (`key: value`); got [1]", ""),
    ("stages.atomic.data", "x", "stages.atomic.data: should be a list (`[a, b]`); got 'x'", ""),
    ("arms.sft", 3, "arms.sft: should be a mapping (`key: value`); got 3", ""),
    ("evaluation.levels", [], "evaluation.levels: should have at least 1 item", "got []"),
    ("name", "my recipe", "name: 'my recipe' is not a name; a name holds letters, digits", ""),
    ("arms", {"my arm": ["atomic"]}, "arms.my arm: 'my arm' is not a name", ""),
    # a wrong union or literal
    (
        "stages.rl.type",
        "rll",
        "stages.rl.type: type 'rll' is not one of pretrain, sft, rft, dpo, rl, distill; did you mean 'rl'?",
        "",
    ),
    ("stages.rl.type", DELETE, "stages.rl: needs a `type`: one of pretrain, sft, rft, dpo, rl, distill", ""),
    ("stages.rl.loss", {"denominator": "token"}, "loss.denominator: denominator 'token' is not one of tokens, ", ""),
    ("model.dtype", "float16", "model.dtype: dtype 'float16' is not one of auto, float32, bfloat16", ""),
    ("resources", {"zero_stage": 4}, "resources.zero_stage: zero_stage 4 is not one of 0, 1, 2, 3", ""),
    # values that do not go together
    ("evaluation.k", [1, 8], "evaluation: k 8 exceeds samples 4: pass@k needs at least k samples; raise `samples`", ""),
    ("evaluation.k", [1, 1], "evaluation.k: 1 is listed twice", ""),
    ("model.path", "x", "model: give exactly one of `path`", "set it to null"),
    ("model.scratch.heads", 3, "model.scratch: width 64 / heads 3 must be a head size of 32, 64, 96 or 128", "heads 2"),
    ("stages.atomic.data.0.texts", True, "stages.atomic.data[0]: give either `cells: [...]`", ""),
    ("stages.rl.data.0", {"texts": True}, "stages.rl: `data` has `texts: true`, which cannot be scored", ""),
    ("stages.rl.keep_best", 2, "stages.rl: keep_best 2 without keep_models_every", ""),
    ("stages.rl.minibatches", 3, "stages.rl: prompts_per_update 4 cannot be split into 3 minibatches", ""),
    (
        "resources",
        {"generator": "torch"},
        "resources: generator 'torch' and learner 'deepspeed' do not go together",
        "",
    ),
    (
        "resources",
        {"generator": "torch", "learner": "torch", "learners": 2},
        "resources: generators 1, learners 2, tensor_parallel 1: the torch engines are one each",
        "",
    ),
    ("resources", {"accelerator": "cpu", "tensor_parallel": 2}, "resources: tensor_parallel 2 needs GPUs", ""),
    # names that refer to nothing, or to too much
    ("arms.sft", ["atomik"], "arms.sft.stages[0]: stage 'atomik' is not one of atomic, rl; did you mean 'atomic'?", ""),
    ("arms.sft_rl.after", "stf", "arms.sft_rl.after: arm 'stf' is not one of sft, sft_rl; did you mean 'sft'?", ""),
    ("arms.sft", {"after": "sft_rl"}, "arms.sft.after: arms follow each other in a circle: sft -> sft_rl -> sft", ""),
    ("arms.sft", {"after": "sft"}, "arms.sft.after: arms follow each other in a circle: sft -> sft", ""),
    ("arms.sft_rl.title", "sft", "arms.sft_rl.title: 'sft' is also what arm 'sft' is called", ""),
    ("evaluation.task", "poeple", "evaluation.task: task 'poeple' is not one of people; did you mean 'people'?", ""),
    ("stages.rl.data.0.task", "x", "stages.rl.data[0].task: task 'x' is not one of people", ""),
    ("tasks.other", {"type": "tail"}, "evaluation.task: say which task is meant: the recipe has people, other", ""),
    ("evaluation.probes", {"iid": {"cells": ["*"]}}, "evaluation.probes.iid: 'iid' is a level too", ""),
    (
        "rewards",
        {"parts": [{"spec": "a.py:score"}, {"spec": "b.py:score"}]},
        "rewards.parts[1].name: 'score' is also the name of rewards.parts[0]",
        "",
    ),
    ("rewards", {"parts": []}, "rewards.parts: should have at least 1 item", ""),
    (
        "stages.rl.kl",
        {"weight": 0.1, "reference": "sfd"},
        "stages.rl.kl.reference: arm 'sfd' is not one of sft, sft_rl; did you mean 'sft'?",
        "",
    ),
    (
        "stages.rl.kl",
        {"weight": 0.1, "reference": "sft_rl"},
        "arms.sft_rl: waits for itself, through the scorers or references of its stages: sft_rl -> sft_rl",
        "",
    ),
    # longer than the model
    ("stages.rl.sampling", {"max_new_tokens": 128}, "stages.rl.sampling.max_new_tokens: 128 tokens leave no room", ""),
    (
        "evaluation.sampling",
        {"max_new_tokens": 500},
        "evaluation.sampling.max_new_tokens: 500 tokens leave no room",
        "",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "message", "hint"), MISTAKES, ids=[f"{path}={v!r}" for path, v, *_ in MISTAKES]
)
def test_a_mistake_is_told_with_file_key_and_remedy(
    small: dict[str, Any], write: Any, path: str, value: Any, message: str, hint: str
) -> None:
    edit(small, path, value)
    file = write(small)
    with pytest.raises(RecipeError) as error:
        load_recipe(file)
    lines = [line for line in str(error.value).splitlines() if message in line]
    assert len(lines) == 1, str(error.value)
    assert lines[0].startswith(f"{file}: ")
    assert hint in lines[0]


def test_the_small_recipe_itself_is_right(load: Any) -> None:
    assert load().recipe.name == "small"


def test_all_mistakes_are_told_at_once_a_line_each(small: dict[str, Any], write: Any) -> None:
    edit(small, "stages.rl.updates", 0)
    edit(small, "stages.atomic.updatess", 3)
    edit(small, "seeds", [-1])
    with pytest.raises(RecipeError) as error:
        load_recipe(write(small))
    told = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert sorted(told) == ["seeds[0]", "stages.atomic.updatess", "stages.rl.updates"]


def test_a_circle_of_arms_is_told_once(small: dict[str, Any], write: Any) -> None:
    small["arms"] = {"b": {"after": "c"}, "c": {"after": "a"}, "a": {"after": "b"}, "d": {"after": "a"}}
    with pytest.raises(RecipeError) as error:
        load_recipe(write(small))
    assert len(str(error.value).splitlines()) == 1
    assert "arms.a.after: arms follow each other in a circle: a -> b -> c -> a" in str(error.value)


def test_a_duplicate_key_is_told_with_file_and_line(write: Any) -> None:
    file = write("name: a\nmodel: {}\nname: b\n")
    with pytest.raises(RecipeError, match=rf"^{file}: line 3: key 'name' is given twice \(first on line 1\)"):
        load_recipe(file)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of a model, all empty."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


@pytest.fixture
def from_path(small: dict[str, Any], write: Any) -> Any:
    def make(path: str) -> Any:
        small["model"] = {"path": path}
        return load_recipe(write(small))

    return make


def test_a_model_is_found_beside_the_recipe_and_by_absolute_path(from_path: Any, model: Path) -> None:
    assert resolve_model_path(from_path("model")) == model
    assert resolve_model_path(from_path(str(model))) == model


def test_a_model_is_found_beside_a_recipe_that_is_extended(
    small: dict[str, Any], write: Any, model: Path, tmp_path: Path
) -> None:
    small["model"] = {"path": "model"}
    write(small, "base.yaml")
    child = write("extends: ../base.yaml", "below/child.yaml")
    assert resolve_model_path(load_recipe(child)) == model


def test_a_new_model_has_no_path(load: Any) -> None:
    assert resolve_model_path(load()) is None


def test_a_missing_model_says_where_it_was_looked_for(from_path: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.path 'nowhere': there is no such directory") as error:
        resolve_model_path(from_path("nowhere"))
    assert str(tmp_path / "nowhere") in str(error.value)
    assert str(Path.cwd() / "nowhere") in str(error.value)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", r"no \*\.safetensors"),
        ("tokenizer.json", "no tokenizer.json or tokenizer_config.json"),
    ],
)
def test_an_incomplete_model_says_what_is_missing(from_path: Any, model: Path, absent: str, message: str) -> None:
    (model / absent).unlink()
    with pytest.raises(ModelError, match=f"is not a whole Hugging Face model: {message}"):
        resolve_model_path(from_path("model"))


def test_weights_of_another_format_are_named(from_path: Any, model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin, which are not read"):
        resolve_model_path(from_path("model"))


def test_a_missing_shard_is_named(from_path: Any, model: Path) -> None:
    (model / "model.safetensors").rename(model / "one.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}')
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json names two\.safetensors, not there"):
        resolve_model_path(from_path("model"))
    (model / "two.safetensors").touch()
    assert resolve_model_path(from_path("model")) == model


def test_a_reward_file_is_looked_for_beside_the_recipe_then_among_what_ships(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    assert resolve_plugin_path("mine.py:score", [tmp_path]) == tmp_path / "mine.py"
    shipped = resolve_plugin_path("rewards/exact.py:exact", [tmp_path])
    assert shipped is not None and shipped.is_file()


@pytest.mark.parametrize("spec", ["rlreason.rewards.builtin:answer", "an_entry_point"])
def test_a_reward_that_is_not_a_file_has_no_path(spec: str) -> None:
    assert resolve_plugin_path(spec, []) is None


def test_a_missing_reward_file_names_the_near_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    with pytest.raises(RewardError, match=r"reward file 'mien\.py' is not one of .*did you mean 'mine\.py'\?"):
        resolve_plugin_path("mien.py:score", [tmp_path])
