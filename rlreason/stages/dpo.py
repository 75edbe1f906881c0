"""Direct preference optimisation on pairs of a right and a wrong completion, both sampled by the stage's start.

    problems -> samples, on record -> pairs of one problem -> learner

The pairs are made from the records, in an order that follows from the seed, so that a resumed stage trains the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish, whole_state
from rlreason.engines.protocols import PreferenceJob, PreferencePairs
from rlreason.errors import RunFailed
from rlreason.recipe.own_samples import Dpo
from rlreason.recipe.plan import PlannedStage
from rlreason.stages.context import MODEL, Context
from rlreason.stages.own_samples import OwnSample, problem_rounds, read_round, record_round
from rlreason.stages.supervised import reporter

ROUND = 1
Pair = tuple[OwnSample, OwnSample]
"""(right, wrong) of one problem."""


def pairs_of(samples: Sequence[OwnSample], per_problem: int) -> list[Pair]:
    """At most `per_problem` pairs of each problem. Problems that ask the same are one, and so are texts that say the
    same.

    A right completion that the token budget cut off is left out (it would teach to go on), a wrong one is not. Every
    right text is paired with another wrong one before any is used again.
    """
    problems: dict[str, list[OwnSample]] = {}
    for sample in samples:
        problems.setdefault(sample.prompt, []).append(sample)
    found: list[Pair] = []
    for own in problems.values():
        right = _different(each for each in own if each.correct is True and each.finish_reason == "stop")
        said = {each.text for each in right}
        wrong = _different(each for each in own if each.correct is False and each.text not in said)
        turns = range(len(wrong))
        every = ((one, wrong[(place + turn) % len(wrong)]) for turn in turns for place, one in enumerate(right))
        found += islice(every, per_problem)
    return found


def _different(samples: Iterable[OwnSample]) -> list[OwnSample]:
    """The first sample of each text."""
    found: dict[str, OwnSample] = {}
    for sample in samples:
        found.setdefault(sample.text, sample)
    return list(found.values())


def preference_pairs(pairs: Sequence[Pair], count: int, random: np.random.Generator) -> PreferencePairs:
    """The pairs as a learner takes them, `count` in all, shuffled again in every pass over them."""
    flat = [sample for pair in pairs for sample in pair]
    passes = [random.permutation(len(pairs)) for _ in range(-(-count // len(pairs)))]
    return PreferencePairs(
        tokens=np.concatenate([part for sample in flat for part in (sample.prompt_tokens, sample.tokens)]),
        prompt_lengths=np.array([len(sample.prompt_tokens) for sample in flat], dtype=np.int32),
        lengths=np.array([len(sample.tokens) for sample in flat], dtype=np.int32),
        order=np.concatenate(passes)[:count].astype(np.int32),
    )


def run_dpo(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Run a `dpo` stage from the checkpoint `parent`; returns its closing figures.

    Raises:
        RunFailed: no problem has both a right and a wrong completion.
    """
    config = stage.config
    assert isinstance(config, Dpo)
    context.progress.stage_started(stage, config.updates, "updates", 0)
    record_round(context, stage, ROUND, next(problem_rounds(context, stage)), parent)
    samples = read_round(context, stage, ROUND)
    found = pairs_of(samples, config.pairs_per_problem)
    right = sum(sample.correct is True for sample in samples)
    if not found:
        wrong = sum(sample.correct is False for sample in samples)
        raise RunFailed(
            f"stage {stage.name!r}: of {len(samples)} completions {right} are right and {wrong} wrong, but no problem "
            "has a finished right one and a wrong one, so there is no pair; raise `samples` or sampling.temperature, "
            "or take cells into `data` that the arm solves at times"
        )
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "pairs"))
    pairs = preference_pairs(found, config.updates * config.batch_pairs, random)
    output = context.folder.stage(stage.id) / f"{MODEL}{PARTIAL}"
    shutil.rmtree(output, ignore_errors=True)
    job = PreferenceJob(
        checkpoint=parent.resolve(),
        output=output.resolve(),
        state=context.state(stage.id).resolve(),
        updates=config.updates,
        optimizer=config.optimizer,
        checkpoint_every=config.checkpoint_every,
        keep_last=config.keep_last,
        about={"stage": stage.id},
        seed=derive_seed(stage.seed, stage.id, "learner") % 2**31,
        batch_pairs=config.batch_pairs,
        beta=config.beta,
    )
    whole_state(job.state, stage.id, context.progress.note)  # the learner goes on from the newest
    trained = pairs.lengths.reshape(-1, 2).sum(axis=1)[pairs.order].reshape(config.updates, -1).sum(axis=1)
    figures = context.engines.learner.preferences(job, pairs, reporter(context, stage, trained))
    finish(output)
    shutil.rmtree(context.state(stage.id), ignore_errors=True)
    problems = len({sample.prompt for sample in samples})
    return {
        **figures,
        "samples": float(len(samples)),
        "right_share": right / len(samples),
        "pairs": float(len(found)),
        "paired_share": len({one.prompt for one, _ in found}) / problems,
        "trained_tokens": float(trained.sum()),
    }
