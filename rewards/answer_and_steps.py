"""A reward that pays for the answer and for the way to it. Copy this file to write your own.

In a recipe, with the share that steps have in the reward:

    rewards:
      parts:
        - spec: "rewards/answer_and_steps.py:score"
          kwargs: {steps_share: 0.3}
          deadline_s: 5

`score` gets plain values and returns one:

- `problem`: the question. `problem.answer` is the gold answer, `problem.detail` what the task knows beyond the text.
- `completion`: the text that the policy wrote. Compare it, search it, never execute it.
- `derivation`: the task's own check of that text: `answer`, `answer_correct`, `derivation_correct`, and `steps`, each
  with a verdict ("right", "wrong", "unsupported", "repeated") and its span in the text.

Return a finite number, True or False, or a mapping with `reward`, named `parts`, which are recorded one by one, and
`steps`, a number for each of `derivation.steps`, which an `rl` stage can use as `credit: {steps: score}`. Let
errors be raised: the completion then counts as unscored and the cause is shown, where a 0.0 would teach the policy
that it was wrong. Whatever you pay for is what you get: a policy that finds steps cheaper than answers writes steps,
so keep the answer's share the larger and do not pay for padding (here, "repeated" steps lower the share).

`async def` works too, and `@reward(batch=True)` takes (problems, completions, derivations) and returns a list.
"""

from collections.abc import Mapping
from typing import Any

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def score(
    problem: Problem, completion: str, derivation: DerivationCheck, *, steps_share: float = 0.5
) -> Mapping[str, Any]:
    """(1 - steps_share) for the right answer, and steps_share times the share of right steps."""
    answer = float(derivation.answer_correct)
    right = [float(step.verdict == "right") for step in derivation.steps]
    steps = sum(right) / len(right) if right else 0.0
    return {
        "reward": (1 - steps_share) * answer + steps_share * steps,
        "parts": {"answer": answer, "steps": steps},
        "steps": right,
    }
