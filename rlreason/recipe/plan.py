"""The Plan: a recipe's arms as a tree of stages that share what they have in common.

A stage's identity is a hash of all that decides its result: its settings, its tasks, its rewards, its parent's
identity (or the model it starts from) and the seed. Two arms with the same beginning therefore train it once, and a
stage whose identity has a finished folder is never run again. What only watches or places a stage (checkpoint
interval, resources, reported k) is left out of the hash. Running stages belongs to `rlreason.stages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from rlreason.recipe.fingerprints import FORMAT_VERSION, json_digest
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.partners import History, match_of, partner_of, stage_names
from rlreason.recipe.planned import EVALUATE, INTERPOLATE, REACH, PlannedMatch, PlannedScorer, PlannedStage, StageType
from rlreason.recipe.schema import Arm, Evaluation, Recipe
from rlreason.recipe.scorers import Implicit, Prm
from rlreason.recipe.stages import OnPolicy, StageConfig
from rlreason.recipe.verdict import resolved_verdict

__all__ = [
    "EVALUATE",
    "INTERPOLATE",
    "ArmPath",
    "Plan",
    "PlannedMatch",
    "PlannedScorer",
    "PlannedStage",
    "StageType",
    "build_plan",
]

_NO_IDENTITY = {
    "checkpoint_every",
    "scoring_shares",
    "keep_last",
    "keep_models_every",
    "keep_best",
    "mismatch_tolerance",
    "max_skipped",
    "k",
}


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
        verdict: the rules of the recipe's verdict, as `resolved_verdict` gives them.
    """

    stages: tuple[PlannedStage, ...]
    arms: Mapping[str, Mapping[int, ArmPath]]
    titles: Mapping[str, str]
    evaluation: Evaluation
    verdict: Mapping[str, Any]

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
                    "needs": list(stage.needs),
                    "match": {"stage": stage.match.stage, "by": stage.match.by} if stage.match else None,
                }
                for stage in self.stages
            },
            "evaluation": {
                "levels": list(evaluation.levels),
                "probes": list(evaluation.probes),
                "k": list(evaluation.k),
                "samples": evaluation.samples,
            },
            "verdict": dict(self.verdict),
        }


