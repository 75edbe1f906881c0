"""What can be checked of a recipe beyond its form, without an engine: names that refer to names, and files it names.

`check_references` looks at the recipe alone; the `resolve_*` functions at the disk. Whether a task knows a cell or a
level is the task's to say, whether a plug-in works the rewards room's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlreason.errors import ModelError, RecipeError, RewardError, TaskError, one_of
from rlreason.recipe.early_stop import check_early_stop
from rlreason.recipe.explain import Finding
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.partners import check_matches
from rlreason.recipe.schema import Recipe, Reward
from rlreason.recipe.scorers import SYMBOLIC, Implicit, Prm, ScorerConfig
from rlreason.recipe.shipped import shipped_folder
from rlreason.recipe.stages import Distill, Mixture, OnPolicy
from rlreason.recipe.verdict import check_verdict
from rlreason.recipe.yaml_text import read_yaml

if TYPE_CHECKING:
    from rlreason.recipe.loading import LoadedRecipe

WEIGHT_INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def check_references(recipe: Recipe) -> list[Finding]:
    """Everything in the recipe that does not hold together; empty for a good one."""
    arms = list(_check_arms(recipe))
    return [
        *arms,
        *([] if arms else check_matches(recipe)),
        *_check_tasks(recipe),
        *_check_lengths(recipe),
        *_check_evaluation(recipe),
        *check_verdict(recipe),
        *check_early_stop(recipe),
        *_check_rewards(recipe),
        *_check_scorers(recipe),
        *_check_zero(recipe),
        *_check_asynchrony(recipe),
    ]


def _check_arms(recipe: Recipe) -> Iterator[Finding]:
    titles: dict[str, str] = {}
    for name, arm in recipe.arms.items():
        for index, stage in enumerate(arm.stages):
            if stage not in recipe.stages:
                yield Finding(f"arms.{name}.stages[{index}]", one_of("stage", stage, recipe.stages))
        if arm.after is not None and arm.after not in recipe.arms:
            yield Finding(f"arms.{name}.after", one_of("arm", arm.after, recipe.arms))
        circle = _circle(recipe, name)
        if circle and name == min(circle):  # told once, not once an arm in it
            yield Finding(
                f"arms.{name}.after",
                f"arms follow each other in a circle: {' -> '.join([*circle, name])}; take one `after` out",
            )
        title = arm.title or name
        if title in titles:
            yield Finding(
                f"arms.{name}.title", f"{title!r} is also what arm {titles[title]!r} is called; give each its own title"
            )
        titles.setdefault(title, name)


def _circle(recipe: Recipe, start: str) -> list[str]:
    """The arms from `start` along `after` back to `start`, `start` first; empty where the way does not return."""
    way, at = [start], recipe.arms[start].after
    while at is not None and at in recipe.arms and at not in way:
        way.append(at)
        at = recipe.arms[at].after
    return way if at == start else []


def mixtures(recipe: Recipe) -> Iterator[tuple[str, Mixture]]:
    """Every entry of training data with its path in the recipe."""
    sections = {f"stages.{name}": stage.data for name, stage in recipe.stages.items()}
    sections |= {f"scorers.{name}": each.data for name, each in recipe.scorers.items() if isinstance(each, Prm)}
    for path, data in sections.items():
        for index, entry in enumerate(data):
            yield f"{path}.data[{index}]", entry


def _check_tasks(recipe: Recipe) -> Iterator[Finding]:
    named = [(f"{path}.task", entry.task) for path, entry in mixtures(recipe)]
    named += [(f"arms.{name}.task", arm.task) for name, arm in recipe.arms.items() if arm.task is not None]
    for path, task in [*named, ("evaluation.task", recipe.evaluation.task)]:
        if task is None and len(recipe.tasks) > 1:
            yield Finding(path, f"say which task is meant: the recipe has {', '.join(recipe.tasks)}")
        elif task is not None and task not in recipe.tasks:
            yield Finding(path, one_of("task", task, recipe.tasks))


def _check_lengths(recipe: Recipe) -> Iterator[Finding]:
    """A model from scratch says how many positions it has; a Hugging Face directory is asked later."""
    if recipe.model.scratch is None:
        return
    positions = recipe.model.scratch.max_positions
    sections: list[tuple[str, object]] = [(f"stages.{name}", stage) for name, stage in recipe.stages.items()]
    sections += [(f"scorers.{name}", scorer) for name, scorer in recipe.scorers.items()]
    for path, section in sections:
        if isinstance(section, OnPolicy | Rft | Dpo | Prm) and section.sampling.max_new_tokens >= positions:
            yield Finding(f"{path}.sampling.max_new_tokens", _no_room(section.sampling.max_new_tokens, positions))
    if recipe.evaluation.sampling.max_new_tokens >= positions:
        asked = recipe.evaluation.sampling.max_new_tokens
        yield Finding("evaluation.sampling.max_new_tokens", _no_room(asked, positions))


def _no_room(tokens: int, positions: int) -> str:
    return (
        f"{tokens} tokens leave no room for a prompt in model.scratch.max_positions {positions}; lower it or raise that"
    )


def _check_evaluation(recipe: Recipe) -> Iterator[Finding]:
    for name in recipe.evaluation.probes:
        if name in recipe.evaluation.levels:
            yield Finding(
                f"evaluation.probes.{name}", f"{name!r} is a level too, and results are told apart by name; rename it"
            )


def _check_rewards(recipe: Recipe) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, part in enumerate(recipe.rewards.parts):
        name = part_name(part)
        if name in seen:
            yield Finding(
                f"rewards.parts[{index}].name",
                f"{name!r} is also the name of rewards.parts[{seen[name]}]; give one of them its own `name`",
            )
        seen.setdefault(name, index)
        if not math.isfinite(part.weight):
            yield Finding(f"rewards.parts[{index}].weight", f"{part.weight} is not a finite number")


def _check_scorers(recipe: Recipe) -> Iterator[Finding]:
    parts = [part_name(part) for part in recipe.rewards.parts]
    for name, scorer in recipe.scorers.items():
        if name in (SYMBOLIC, *parts):
            taken = "the name of the task's own check" if name == SYMBOLIC else "the name of a part of `rewards` too"
            yield Finding(f"scorers.{name}", f"{name!r} is {taken}, and `credit` tells them apart by name; rename it")
        for key, arm in _arms_of(scorer).items():
            if arm not in recipe.arms:
                yield Finding(f"scorers.{name}.{key}", one_of("arm", arm, recipe.arms))
    known = [SYMBOLIC, *parts, *recipe.scorers]
    for name, stage in recipe.stages.items():
        wanted = stage.step_scorer if isinstance(stage, OnPolicy) else None
        if wanted is not None and wanted not in known:
            yield Finding(f"stages.{name}.credit.steps", one_of("step scorer", wanted, known))
        reference = stage.reference_arm if isinstance(stage, OnPolicy) else None
        if reference is not None and reference not in recipe.arms:
            key = "teacher" if isinstance(stage, Distill) else "kl.reference"
            yield Finding(f"stages.{name}.{key}", one_of("arm", reference, recipe.arms))
    for arm in recipe.arms:
        circle = _scorer_circle(recipe, arm)
        if circle and arm == min(circle):
            yield Finding(
                f"arms.{arm}",
                f"waits for itself, through the scorers or references of its stages: {' -> '.join([*circle, arm])}; "
                "name an arm there that does not need this one",
            )


def _check_zero(recipe: Recipe) -> Iterator[Finding]:
    if recipe.resources.zero_stage < 3:
        return
    for name, stage in recipe.stages.items():
        for key, said in (("optimizer.ema", stage.optimizer.ema), ("lora", getattr(stage, "lora", None))):
            if said is not None:
                yield Finding(
                    f"stages.{name}.{key}",
                    "does not go with resources.zero_stage 3, under which no rank holds the weights; use zero_stage 2",
                )


def _check_asynchrony(recipe: Recipe) -> Iterator[Finding]:
    resources = recipe.resources
    reasons = {
        f"placement {resources.placement}": resources.placement == "colocated"
        and "where sampling and learning take turns on a device; use placement disaggregated, or drop it",
        f"weight_sync {resources.weight_sync}": resources.weight_sync in ("nccl", "files")
        and "by which weights are fetched when they are loaded, and may be gone by then; use weight_sync host_memory",
    }
    for name, stage in recipe.stages.items():
        if isinstance(stage, OnPolicy) and stage.asynchrony is not None:
            for setting, reason in reasons.items():
                if reason:
                    yield Finding(f"stages.{name}.asynchrony", f"does not go with resources.{setting}, {reason}")


def _arms_of(scorer: ScorerConfig) -> dict[str, str]:
    """Key -> the arm it names, of the arms that a scorer is made of."""
    keys = {"after": scorer.after} if isinstance(scorer, Prm) else {}
    if isinstance(scorer, Implicit):
        keys = {"policy": scorer.policy, "reference": scorer.reference}
    return {key: arm for key, arm in keys.items() if arm is not None}


def _scorer_circle(recipe: Recipe, start: str) -> list[str]:
    """The arms that `start` waits for, back to itself, `start` first; empty where it does not."""

    def waits_for(arm: str) -> Iterator[str]:
        after = recipe.arms[arm].after
        if after in recipe.arms:
            yield after
        for name in recipe.arms[arm].stages:
            stage = recipe.stages.get(name)
            if not isinstance(stage, OnPolicy):
                continue
            scorer = recipe.scorers.get(stage.step_scorer or "")
            others = [stage.reference_arm, *(_arms_of(scorer).values() if scorer else ())]
            yield from (other for other in others if other in recipe.arms)

    def search(arm: str, way: list[str]) -> list[str]:
        for other in waits_for(arm):
            if other == start:
                return way
            if other not in way and (found := search(other, [*way, other])):
                return found
        return []

    # a circle of `after` alone is told by _check_arms
    return [] if _circle(recipe, start) else search(start, [start])


def part_name(part: Reward) -> str:
    """What records call a part of the rubric: its `name`, else its function's."""
    return part.name or part.spec.rpartition(":")[2]


