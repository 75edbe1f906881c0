"""The Plan: a recipe's arms as a tree of stages that share what they have in common.

A stage's identity is a hash of all that decides its result: its settings, its tasks, its rewards, its parent's
identity (or the model it starts from) and the seed. Two arms with the same beginning therefore train it once, and a
stage whose identity has a finished folder is never run again. What only watches or places a stage (checkpoint
interval, resources, reported k) is left out of the hash. Running stages belongs to `rlreason.stages`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from rlreason.recipe.schema import Evaluation, Recipe
from rlreason.recipe.scorers import Implicit, Prm, ScorerConfig
from rlreason.recipe.stages import Pretrain, Rl, Sft
from rlreason.recipe.validation import resolve_plugin_path

FORMAT_VERSION = 2
"""Raise it when the same settings come to mean other results, as by another default; every stage then has a new
identity."""
StageType = Literal["pretrain", "sft", "rl", "prm", "evaluate"]
EVALUATE: Literal["evaluate"] = "evaluate"
_NO_IDENTITY = {"checkpoint_every", "mismatch_tolerance", "k"}
_MODEL_FILES = (".json", ".txt", ".model", ".jinja", ".safetensors")
_WHOLE_FILE_BYTES = 64 * 2**20
_END_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class PlannedScorer:
    """A step scorer of the recipe as an `rl` stage uses it.

    Attributes:
        name: the recipe's.
        config: its section of the recipe.
        models: ids of the stages whose checkpoints it is made of, None for the recipe's model. Learned: its own stage;
            implicit: policy, then reference; a folder: none.
    """

    name: str
    config: ScorerConfig
    models: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of the tree, to be run once.

    Attributes:
        id: its type and the first ten hex digits of its identity: "sft-1a2b3c4d5e".
        name: the recipe's name of it (of the first, where the recipe says the same twice); "evaluate" for evaluations.
        type: which function of `rlreason.stages` runs it.
        seed: seed of training and sampling.
        parent: id of the stage whose checkpoint it starts from; None: the recipe's model.
        config: its section of the recipe.
        arms: names of the arms that go through it, or use the scorer that it trains, in the recipe's order.
        scorer: of an `rl` stage whose credit needs one of the recipe's scorers.
    """

    id: str
    name: str
    type: StageType
    seed: int
    parent: str | None
    config: Pretrain | Sft | Rl | Prm | Evaluation
    arms: tuple[str, ...]
    scorer: PlannedScorer | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the stages, beside the parent, that must be done before it."""
        return tuple(id for id in self.scorer.models if id is not None) if self.scorer else ()


@dataclass(frozen=True, slots=True)
class ArmPath:
    """An arm for one seed: ids of its training stages in order (none: the model itself), and of its evaluation."""

    stages: tuple[str, ...]
    evaluation: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe will do.

    Attributes:
        stages: every stage once, in an order to run them in: what a stage needs before it, the evaluation of a stage
            directly after it, and a branch to its end before the next one begins.
        arms: arm -> seed -> its path.
        titles: arm -> how reports call it.
        evaluation: the recipe's.
    """

    stages: tuple[PlannedStage, ...]
    arms: Mapping[str, Mapping[int, ArmPath]]
    titles: Mapping[str, str]
    evaluation: Evaluation

    def stage(self, id: str) -> PlannedStage:
        """The stage of that id; KeyError where there is none."""
        for stage in self.stages:
            if stage.id == id:
                return stage
        raise KeyError(id)

    def to_json(self) -> dict[str, Any]:
        """The form of a run's plan.json."""
        evaluation = self.evaluation
        return {
            "arms": {
                arm: {
                    "title": self.titles[arm],
                    "seeds": {
                        str(seed): {"stages": list(path.stages), "evaluation": path.evaluation}
                        for seed, path in seeds.items()
                    },
                }
                for arm, seeds in self.arms.items()
            },
            "stages": {
                stage.id: {
                    "name": stage.name,
                    "type": stage.type,
                    "seed": stage.seed,
                    "parent": stage.parent,
                    "config": stage.config.model_dump(mode="json"),
                    "arms": list(stage.arms),
                    "scorer": stage.scorer.name if stage.scorer else None,
                }
                for stage in self.stages
            },
            "evaluation": {
                "levels": list(evaluation.levels),
                "probes": list(evaluation.probes),
                "k": list(evaluation.k),
                "samples": evaluation.samples,
            },
        }


