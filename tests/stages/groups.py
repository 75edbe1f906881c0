"""Groups of rollouts small enough to work out by hand."""

from __future__ import annotations

import numpy as np

from rlreason.recipe.stages import Rl
from rlreason.types import Completion, Group, Problem, Rollout, Score


def config(**changes) -> Rl:
    plain = {
        "type": "rl",
        "data": [{"cells": ["*"]}],
        "updates": 4,
        "prompts_per_update": 4,
        "group_size": 2,
        "sampling": {"max_new_tokens": 10},
        "optimizer": {"learning_rate": 1e-3},
    }
    return Rl.model_validate({**plain, **changes})


def group(name: str, *rollouts: tuple[list[int], Score], prompt: tuple[int, ...] = (1, 2)) -> Group:
    problem = Problem(name, "t", "c", "train", "?", "!", "!")
    return Group(
        problem,
        tuple(
            Rollout(
                problem,
                sample,
                Completion(
                    prompt_tokens=np.array(prompt, dtype=np.int32),
                    tokens=np.array(tokens, dtype=np.int32),
                    generator_logprobs=-np.array(tokens, dtype=np.float32) / 10,
                    text=str(tokens),
                    finish_reason="stop" if tokens[-1] == 9 else "length",
                    policy_version=0,
                    seed=sample,
                ),
                score,
            )
            for sample, (tokens, score) in enumerate(rollouts)
        ),
    )


def failed(cause: str) -> Score:
    return Score(reward=None, failure=cause)