def resolve_model_path(loaded: LoadedRecipe) -> Path | None:
    """The Hugging Face directory the recipe starts from; None where it makes a new model.

    Raises:
        ModelError: there is no such directory, or config, weights (safetensors) or tokenizer are missing from it.
    """
    given = loaded.recipe.model.path
    return None if given is None else resolve_model_folder(given, "model.path", loaded.folders)


def resolve_model_folder(given: str, key: str, folders: Sequence[Path]) -> Path:
    """A Hugging Face directory that the recipe names under `key`.

    Args:
        folders: `LoadedRecipe.folders`, where a relative path is looked for first.
    Raises:
        ModelError: as `resolve_model_path`.
    """
    places = _places(Path(given).expanduser(), [*folders, Path.cwd(), shipped_folder("recipes")])
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise ModelError(
            f"{key} {given!r}: there is no such directory; looked for {', '.join(map(str, places))}. Give the "
            "path of a Hugging Face model directory (config.json, *.safetensors, tokenizer.json)"
        )
    missing = _missing_parts(found)
    if missing:
        raise ModelError(
            f"{key} {given!r}: {found} is not a whole Hugging Face model: {'; '.join(missing)}. Save it again "
            "with save_pretrained (model and tokenizer)"
        )
    return found.resolve()


