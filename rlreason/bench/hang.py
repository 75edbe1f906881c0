"""A reward that never comes back from C code for one text, for `rlreason bench rewards`; any other is paid 1."""

from __future__ import annotations

import re

from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

HANGS = "a" * 64 + "!"
_BACKTRACKS = re.compile(r"(a+)+b")


@reward
def score(problem: Problem, completion: str, derivation: DerivationCheck) -> float:
    """1, after a regular expression that takes longer than anyone lives on `HANGS`."""
    return float(completion != HANGS or _BACKTRACKS.match(completion) is not None)