def build_plan(
    recipe: Recipe,
    *,
    model_fingerprint: str,
    reward_fingerprints: Mapping[str, str] | None = None,
    scorer_fingerprints: Mapping[str, str] | None = None,
) -> Plan:
    """The tree of stages of a checked recipe.

    Args:
        recipe: one whose names refer to something (`load_recipe` sees to that).
        model_fingerprint: `fingerprint_model` of where it starts.
        reward_fingerprints: `fingerprint_rewards`: so that an edited plug-in file is another RL stage.
        scorer_fingerprints: a scorer's name -> `fingerprint_folder` of the directory it is read from.
    """
    identify = _Identities(recipe, model_fingerprint, reward_fingerprints or {}, scorer_fingerprints or {})
    stages: dict[str, PlannedStage] = {}
    arms: dict[str, dict[int, ArmPath]] = {arm: {} for arm in recipe.arms}

    def keep(stage: PlannedStage) -> str:
        return stages.setdefault(stage.id, stage).id

    def path_of(arm: str, seed: int) -> list[str]:
        parent, path = None, []
        for name in stage_names(recipe, arm):
            config = recipe.stages[name]
            named = config.step_scorer if isinstance(config, Rl) else None
            scorer = plan_scorer(named, seed) if named in recipe.scorers else None
            parent = keep(identify.training(name, parent, seed, scorer))
            path.append(parent)
        return path

    def last_of(arm: str | None, seed: int) -> str | None:
        path = path_of(arm, seed) if arm is not None else []
        return path[-1] if path else None

    def plan_scorer(name: str | None, seed: int) -> PlannedScorer:
        assert name is not None
        config = recipe.scorers[name]
        models: tuple[str | None, ...] = ()
        if isinstance(config, Prm):
            models = (keep(identify.prm(name, last_of(config.after, seed), seed)),)
        elif isinstance(config, Implicit):
            models = (last_of(config.policy, seed), last_of(config.reference, seed))
        return PlannedScorer(name, config, models)

    for seed in recipe.seeds:
        for arm in recipe.arms:
            path = path_of(arm, seed)
            evaluation = keep(identify.evaluation(path[-1] if path else None, seed))
            arms[arm][seed] = ArmPath(tuple(path), evaluation)
            for id in dict.fromkeys([*path, evaluation, *_scorer_stages(stages, path)]):
                stages[id] = replace(stages[id], arms=(*stages[id].arms, arm))
        for name in recipe.scorers:
            plan_scorer(name, seed)
    titles = {name: arm.title or name for name, arm in recipe.arms.items()}
    return Plan(tuple(_in_order(stages)), arms, titles, recipe.evaluation)


def _scorer_stages(stages: Mapping[str, PlannedStage], path: Sequence[str]) -> list[str]:
    """The stages that train the scorers which the stages of a path use."""
    return [id for stage in path for id in stages[stage].needs if stages[id].type == "prm"]


def stage_names(recipe: Recipe, arm: str) -> list[str]:
    """The recipe's names of an arm's stages from the start, those of the arm it continues first."""
    after = recipe.arms[arm].after
    inherited = stage_names(recipe, after) if after is not None else []
    return [*inherited, *recipe.arms[arm].stages]


def _in_order(stages: Mapping[str, PlannedStage]) -> Iterator[PlannedStage]:
    """Seed by seed: a stage, its evaluation, then its other children, each with all that follows from it. What a stage
    needs from another branch is brought forward."""
    children: dict[tuple[int, str | None], list[PlannedStage]] = {}
    for stage in stages.values():
        children.setdefault((stage.seed, stage.parent), []).append(stage)
    given: set[str] = set()

    def once(stage: PlannedStage) -> Iterator[PlannedStage]:
        if stage.id in given:
            return
        for needed in (stage.parent, *stage.needs):
            if needed is not None:
                yield from once(stages[needed])
        given.add(stage.id)
        yield stage
        for child in children.get((stage.seed, stage.id), []):
            if child.type == EVALUATE:
                yield from once(child)

    def below(seed: int, parent: str | None) -> Iterator[PlannedStage]:
        for child in sorted(children.get((seed, parent), []), key=lambda stage: stage.type != EVALUATE):
            yield from once(child)
            yield from below(seed, child.id)

    for seed, parent in list(children):
        if parent is None:
            yield from below(seed, None)