def _missing_parts(folder: Path) -> list[str]:
    missing = []
    if not (folder / "config.json").is_file():
        missing.append("no config.json")
    if (folder / WEIGHT_INDEX).is_file():
        missing += _missing_shards(folder)
    elif not any(folder.glob("*.safetensors")):
        others = [file.name for pattern in ("*.bin", "*.pt", "*.gguf") for file in sorted(folder.glob(pattern))]
        missing.append("no *.safetensors" + (f" (only {', '.join(others)}, which are not read)" if others else ""))
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append(f"no {' or '.join(TOKENIZER_FILES)}")
    return missing


def _missing_shards(folder: Path) -> list[str]:
    try:
        named = set(read_yaml(folder / WEIGHT_INDEX)["weight_map"].values())  # JSON is YAML
    except (RecipeError, KeyError, AttributeError):
        return [f"{WEIGHT_INDEX} holds no weight_map"]
    absent = sorted(str(name) for name in named if not (folder / str(name)).is_file())
    return [f"{WEIGHT_INDEX} names {', '.join(absent)}, not there"] if absent else []


def resolve_task_path(given: str, key: str, folders: Sequence[Path]) -> Path:
    """A file or folder that a task of the recipe names under `key`.

    Args:
        folders: `LoadedRecipe.folders`, where a relative path is looked for first.
    Raises:
        TaskError: it is not there.
    """
    places = _places(Path(given).expanduser(), [*folders, Path.cwd(), shipped_folder("recipes")])
    for place in places:
        if place.exists():
            return place.resolve()
    there = sorted(str(Path(given).parent / other.name) for place in places for other in place.parent.glob("*"))
    near = f"; {one_of('file', given, dict.fromkeys(there))}" if there else ""
    raise TaskError(f"{key} {given!r}: there is no such file or folder; looked for {', '.join(map(str, places))}{near}")


def resolve_plugin_path(spec: str, folders: Sequence[Path]) -> Path | None:
    """The file of a reward spec such as "rewards/mine.py:score"; None where the spec names a module or entry point.

    Args:
        spec: as the recipe has it. A relative file is looked for in `folders`, then from the current folder, then
            among what ships.
        folders: `LoadedRecipe.folders`.
    Raises:
        RewardError: no such file; names those beside it.
    """
    file, separator, _ = spec.rpartition(":")
    if not separator or not file.endswith(".py"):
        return None
    path = Path(file).expanduser()
    places = _places(path, [*folders, Path.cwd(), shipped_folder("rewards").parent])
    for place in places:
        if place.is_file():
            return place.resolve()
    there = [str(path.parent / other.name) for place in places for other in sorted(place.parent.glob("*.py"))]
    looked = ", ".join(str(place.parent) for place in places)
    raise RewardError(f"{one_of('reward file', file, dict.fromkeys(there), spec)}; looked in {looked}")


def _places(path: Path, folders: Iterable[Path]) -> list[Path]:
    return [path] if path.is_absolute() else list(dict.fromkeys(folder / path for folder in folders))
