"""Episodes of several turns on Ray, vLLM and DeepSpeed: the generator goes on from what it sampled, answers and all."""

from __future__ import annotations

import pytest

from tests.stages.small import run
from tests.stages.test_several_turns import check_records, write
from tests.stages.wason_recipe import ON_THE_STACK, RECIPE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_episodes_are_played_learned_from_and_evaluated(tmp_path):
    run(write(tmp_path, RECIPE + ON_THE_STACK), tmp_path / "run")
    check_records(tmp_path / "run")