class _Identities:
    """Makes the stages of one recipe, with their identities; holds nothing that changes."""

    def __init__(
        self,
        recipe: Recipe,
        model_fingerprint: str,
        reward_fingerprints: Mapping[str, str],
        scorer_fingerprints: Mapping[str, str],
    ) -> None:
        self._recipe = recipe
        self._scorer_folders = scorer_fingerprints
        self._start = {
            "model": _said(recipe.model, {"path"}),
            "fingerprint": model_fingerprint,
        }
        self._rewards = {
            "rubric": _said(recipe.rewards, {"workers"}),
            "files": dict(reward_fingerprints),
        }

    def training(self, name: str, parent: str | None, seed: int, scorer: PlannedScorer | None) -> PlannedStage:
        """The training stage `name` of the recipe, after `parent`."""
        config = self._recipe.stages[name]
        settings, used = self._settings(config)
        decides: dict[str, Any] = {"rewards": self._rewards if isinstance(config, Rl) else None}
        if scorer is not None:
            decides["scorer"] = {
                "settings": _said(scorer.config, {"path", "after", "policy", "reference"}),
                "models": scorer.models,
                "folder": self._scorer_folders.get(scorer.name),
            }
        id = self._id(config.type, settings, used, decides, parent, seed)
        return PlannedStage(id, name, config.type, seed, parent, config, (), scorer)

    def prm(self, name: str, parent: str | None, seed: int) -> PlannedStage:
        """The stage that trains the scorer `name`, whose derivations `parent` writes."""
        config = self._recipe.scorers[name]
        assert isinstance(config, Prm)
        settings, used = self._settings(config)
        judged = self._recipe.evaluation
        task = self._recipe.task_name(judged.task)
        held_out = {"levels": judged.levels, "cells": judged.cells, "task": task}
        used = list(dict.fromkeys([*used, task]))
        id = self._id("prm", settings, used, {"held_out": held_out}, parent, seed)
        return PlannedStage(id, name, "prm", seed, parent, config, ())

    def _settings(self, config: Pretrain | Sft | Rl | Prm) -> tuple[dict[str, Any], list[str]]:
        """What of a stage's section decides its result, and the tasks it uses."""
        settings = _said(config, _NO_IDENTITY | {"after"})
        used = [self._recipe.task_name(entry.task) for entry in config.data]
        for entry, task in zip(settings["data"], used, strict=True):
            entry["task"] = task
        return settings, used

    def evaluation(self, parent: str | None, seed: int) -> PlannedStage:
        """The evaluation of what `parent` left."""
        config = self._recipe.evaluation
        settings = _said(config, _NO_IDENTITY)
        settings["task"] = self._recipe.task_name(config.task)
        id = self._id(EVALUATE, settings, [settings["task"]], {"rewards": None}, parent, seed)
        return PlannedStage(id, EVALUATE, EVALUATE, seed, parent, config, ())

    def _id(
        self,
        type: StageType,
        settings: Mapping[str, Any],
        tasks: Sequence[str],
        more: Mapping[str, Any],
        parent: str | None,
        seed: int,
    ) -> str:
        decides = {
            "format": FORMAT_VERSION,
            "settings": settings,
            "tasks": {name: self._recipe.tasks[name].model_dump(mode="json") for name in tasks},
            **more,
            "start": self._start if parent is None else parent,
            "seed": seed,
        }
        return f"{type}-{_digest(decides)[:10]}"


def _said(section: BaseModel, exclude: set[str]) -> dict[str, Any]:
    """What a section says beside its defaults, so that a new setting leaves the identity of old stages as it was."""
    return section.model_dump(mode="json", exclude=exclude, exclude_defaults=True)


def _digest(value: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_model(path: Path | None, recipe: Recipe) -> str:
    """SHA-256 (hex) of where the arms start.

    Args:
        path: `resolve_model_path`. Config, tokenizer and weight files count, by name and content; of a file over 64 MB
            its size and its first and last 4 MB, so that a large model does not have to be read.
        recipe: where `path` is None, its `model.scratch` counts, and its tasks, whose words make the tokenizer.
    """
    if path is None:
        architecture = recipe.model.model_dump(mode="json")["scratch"]
        tasks = {name: task.model_dump(mode="json") for name, task in recipe.tasks.items()}
        return _digest({"format": FORMAT_VERSION, "scratch": architecture, "tasks": tasks})
    return fingerprint_folder(path)


def fingerprint_folder(path: Path) -> str:
    """SHA-256 (hex) of a Hugging Face directory: see `fingerprint_model`."""
    files = sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES and file.is_file())
    return _digest([[file.name, _digest_file(file)] for file in files])


def fingerprint_rewards(recipe: Recipe, folders: Sequence[Path]) -> dict[str, str]:
    """Spec -> SHA-256 (hex) of its file, of every part of the rubric that is a file.

    Args:
        folders: `LoadedRecipe.folders`.
    Raises:
        RewardError: a file is not there.
    """
    paths = {part.spec: resolve_plugin_path(part.spec, folders) for part in recipe.rewards.parts}
    return {spec: _digest_file(path) for spec, path in paths.items() if path is not None}


def _digest_file(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE_FILE_BYTES:
            digest.update(file.read())
        else:
            digest.update(file.read(_END_BYTES))
            file.seek(-_END_BYTES, 2)
            digest.update(file.read())
    return digest.hexdigest()
