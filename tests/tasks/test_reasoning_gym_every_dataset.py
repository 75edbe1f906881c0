"""All of reasoning-gym's datasets under their default configuration: what docs/tasks.md says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("pycosat", reason="reasoning-gym needs pycosat, which is compiled at set-up")
DATASETS = pytest.importorskip("reasoning_gym.factory").DATASETS
UNSTEADY = pytest.importorskip("rlreason.tasks.gym.generators")._UNSTEADY

WITHOUT_ANSWER = {"boxnet", "rush_hour"}
LOOK = """
import hashlib, json, sys
from rlreason.tasks import build_task

found = {}
for name in json.load(sys.stdin):
    task = build_task("gym", "reasoning_gym", {"dataset": name})
    asked = [task.problem(level, f"{name}/1", index) for level in ("train", "iid") for index in (0, 1)]
    texts = repr([(problem.prompt, problem.answer) for problem in asked])
    found[name] = {
        "digest": hashlib.sha256(texts.encode()).hexdigest(),
        "right": all(task.check(problem, problem.target).answer_correct for problem in asked),
        "nonsense": [
            text
            for text in ("nan", "[NaN]", "inf", "None", "null", "[]", "{}", "[[]]", "()", "x #")
            if any(task.check(problem, f"<answer>{text}</answer>").answer_correct for problem in asked)
        ],
    }
print("", json.dumps(found), sep="\\n")  # below what the library prints
"""


def look(names: list[str], hash_seed: str) -> dict[str, dict]:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK],
        input=json.dumps(names),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_dataset_repeats_itself_pays_its_own_answer_and_nothing_for_nonsense():
    names = sorted(DATASETS.keys() - UNSTEADY - {"composite"})
    assert len(names) == 100
    first = look(names, "1")
    assert look(names[::-1], "2") == first
    assert {name for name, found in first.items() if not found["right"]} == WITHOUT_ANSWER
    assert {name: found["nonsense"] for name, found in first.items() if found["nonsense"]} == {}
