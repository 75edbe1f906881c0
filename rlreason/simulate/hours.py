"""Hours that a whole plan takes on its devices, from rates: what `rlreason plan` says before anything is started.

    rates, plan, tokens of prompts and completions -> seconds of each stage -> device-hours

Beside the simulator this is coarse on purpose: completions of a stage are all as long as their mean, sampling and
learning take turns, stages follow each other, every device is held throughout. Left out: start-up, saving, scoring that
the rates do not know, interpolators, and the forward passes of references and of `reach`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlreason.recipe.layout import asked_gpus, shares_gpus
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.plan import Plan, PlannedStage
from rlreason.recipe.schema import Evaluation, Recipe, Resources
from rlreason.recipe.scorers import Prm
from rlreason.recipe.stages import OnPolicy
from rlreason.simulate.costs import Costs, Layout, Work
from rlreason.simulate.rates import ConstantLengths, LinearDecoding, MeasuredDecoding, ModelSize, Rates

SAME_SIZE = 0.02
"""Relative difference of parameters up to which rates of one model are taken for another's as they are."""


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Of one stage: seconds that its generators, its learners and everything else take, one after the other."""

    stage: PlannedStage
    generate: float = 0.0
    learn: float = 0.0
    other: float = 0.0

    @property
    def total(self) -> float:
        """Their sum."""
        return self.generate + self.learn + self.other


@dataclass(frozen=True, slots=True)
class PlanHours:
    """What a plan takes.

    Attributes:
        about: where the rates are from.
        generating, learning: "assumed", "measured", or how measured rates were brought to the recipe's model.
        counted: whether tokens were counted with the model's tokenizer.
        devices: that are held.
        stages: of the plan, in its order, but those that no device works for.
    """

    about: str
    generating: str
    learning: str
    counted: bool
    devices: int
    stages: tuple[StageSeconds, ...]

    @property
    def wall_hours(self) -> float:
        """All stages, one after the other."""
        return sum(stage.total for stage in self.stages) / 3600

    @property
    def device_hours(self) -> float:
        """Those of all devices."""
        return self.wall_hours * self.devices

    def as_json(self) -> dict[str, Any]:
        """Plain values; hours are of the wall clock where nothing else is said."""
        return {
            **{"rates": self.about, "generating": self.generating, "learning": self.learning},
            **{"tokens": "counted" if self.counted else "assumed", "devices": self.devices},
            **{"wall_hours": self.wall_hours, "device_hours": self.device_hours},
            "stages": {
                each.stage.id: {
                    **{"generate_hours": each.generate / 3600, "learn_hours": each.learn / 3600},
                    **{"other_hours": each.other / 3600, "device_hours": each.total * self.devices / 3600},
                }
                for each in self.stages
            },
        }


def plan_hours(
    plan: Plan,
    recipe: Recipe,
    rates: Rates,
    model: ModelSize,
    tokens: Mapping[str, tuple[float, float]],
    *,
    counted: bool,
    devices: int,
) -> PlanHours:
    """Estimate every stage that devices work for.

    Args:
        model: the recipe's; the rates' own says which model they were measured on.
        tokens: id of a stage that samples -> mean tokens of (a prompt, a completion).
        counted: whether these were counted with the model's tokenizer.
        devices: that are held, see `held_devices`.
    """
    estimate = _Seconds(plan, recipe, scaled_to(rates, model), model, tokens)
    stages = [estimate.of_stage(stage) for stage in plan.stages]
    return PlanHours(
        about=rates.about,
        generating=_basis(rates, model, measured=rates.decoding.type != "roofline"),
        learning=_basis(rates, model, measured=rates.learning.tokens_per_s is not None),
        counted=counted,
        devices=devices,
        stages=tuple(each for each in stages if each.total),
    )


def held_devices(resources: Resources, *, on_gpu: bool, gpus: int | None, scorers: int) -> int:
    """GPUs that a recipe's engines take where there are so many (None: as few as they may share); on a CPU one."""
    if not on_gpu or resources.generator == "torch":
        return 1
    if shares_gpus(resources, gpus or None, scorers):
        return max(resources.generators, resources.learners)
    return asked_gpus(resources, scorers)


def _factor(rates: Rates, model: ModelSize) -> float:
    """Parameters of the model that was measured over those of this one."""
    if rates.model is None or abs(rates.model.parameters / model.parameters - 1) <= SAME_SIZE:
        return 1.0
    return rates.model.parameters / model.parameters


def _basis(rates: Rates, model: ModelSize, *, measured: bool) -> str:
    if not measured:
        return "assumed"
    if rates.model is None or _factor(rates, model) == 1.0:
        return "measured"
    return f"measured with {rates.model.parameters:,.0f} parameters, scaled by parameters"


