"""The tables of a run: their columns and types, and what each means. A report may read nothing else.

Tables are Parquet files under `records/TABLE/STAGE/part-*.parquet`. `STAGE` is a stage's identity (`sft-1a2b3c4d5e`).
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2

UPDATES = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("update", pa.int32(), nullable=False),  # counts from 1 within the stage
        pa.field("metric", pa.string(), nullable=False),  # "loss", "reward_mean", "seconds_generate", ...
        pa.field("value", pa.float64(), nullable=False),  # may be NaN where the metric is undefined
    ]
)
"""One row a metric of an update, for every training stage (long form, so a new metric needs no new column)."""

PROBLEMS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("cell", pa.string(), nullable=False),
        pa.field("difficulty", pa.int32(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # JSON: the problem's, and "gold_steps": steps of its target
        pa.field("chance", pa.float64(), nullable=False),
    ]
)
"""The problems an evaluation asked, once each."""

TRAINED_PATHS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("cell", pa.string(), nullable=False),
        pa.field("path", pa.list_(pa.string()), nullable=False),  # as "path" in the problems' detail
    ]
)
"""Sequences of operations that training asks for in the cells that an evaluation asked, where a task lists them."""

_SCORED = [
    pa.field("stage", pa.string(), nullable=False),
    pa.field("problem", pa.string(), nullable=False),
    pa.field("cell", pa.string(), nullable=False),
    pa.field("sample", pa.int32(), nullable=False),  # counts from 0 within the problem; greedy: -1
    pa.field("text", pa.string(), nullable=False),  # of several turns: the environment's answers included
    pa.field("turns", pa.string()),  # JSON: what the policy wrote, a text a turn; null: a task of one turn
    pa.field("tokens", pa.int32(), nullable=False),  # tokens sampled
    pa.field("finish_reason", pa.string(), nullable=False),  # "stop" or "length"
    pa.field("logprob", pa.float64(), nullable=False),  # sum over tokens, natural log, as sampled
    pa.field("policy_version", pa.int32(), nullable=False),
    pa.field("correct", pa.bool_()),  # null: could not be judged
    pa.field("derivation_correct", pa.bool_()),
    pa.field("answer", pa.string()),  # null: no answer could be read
    pa.field("first_error", pa.int32()),  # null: none
    pa.field("first_error_kind", pa.string()),
    pa.field("steps", pa.string(), nullable=False),  # JSON: [{"start", "end", "verdict", "kind", "score"}, ...]
    pa.field("failure", pa.string(), nullable=False),  # "" or the typed cause of a score that could not be had
]

EVALUATIONS = pa.schema(
    [
        *_SCORED,
        pa.field("level", pa.string(), nullable=False),  # a level, or the probe's name
        pa.field("probe", pa.bool_(), nullable=False),  # the row belongs to a probe, not to a level
        pa.field("greedy", pa.bool_(), nullable=False),
    ]
)
"""One row a completion of an evaluation: one greedy and `samples` sampled ones a problem."""

ROLLOUTS = pa.schema(
    [
        *_SCORED,
        pa.field("update", pa.int32(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("gold", pa.string(), nullable=False),  # the gold answer
        pa.field("reward", pa.float64()),  # null: unscored, left out of the group's baseline
        pa.field("advantage", pa.float64(), nullable=False),
        pa.field("parts", pa.string(), nullable=False),  # JSON: {name: float}
        pa.field("step_scores", pa.string(), nullable=False),  # JSON: {who: [[start, end, score], ...]}
        pa.field("prompt_tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("completion_tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("generator_logprobs", pa.list_(pa.float32()), nullable=False),  # 0 for what an environment said
        pa.field("learner_mismatch", pa.float64(), nullable=False),  # mean |learner - generator| logprob, NaN unknown
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("policy_versions", pa.list_(pa.int32())),  # of each token; null: `policy_version` all of them
    ]
)
"""One row a rollout of an RL stage."""

STEPS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),  # counts from 0 within the derivation
        pa.field("verdict", pa.string(), nullable=False),  # the check's: "right", "wrong", "unsupported", "repeated"
        pa.field("kind", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),  # the step scorer's probability that it is right
    ]
)
"""One row a step of the held-out derivations on which a step scorer is judged."""

CURRICULUM = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("update", pa.int32(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),  # the bandit arm, "TASK:LEVEL:CELL"
        pa.field("probability", pa.float64(), nullable=False),  # with which the update's problems were drawn
        pa.field("drawn", pa.int32(), nullable=False),  # problems
        pa.field("unscored", pa.int32(), nullable=False),  # of its rollouts, those without a reward
        pa.field("payoff", pa.float64()),  # mean over its problems; null: none
        pa.field("success", pa.float64()),  # share of its rollouts that were right; null: none was judged
        pa.field("mastered", pa.bool_()),  # null: the stage has no gate
        pa.field("unlocked", pa.bool_(), nullable=False),  # may be drawn in the next update
    ]
)
"""One row a bandit arm of an update of an RL stage."""

TIMELINE = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("update", pa.int32(), nullable=False),  # that learned from the work, not the one under way
        pa.field("actor", pa.string(), nullable=False),  # "generators", "rewards", "learners"
        pa.field("phase", pa.string(), nullable=False),  # "load", "generate", "score", "learn", "sync"
        pa.field("start", pa.float64(), nullable=False),  # seconds of the epoch
        pa.field("end", pa.float64(), nullable=False),
    ]
)
"""One row a piece of work of an asynchronous RL stage; in what lies between them an actor waited."""

ACTORS = {"load": "generators", "generate": "generators", "score": "rewards", "learn": "learners", "sync": "learners"}
"""Phase of an update -> whose work it is, in the order they happen."""

BASE_LOGPROBS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),  # the evaluation whose completion it is
        pa.field("level", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("base", pa.string(), nullable=False),  # stage of the checkpoint that scored it; "": where arms start
        pa.field("logprob", pa.float64(), nullable=False),  # sum over tokens, natural log, at temperature 1
        pa.field("tokens", pa.int32(), nullable=False),
    ]
)
"""One row a right derivation of an arm that went on by reinforcement learning: how likely its base would write it."""

ADDED = frozenset({"turns", "policy_versions"})
"""Nullable columns that came after files of this version had been written: one without them holds nulls there."""

TABLES: dict[str, pa.Schema] = {
    "updates": UPDATES,
    "problems": PROBLEMS,
    "trained_paths": TRAINED_PATHS,
    "evaluations": EVALUATIONS,
    "rollouts": ROLLOUTS,
    "steps": STEPS,
    "curriculum": CURRICULUM,
    "timeline": TIMELINE,
    "base_logprobs": BASE_LOGPROBS,
}
