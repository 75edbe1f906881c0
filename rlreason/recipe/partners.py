"""Which stage a control is matched with: found among the arms' histories by name, and refused where it makes no sense.

A history is the names of an arm's stages from the start up to one of them; two arms with the same beginning share its
histories, as their plan shares the stages. Everything here is about names: no identity, no seed.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlreason.errors import one_of
from rlreason.recipe.explain import Finding
from rlreason.recipe.match import Match
from rlreason.recipe.own_samples import Dpo, Rft
from rlreason.recipe.schema import Recipe
from rlreason.recipe.scorers import Implicit, Prm
from rlreason.recipe.stages import OnPolicy, StageConfig

History = tuple[str, ...]
_SAMPLING = (OnPolicy, Rft, Dpo)


def stage_names(recipe: Recipe, arm: str) -> History:
    """The recipe's names of an arm's stages from the start, those of the arm it continues first."""
    after = recipe.arms[arm].after
    inherited = stage_names(recipe, after) if after is not None else ()
    return (*inherited, *recipe.arms[arm].stages)


def histories(recipe: Recipe) -> list[History]:
    """Every history of the recipe once, in the order of the arms."""
    paths = [stage_names(recipe, arm) for arm in recipe.arms]
    return list(dict.fromkeys(path[:end] for path in paths for end in range(1, len(path) + 1)))


def match_of(config: StageConfig) -> Match | None:
    """What a stage's section says of its partner; None where it has none, or is of a type that has none."""
    match: Match | None = getattr(config, "match", None)
    return match


def partner_candidates(recipe: Recipe, control: History) -> list[History]:
    """The histories that may be meant by the partner of `control`: with its name, and in another arm's course.

    Those that start where the control starts go before all others.
    """
    match = match_of(recipe.stages[control[-1]])
    assert match is not None, "asked of controls"
    named = [each for each in histories(recipe) if each[-1] == match.stage and not _in_one_course(each, control)]
    siblings = [each for each in named if each[:-1] == control[:-1]]
    return siblings or named


def _in_one_course(one: History, other: History) -> bool:
    """Whether one of the two goes on from the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def partner_of(recipe: Recipe, history: History) -> History | None:
    """The history of the partner of the stage that `history` ends in, of a checked recipe; None: it is no control."""
    if match_of(recipe.stages[history[-1]]) is None:
        return None
    (partner,) = partner_candidates(recipe, history)
    return partner


def check_matches(recipe: Recipe) -> Iterator[Finding]:
    """Partners that cannot be, the pair named. The recipe's arms must hold together."""
    known = histories(recipe)
    for name, config in recipe.stages.items():
        match = match_of(config)
        if match is None:
            continue
        where = f"stages.{name}.match.stage"
        sentence = _unfit_partner(recipe, known, name, match)
        if sentence is None:
            controls = [each for each in known if each[-1] == name]
            sentence = next((found for each in controls if (found := _unfit_history(recipe, each, match))), None)
        if sentence is not None:
            yield Finding(where, sentence)


def _unfit_partner(recipe: Recipe, known: list[History], name: str, match: Match) -> str | None:
    """Why the stage `match` names can be nobody's partner, or not that of `name`; None where it can."""
    if match.stage not in recipe.stages:
        return one_of("stage", match.stage, [other for other in recipe.stages if other != name])
    if match.stage == name:
        return f"{name!r} cannot be matched with itself; name a stage of another arm"
    partner = recipe.stages[match.stage]
    if match.by == "samples" and not isinstance(partner, _SAMPLING):
        return (
            f"{name!r} matched by samples with {match.stage!r}, a stage of type {partner.type}, which samples nothing; "
            "match by tokens or flops"
        )
    if not any(each[-1] == match.stage for each in known):
        return f"{name!r} is matched with {match.stage!r}, which no arm runs; add an arm with it"
    return None


def _unfit_history(recipe: Recipe, control: History, match: Match) -> str | None:
    """Why the control has no partner, or not a single one, in this place of the recipe; None where all is well."""
    candidates = partner_candidates(recipe, control)
    pair = f"{control[-1]!r} (in {_shown(control)}) is matched with {match.stage!r}"
    if not candidates:
        return f"{pair}, which comes before or after it in the same arm; name a stage of another arm"
    if len(candidates) > 1:
        return f"{pair}, which may be {' or '.join(map(_shown, candidates))}; have one of them under another name"
    circle = _waiting(recipe, control)
    if circle:
        return f"{pair}, and both wait for each other: {' waits for '.join(map(_shown, circle))}"
    return None


def _waiting(recipe: Recipe, control: History) -> list[History]:
    """The way from the control back to itself along what stages wait for; empty where there is none."""

    def search(at: History, way: list[History]) -> list[History]:
        for other in _waits_for(recipe, at):
            if other == control:
                return [*way, control]
            if other not in way and (found := search(other, [*way, other])):
                return found
        return []

    return search(control, [control])


def _waits_for(recipe: Recipe, history: History) -> Iterator[History]:
    """What must be done before the stage that `history` ends in: parent, partner, reference, those of its scorer."""
    if len(history) > 1:
        yield history[:-1]
    config = recipe.stages[history[-1]]
    if match_of(config) is not None:
        candidates = partner_candidates(recipe, history)
        if len(candidates) == 1:  # anything else is told of by itself
            yield candidates[0]
    scorer = recipe.scorers.get(config.step_scorer or "") if isinstance(config, OnPolicy) else None
    arms = [config.reference_arm] if isinstance(config, OnPolicy) else []
    arms += [scorer.after] if isinstance(scorer, Prm) else []
    arms += [scorer.policy, scorer.reference] if isinstance(scorer, Implicit) else []
    for arm in arms:
        if arm in recipe.arms and (path := stage_names(recipe, arm)):
            yield path


def _shown(history: History) -> str:
    return " -> ".join(history)