def scaled_to(rates: Rates, model: ModelSize) -> Rates:
    """Rates for another model: measured seconds a token are taken to grow with the parameters, which is too much where
    the smaller model did not fill its device. Peaks need no scaling."""
    factor, decoding, learning = _factor(rates, model), rates.decoding, rates.learning
    if isinstance(decoding, MeasuredDecoding):
        points = [point.model_copy(update={"tokens_per_s": point.tokens_per_s * factor}) for point in decoding.points]
        prefill = decoding.prefill_tokens_per_s * factor
        decoding = decoding.model_copy(update={"points": tuple(points), "prefill_tokens_per_s": prefill})
    elif isinstance(decoding, LinearDecoding):
        names = ("step_s", "sequence_s", "prompt_token_s")
        decoding = decoding.model_copy(update={name: getattr(decoding, name) / factor for name in names})
    if learning.tokens_per_s is not None:
        learning = learning.model_copy(update={"tokens_per_s": learning.tokens_per_s * factor})
    return rates.model_copy(update={"decoding": decoding, "learning": learning})


class _Seconds:
    """Seconds of the stages of one plan."""

    def __init__(
        self, plan: Plan, recipe: Recipe, rates: Rates, model: ModelSize, tokens: Mapping[str, tuple[float, float]]
    ) -> None:
        self._plan, self._recipe, self._rates, self._model, self._tokens = plan, recipe, rates, model, tokens
        resources = recipe.resources
        # engines that share a device without sleeping do not switch between phases
        self._layout = Layout(
            resources.generators, resources.learners, resources.tensor_parallel, colocated=resources.sleep_level > 0
        )

    def of_stage(self, stage: PlannedStage) -> StageSeconds:
        """Seconds of a stage; none where devices have nothing to do."""
        config, prompt = stage.config, self._tokens.get(stage.id, (0.0, 0.0))[0]
        if stage.type in ("interpolate", "reach"):
            return StageSeconds(stage)
        if isinstance(config, Evaluation):
            problems = len(config.levels) * config.problems + sum(each.problems for each in config.probes.values())
            return StageSeconds(stage, generate=self._generate(stage, problems, 1 + config.samples))
        if isinstance(config, OnPolicy):
            completions = config.prompts_per_update * config.group_size
            lengths = np.full(completions, max(1.0, self._tokens[stage.id][1]))
            costs = self._costs(prompt, config.prompts_per_update, config.group_size, config.minibatches)
            generate = self._generate(stage, config.prompts_per_update, config.group_size)
            other = costs.score_s(completions) + costs.drive_s + costs.sync_s
            return StageSeconds(stage, *(config.updates * each for each in (generate, costs.learn_s(lengths), other)))
        if isinstance(config, Dpo):
            lengths = np.full(2 * config.batch_pairs, max(1.0, self._tokens[stage.id][1]))
            learn = config.updates * self._costs(prompt).learn_s(lengths)
            return StageSeconds(stage, self._generate(stage, config.prompts, config.samples), learn)
        rows = self._costs(0.0).learn_s(np.full(config.batch_rows, config.row_tokens))
        if isinstance(config, Rft):
            generate = config.rounds * self._generate(stage, self._prompts(stage, config), config.samples)
            return StageSeconds(stage, generate, config.rounds * config.updates * rows)
        if isinstance(config, Prm):
            return StageSeconds(stage, self._generate(stage, config.problems, config.samples), config.updates * rows)
        return StageSeconds(stage, learn=config.updates * rows)

    def _prompts(self, stage: PlannedStage, config: Rft) -> int:
        """Of one round; where the stage is matched, its partner's samples shared out."""
        if stage.match is None:
            return config.prompts
        partner = self._plan.stage(stage.match.stage).config
        assert isinstance(partner, OnPolicy), "only these sample for a match by samples"
        samples = partner.updates * partner.prompts_per_update * partner.group_size
        return math.ceil(samples / config.samples / config.rounds)

    def _generate(self, stage: PlannedStage, prompts: int, group: int) -> float:
        """Full batches of completions of the mean length, then the rest; a prompt is read once."""
        prompt, completion = self._tokens[stage.id]
        costs, generators = self._costs(prompt, prompts, group, completion=completion), self._layout.generators
        full, rest = divmod(math.ceil(prompts * group / generators), costs.work.sequences)
        steps = completion * (full * costs.step_seconds[-1] + costs.step_seconds[rest])
        return float(steps + math.ceil(prompts / generators) * costs.prompt_s)

    def _costs(
        self, prompt: float, prompts: int = 1, group: int = 1, minibatches: int = 1, completion: float = 1.0
    ) -> Costs:
        resources = self._recipe.resources
        lengths = ConstantLengths(type="constant", tokens=max(1, round(completion)))
        rates = self._rates.model_copy(update={"lengths": lengths, "prompt_tokens": prompt})
        work = Work(
            prompts=prompts,
            group=group,
            minibatches=minibatches,
            max_new_tokens=lengths.tokens,
            checkpoint_every=1,
            sequences=resources.max_concurrent,
            tensor_parallel=resources.tensor_parallel,
            zero_stage=resources.zero_stage,
            pass_tokens=resources.tokens_a_pass(on_gpu=True),
            model=self._model,
        )
        return Costs(rates, work, self._layout)
