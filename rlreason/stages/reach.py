"""How likely a base is to write the right derivations of an arm that went on from it by reinforcement learning.

Recorded for the verdict, which holds them against -ln k: a derivation that the base writes once in a million samples is
one that no pass@k of this evaluation could have shown. Nothing is sampled and nothing trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import PolicyBatch, PolicySettings
from rlreason.recipe.objectives import ClippedLoss
from rlreason.recipe.plan import PlannedStage
from rlreason.recipe.schema import Evaluation
from rlreason.recipe.training import Optimizer
from rlreason.records.tables import read_table, write_part
from rlreason.stages.context import Context

TABLE = "base_logprobs"
READ = ("problem", "sample", "level", "probe", "text", "finish_reason", "correct", "derivation_correct")


def run_reach(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Score, level by level, the derivations under the checkpoint `parent`; returns how many there were."""
    config = stage.config
    assert isinstance(config, Evaluation) and stage.answers is not None
    rows = read_table(context.folder, "evaluations", [stage.answers], READ)
    prompts = read_table(context.folder, "problems", [stage.answers], ["problem", "prompt"])
    chosen = right_derivations(rows[~rows["probe"]], context.recipe.verdict.reach_derivations)
    chosen = chosen.merge(prompts.drop_duplicates("problem"), on="problem")
    context.progress.stage_started(stage, len(chosen), "derivations", 0)
    learner = context.engines.learner
    learner.begin(parent.resolve(), scoring_settings(stage), None)
    try:
        done = 0
        for part, (level, own) in enumerate(chosen.groupby("level", sort=True)):
            logprobs, tokens = logprobs_of(context, own)
            columns = {
                "stage": [stage.answers] * len(own),
                "level": [level] * len(own),
                "problem": own["problem"].tolist(),
                "sample": own["sample"].tolist(),
                "base": [stage.parent or ""] * len(own),
                "logprob": logprobs.tolist(),
                "tokens": tokens.tolist(),
            }
            write_part(context.folder, TABLE, stage.answers, part, columns)
            done += len(own)
            context.progress.stage_advanced(stage, done, {})
    finally:
        learner.end()
    return {"derivations": float(len(chosen))}


def right_derivations(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Of each level at most `count` right completions, of as many problems, in the order of problems' names.

    Args:
        rows: completions with `READ`. Right is one with every step right; where steps were not checked, with the right
            answer. Of several of a problem the first sampled counts, so that the greedy one stands in only where no
            sample is right.
    """
    right = rows["derivation_correct"].fillna(rows["correct"]).fillna(False).astype(bool)
    in_order = rows[right].assign(greedy=lambda own: own["sample"] < 0)
    first = in_order.sort_values(["level", "problem", "greedy", "sample"]).drop_duplicates(["level", "problem"])
    return first.groupby("level", sort=True).head(count).drop(columns="greedy")


def logprobs_of(context: Context, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """([N] float64 sum over a completion's tokens of the log-probability at temperature 1, [N] int its tokens).

    Texts are encoded anew: of the ways to write a text in tokens the tokenizer's own is scored, and where the policy
    sampled another the sum is a lower bound of how likely the text is.
    """
    prompts, completions = context.codec.encode(rows["prompt"].tolist()), context.codec.encode(rows["text"].tolist())
    end = np.array([context.codec.end], dtype=np.int32)
    whole = [
        np.append(tokens, end) if reason == "stop" else tokens
        for tokens, reason in zip(completions, rows["finish_reason"], strict=True)
    ]
    lengths = np.array([len(tokens) for tokens in whole], dtype=np.int32)
    nothing = np.zeros(int(lengths.sum()), dtype=np.float32)
    batch = PolicyBatch(
        tokens=np.concatenate([piece for pair in zip(prompts, whole, strict=True) for piece in pair]),
        prompt_lengths=np.array([len(prompt) for prompt in prompts], dtype=np.int32),
        lengths=lengths,
        generator_logprobs=nothing,
        advantages=nothing,
        weights=nothing,
    )
    logprobs = context.engines.learner.figures(batch).logprobs.astype(np.float64)
    return np.add.reduceat(logprobs, np.cumsum(lengths) - lengths), lengths


def scoring_settings(stage: PlannedStage) -> PolicySettings:
    """A policy that is read and never trained."""
    return PolicySettings(
        optimizer=Optimizer(learning_rate=1e-9),
        loss=ClippedLoss(),
        updates=1,
        temperature=1.0,
        mismatch_tolerance=None,
        seed=derive_seed(stage.seed, stage.id) % 2**31,
    )
