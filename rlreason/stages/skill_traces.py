"""Texts that show the skill of trying again, made of a policy's own samples: attempts, reflections, a verdict.

    wrong attempt, "that is wrong" ... right attempt, "that is right", the answer again as the verdict

After SkillFactory (Sprague et al. 2025, arXiv 2512.04072). Other than there, reflections are fixed phrases instead of
the model's own, attempts before the last are wrong ones only, and none is marked up, sampled from a varied prompt, gone
back to, or confirmed by a second right one. Whether a trace is read as right is checked by whoever trains on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlreason.recipe.own_samples import ANSWER, SkillTraces
from rlreason.stages.own_samples import OwnSample


def skill_trace(wrong: Sequence[OwnSample], right: OwnSample, words: SkillTraces) -> str:
    """The trace of some wrong attempts, in order, and a right one; begins with the space that the right one does."""
    parts = []
    for attempt, phrase in (*((each, words.wrong) for each in wrong), (right, words.right)):
        parts += [_steps(attempt, words.mark), phrase.replace(ANSWER, attempt.answer or "")]
    parts.append(words.verdict.replace(ANSWER, right.answer or ""))
    indent = right.text[: len(right.text) - len(right.text.lstrip())]
    return indent + words.between.join(part for part in parts if part)


def _steps(attempt: OwnSample, mark: str) -> str:
    """What an attempt says before it gives its answer: the verdict alone is to be found as a final answer."""
    return attempt.text.partition(mark)[0].strip()


def pick_wrong(wrong: Sequence[OwnSample], count: int, turn: int) -> list[OwnSample]:
    """At most `count` of a problem's wrong samples, others for every `turn` (from 0) as far as they go."""
    taken = min(count, len(wrong))
    return [wrong[(turn * taken + place) % len(wrong)] for place in range(taken)]
