"""The policies by name: what a recipe or the simulator asks for, and the curriculum that it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlreason.curriculum.bandit import BanditCurriculum
from rlreason.curriculum.by_difficulty import ByDifficulty, EasyToHard, Ordered, ReverseOrdered, SuccessTarget
from rlreason.curriculum.learned import Exp3S, Sec, SlidingUcb, Variance
from rlreason.curriculum.rules import Fixed, Rule
from rlreason.curriculum.thompson import Thompson
from rlreason.errors import RecipeError, one_of

RULES: dict[str, type[Rule]] = {
    "uniform": Fixed,
    "proportional": Fixed,
    "ordered": Ordered,
    "reverse_ordered": ReverseOrdered,
    "easy_to_hard": EasyToHard,
    "success_target": SuccessTarget,
    "variance": Variance,
    "sec": Sec,
    "ucb": SlidingUcb,
    "thompson": Thompson,
    "exp3s": Exp3S,
}
"""uniform and proportional follow one rule under other weights: uniform keeps a recipe's own, under which the cells of
an entry share alike; proportional draws by the sizes it is given, as shuffling a pool of so many problems would."""


def build_rule(name: str, shape: tuple[int, ...], difficulties: np.ndarray, **parameters: Any) -> Rule:
    """A rule by its name.

    Args:
        name: one of `RULES`.
        shape: [..., A].
        difficulties: [A] int, for the rules that go by them.
        parameters: the rule's own.
    Raises:
        RecipeError: an unknown name, or a parameter that the rule refuses.
    """
    if name not in RULES:
        raise RecipeError(one_of("curriculum", name, RULES))
    rule = RULES[name]
    if issubclass(rule, ByDifficulty):
        return rule(shape, difficulties, **parameters)
    return rule(shape, **parameters)


def make_curriculum(
    name: str,
    *,
    difficulties: Mapping[str, int],
    sizes: Mapping[str, float] | None = None,
    floor: float = 0.0,
    **parameters: Any,
) -> Callable[[Mapping[str, float], np.random.Generator], BanditCurriculum]:
    """What a scheduler builds its curriculum with.

    Args:
        name: one of `RULES`.
        difficulties: every arm -> its difficulty; larger is harder.
        sizes: every arm -> how much there is of it; for "proportional", whose weights they are.
        floor: as in `BanditCurriculum`.
        parameters: the rule's own.
    Returns:
        A builder, which raises RecipeError for an unknown name, a parameter that the rule refuses, or an arm without
        difficulty or size.
    """

    def make(weights: Mapping[str, float], rng: np.random.Generator) -> BanditCurriculum:
        ranks = np.array(_of_every_arm("difficulty", difficulties, weights))
        rule = build_rule(name, (len(weights),), ranks, **parameters)
        if name == "proportional":
            weights = dict(zip(weights, _of_every_arm("size", sizes or {}, weights), strict=True))
        return BanditCurriculum(weights, rng, rule, floor=floor)

    return make


def _of_every_arm(what: str, values: Mapping[str, float], arms: Mapping[str, float]) -> list[float]:
    missing = [arm for arm in arms if arm not in values]
    if missing:
        raise RecipeError(f"no {what} is given of {', '.join(map(repr, missing))}; every arm needs one")
    return [values[arm] for arm in arms]
