"""What the driver imports before it can start engines: every second of it is one of the start-up."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"torch", "transformers", "vllm", "deepspeed", "trl", "datasets", "scipy", "plotly"}


def test_the_driver_starts_engines_without_the_libraries_that_run_in_them():
    program = (
        "import json, sys, rlreason.stages.runner, rlreason.orchestration.start; print(json.dumps([*sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(found.stdout))
