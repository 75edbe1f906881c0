"""A pool over the toy task; workers find `toy_task` because they get this process's sys.path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from toy_task import BUILDER, toy_specs  # noqa: E402

from rlreason.recipe.schema import Reward, Rubric  # noqa: E402
from rlreason.rewards.pool import ScoringPool  # noqa: E402

MakePool = Callable[..., ScoringPool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """make_pool("file.py:name" or Reward..., workers=1, deadline_s=0.7): a started pool, closed after the test."""
    with ExitStack() as pools:

        def make(*parts: str | Reward, deadline_s: float = 0.7, log: Path | None = None, **rubric: Any) -> ScoringPool:
            rewards = [part if isinstance(part, Reward) else Reward(spec=part, deadline_s=deadline_s) for part in parts]
            return pools.enter_context(
                ScoringPool(Rubric(parts=tuple(rewards), **rubric), toy_specs(), [HERE], task_builder=BUILDER, log=log)
            )

        yield make
