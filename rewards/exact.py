"""The smallest reward plug-in: 1 where the completion is, but for outer spaces, the gold answer and nothing else.

In a recipe:

    rewards:
      parts:
        - {spec: "rewards/exact.py:score"}
"""

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem


@reward
def score(problem: Problem, completion: str, derivation: DerivationCheck) -> bool:
    return completion.strip() == problem.answer