def build_plan(
    recipe: Recipe,
    *,
    model_fingerprint: str,
    reward_fingerprints: Mapping[str, str] | None = None,
    scorer_fingerprints: Mapping[str, str] | None = None,
    task_fingerprints: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """The tree of stages of a checked recipe.

    Args:
        recipe: one whose names refer to something (`load_recipe` sees to that).
        model_fingerprint: `fingerprint_model` of where it starts.
        reward_fingerprints: `fingerprint_rewards`: so that an edited plug-in file is another RL stage.
        scorer_fingerprints: a scorer's name -> `fingerprint_folder` of the directory it is read from.
        task_fingerprints: a task's name -> those of its parameters that name files, with `fingerprint_files` in the
            place of each path: what is in a file counts, and not where it lies.
    """
    identify = _Identities(
        recipe, model_fingerprint, reward_fingerprints or {}, scorer_fingerprints or {}, task_fingerprints or {}
    )
    found = _Found(recipe, identify)
    stages = found.stages
    arms: dict[str, dict[int, ArmPath]] = {arm: {} for arm in recipe.arms}
    for seed in recipe.seeds:
        for arm in recipe.arms:
            names = stage_names(recipe, arm)
            ids = [found.end_of(names[:length], seed) for length in range(1, len(names) + 1)]
            path = [id for id in ids if id is not None]
            evaluation = found.keep(identify.evaluation(found.last_of(arm, seed), seed, recipe.arms[arm]))
            arms[arm][seed] = ArmPath(tuple(path), evaluation)
            for id in dict.fromkeys([*path, evaluation, *_scorer_stages(stages, path)]):
                stages[id] = replace(stages[id], arms=(*stages[id].arms, arm))
        for name in recipe.scorers:
            found.scorer(name, seed)
    for control in identify.interpolators():
        found.keep(control)
    if recipe.verdict.reach_derivations:
        for arm, base in _reinforced(recipe):
            for seed in recipe.seeds:
                asked = identify.reach(found.last_of(base, seed), arms[arm][seed].evaluation, seed, recipe.arms[arm])
                stages[asked.id] = replace(asked, arms=(arm,))
    titles = {name: arm.title or name for name, arm in recipe.arms.items()}
    verdict = resolved_verdict(recipe.verdict, recipe.evaluation)
    return Plan(tuple(_in_order(stages)), arms, titles, recipe.evaluation, verdict)


def _reinforced(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(arm, base): arms that go on from another by reinforcement learning first, as `report.verdict` pairs them."""
    histories = {arm: stage_names(recipe, arm) for arm in recipe.arms}
    for arm, history in histories.items():
        before = {
            other: own for other, own in histories.items() if len(own) < len(history) and own == history[: len(own)]
        }
        base = max(before, key=lambda other: len(before[other]), default=None)
        if base is not None and recipe.stages[history[len(before[base])]].type == "rl":
            yield arm, base


class _Found:
    """The stages of a recipe, each kept once as it is found, after all that it needs."""

    def __init__(self, recipe: Recipe, identify: _Identities) -> None:
        self._recipe, self._identify = recipe, identify
        self._ends: dict[tuple[History, int], str] = {}
        self.stages: dict[str, PlannedStage] = {}

    def keep(self, stage: PlannedStage) -> str:
        """Its id; of two with the same, the first stays."""
        return self.stages.setdefault(stage.id, stage).id

    def end_of(self, history: History, seed: int) -> str | None:
        """The stage that a history ends in; None: the model itself."""
        if not history:
            return None
        if (history, seed) not in self._ends:
            self._ends[history, seed] = self.keep(self._training(history, seed))
        return self._ends[history, seed]

    def last_of(self, arm: str | None, seed: int) -> str | None:
        """The last training stage of an arm; None: the model itself."""
        return self.end_of(stage_names(self._recipe, arm), seed) if arm is not None else None

    def scorer(self, name: str, seed: int) -> PlannedScorer:
        """A step scorer of the recipe, with the stages it is made of."""
        config = self._recipe.scorers[name]
        models: tuple[str | None, ...] = ()
        if isinstance(config, Prm):
            models = (self.keep(self._identify.prm(name, self.last_of(config.after, seed), seed)),)
        elif isinstance(config, Implicit):
            models = (self.last_of(config.policy, seed), self.last_of(config.reference, seed))
        return PlannedScorer(name, config, models)

    def _training(self, history: History, seed: int) -> PlannedStage:
        parent, config = self.end_of(history[:-1], seed), self._recipe.stages[history[-1]]
        named = config.step_scorer if isinstance(config, OnPolicy) else None
        return self._identify.training(
            history[-1],
            parent,
            seed,
            scorer=self.scorer(named, seed) if named in self._recipe.scorers else None,
            match=self._match(history, seed),
            reference=self.last_of(config.reference_arm, seed) if isinstance(config, OnPolicy) else None,
        )

    def _match(self, history: History, seed: int) -> PlannedMatch | None:
        said, partner = match_of(self._recipe.stages[history[-1]]), partner_of(self._recipe, history)
        id = self.end_of(partner, seed) if partner else None
        return PlannedMatch(id, said.stage, said.by) if said and id else None


def _scorer_stages(stages: Mapping[str, PlannedStage], path: Sequence[str]) -> list[str]:
    """The stages that train the scorers which the stages of a path use."""
    return [id for stage in path for id in stages[stage].needs if stages[id].type == "prm"]


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
        task_fingerprints: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._recipe = recipe
        self._task_files = task_fingerprints
        self._scorer_folders = scorer_fingerprints
        self._start = {
            "model": _said(recipe.model, {"path"}),
            "fingerprint": model_fingerprint,
        }
        self._rewards = {
            "rubric": _said(recipe.rewards, {"workers"}),
            "files": dict(reward_fingerprints),
        }

    def training(
        self,
        name: str,
        parent: str | None,
        seed: int,
        *,
        scorer: PlannedScorer | None,
        match: PlannedMatch | None,
        reference: str | None,
    ) -> PlannedStage:
        """The training stage `name` of the recipe, after `parent`."""
        config = self._recipe.stages[name]
        settings, used = self._settings(config)
        decides: dict[str, Any] = {"rewards": self._rewards if isinstance(config, OnPolicy | Rft | Dpo) else None}
        if scorer is not None:
            decides["scorer"] = {
                "settings": _said(scorer.config, {"path", "after", "policy", "reference"}),
                "models": scorer.models,
                "folder": self._scorer_folders.get(scorer.name),
            }
        if match is not None:
            decides["match"] = {"stage": match.stage, "by": match.by}
        if isinstance(config, OnPolicy) and config.reference_arm is not None:
            decides["reference"] = reference or "model"
        id = self._id(config.type, settings, used, decides, parent, seed)
        return PlannedStage(id, name, config.type, seed, parent, config, (), scorer, match, reference)

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

    def _settings(self, config: StageConfig | Prm) -> tuple[dict[str, Any], list[str]]:
        """What of a stage's section decides its result, and the tasks it uses."""
        settings = _said(config, _NO_IDENTITY | {"after", "match", "teacher"})
        if kl := settings.get("kl"):
            kl.pop("reference", None)  # which arm it is counts by its stage, not by its name
        used = [self._recipe.task_name(entry.task) for entry in config.data]
        for entry, task in zip(settings["data"], used, strict=True):
            entry["task"] = task
        return settings, used

    def evaluation(self, parent: str | None, seed: int, arm: Arm) -> PlannedStage:
        """The evaluation of what `parent` left, as the arm is asked."""
        config = self._recipe.evaluation
        if arm.task is not None:
            config = config.model_copy(update={"task": arm.task})
        settings = _said(config, _NO_IDENTITY | {"interpolation"})
        settings["task"] = self._recipe.task_name(config.task)
        id = self._id(EVALUATE, settings, [settings["task"]], {"rewards": None}, parent, seed)
        return PlannedStage(id, EVALUATE, EVALUATE, seed, parent, config, ())

    def reach(self, base: str | None, evaluation: str, seed: int, arm: Arm) -> PlannedStage:
        """How likely `base` finds the right derivations of an evaluation."""
        asked, count = self._recipe.evaluation, self._recipe.verdict.reach_derivations
        config = asked if arm.task is None else asked.model_copy(update={"task": arm.task})
        settings = {"answers": evaluation, "count": count}
        id = self._id(REACH, settings, [], {}, base, seed)
        return PlannedStage(id, REACH, REACH, seed, base, config, (), answers=evaluation)

    def interpolators(self) -> Iterator[PlannedStage]:
        """One stage a method, under the first seed: problems are the same under all."""
        asked, seed = self._recipe.evaluation, self._recipe.seeds[0]
        if asked.interpolation is None:
            return
        for method in asked.interpolation.methods:
            alone = asked.interpolation.model_copy(update={"methods": (method,)})
            config = asked.model_copy(update={"interpolation": alone})
            settings = _said(config, _NO_IDENTITY | {"sampling", "samples", "stop_at"})
            settings["task"] = self._recipe.task_name(config.task)
            id = self._id(INTERPOLATE, settings, [settings["task"]], {}, None, seed)
            yield PlannedStage(id, method, INTERPOLATE, seed, None, config, ())

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
            "tasks": {
                name: {**self._recipe.tasks[name].model_dump(mode="json"), **self._task_files.get(name, {})}
                for name in tasks
            },
            **more,
            "start": self._start if parent is None else parent,
            "seed": seed,
        }
        return f"{type}-{json_digest(decides)[:10]}"


def _said(section: BaseModel, exclude: set[str]) -> dict[str, Any]:
    """What a section says beside its defaults, so that a new setting leaves the identity of old stages as it was."""
    return section.model_dump(mode="json", exclude=exclude, exclude_defaults=True)
