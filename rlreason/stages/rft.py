"""Expert iteration (STaR, RFT): rounds of sampling, keeping what is right, and training on it like on any other rows.

    problems -> samples, on record -> those that are right, different, few enough a problem -> rows -> learner

Sampling and the records are in `own_samples`, the training of rows in `supervised`. A killed stage goes on with the
round it was in: a round that is on record is not sampled again, and its training resumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.checkpoints import PARTIAL, finish
from rlreason.errors import RunFailed
from rlreason.recipe.own_samples import Rft, SkillTraces
from rlreason.recipe.plan import PlannedStage
from rlreason.stages.context import MODEL, Context
from rlreason.stages.own_samples import OwnSample, problem_rounds, read_round, record_round
from rlreason.stages.skill_traces import pick_wrong, skill_trace
from rlreason.stages.supervised import IGNORED, fill_rows, fit, shuffled, tokenise
from rlreason.types import Problem

ROUNDS = "rounds"


def kept(samples: Sequence[OwnSample], config: Rft) -> list[OwnSample]:
    """The right samples that are trained, of one round or of several: finished, of different texts, and at most
    `per_problem` of a problem, the first sampled first. Problems that ask the same are one."""
    texts: dict[str, set[str]] = {}
    found = []
    for sample in samples:
        own = texts.setdefault(sample.prompt, set())
        full = config.per_problem is not None and len(own) >= config.per_problem
        if is_right(sample, config) and sample.finish_reason == "stop" and sample.text not in own and not full:
            own.add(sample.text)
            found.append(sample)
    return found


def is_right(sample: OwnSample, config: Rft) -> bool:
    """Whether a sample is right in the stage's sense."""
    return bool(sample.correct if config.keep == "answer" else sample.derived)


def round_metrics(samples: Sequence[OwnSample], config: Rft) -> dict[str, float]:
    """What a round's samples were like: shares of all of them, of the right ones (distinct_share), of the problems."""
    right = [sample for sample in samples if is_right(sample, config)]
    problems = {sample.prompt for sample in samples}
    return {
        "samples": float(len(samples)),
        "right_share": len(right) / len(samples),
        "kept_share": len(kept(samples, config)) / len(samples),
        "distinct_share": len({(each.prompt, each.text) for each in right}) / max(1, len(right)),
        "solved_share": len({sample.prompt for sample in right}) / len(problems),
    }


def sequences(
    context: Context, samples: Sequence[OwnSample], problems: Mapping[str, Problem], config: Rft
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens [T] and labels [T] of what is trained: every kept sample, or the traces made with it.

    Args:
        problems: by id; asked for traces only.
    """
    chosen = kept(samples, config)
    if isinstance(config.traces, SkillTraces):
        made = traces(context, samples, chosen, problems, config.traces)
        return tokenise([(prompt, (trace,)) for prompt, trace in made], context.codec, train_prompt=False)
    tokens = [np.concatenate([sample.prompt_tokens, sample.tokens]) for sample in chosen]
    labels = []
    for sample, whole in zip(chosen, tokens, strict=True):
        labels.append(whole.copy())
        labels[-1][: max(1, len(sample.prompt_tokens))] = IGNORED
    return tokens, labels


def traces(
    context: Context,
    samples: Sequence[OwnSample],
    chosen: Sequence[OwnSample],
    problems: Mapping[str, Problem],
    words: SkillTraces,
) -> list[tuple[str, str]]:
    """(prompt, trace) of every chosen sample, without those whose final answer the rewards do not read as right."""
    wrong: dict[str, list[OwnSample]] = {}
    for sample in samples:
        if sample.correct is False and sample.finish_reason == "stop" and sample.answer is not None:
            wrong.setdefault(sample.prompt, []).append(sample)
    turns = dict.fromkeys((sample.prompt for sample in chosen), 0)
    made = []
    for right in chosen:
        others = wrong.get(right.prompt, [])
        made.append(skill_trace(pick_wrong(others, words.attempts - 1, turns[right.prompt]), right, words))
        turns[right.prompt] += 1
    scores = context.pool.score([(problems[right.problem], trace) for right, trace in zip(chosen, made, strict=True)])
    return [(right.prompt, trace) for right, trace, score in zip(chosen, made, scores, strict=True) if score.correct]


def train_round(
    context: Context,
    stage: PlannedStage,
    number: int,
    problems: Mapping[str, Problem],
    start: Path,
    output: Path,
) -> Mapping[str, float]:
    """Train round `number`, whose samples are on record, from the checkpoint `start`; returns closing figures.

    Args:
        problems: of all rounds so far, by id.
        output: the Hugging Face directory that appears when the round is done.
    Raises:
        RunFailed: there is nothing to train.
    """
    config = _config(stage)
    latest = read_round(context, stage, number)
    earlier = [each for past in range(1, number) for each in read_round(context, stage, past)] if config.restart else []
    tokens, labels = sequences(context, [*earlier, *latest], problems, config)
    metrics = round_metrics(latest, config)
    if not tokens:
        raise RunFailed(nothing_to_train(stage, number, latest, metrics))
    random = np.random.default_rng(derive_seed(stage.seed, stage.id, "rows", number))
    rows = fill_rows(shuffled(tokens, labels, random), config.updates * config.batch_rows, config.row_tokens)
    partial, state = output.with_name(output.name + PARTIAL), context.state(stage.id) / f"round-{number}"
    before = (number - 1) * config.updates
    figures = fit(context, stage, start, rows, partial, state, before, metrics | {"sequences": float(len(tokens))})
    finish(partial)
    shutil.rmtree(state, ignore_errors=True)
    return {**figures, **metrics}


def nothing_to_train(
    stage: PlannedStage, number: int, samples: Sequence[OwnSample], metrics: Mapping[str, float]
) -> str:
    """The sentence for a round of which nothing can be trained."""
    config = _config(stage)
    right = [sample for sample in samples if is_right(sample, config)]
    said = (
        f"stage {stage.name!r}, round {number}: of {len(samples)} completions {len(right)} have the right "
        f"{config.keep}, {sum(sample.finish_reason == 'length' for sample in right)} of these cut off at "
        f"max_new_tokens {config.sampling.max_new_tokens}, so there is nothing to train"
    )
    if metrics["kept_share"]:
        return (
            f"{said}: none of the traces made of the others is read as right; give `traces.verdict` the words with "
            "which the task's texts give their answer"
        )
    return (
        f"{said}; start from an arm that solves some of these problems, take easier cells into `data`, or raise "
        "`samples` or `prompts`"
    )


def run_rft(context: Context, stage: PlannedStage, parent: Path) -> Mapping[str, float]:
    """Run an `rft` stage from the checkpoint `parent`; returns the closing figures of its last round."""
    config = _config(stage)
    folder = context.folder.stage(stage.id)

    def model(number: int) -> Path:
        """What round `number` leaves; 0: what the stage starts from."""
        if number == 0:
            return parent
        return folder / MODEL if number == config.rounds else folder / ROUNDS / f"round-{number}"

    done = max((number for number in range(1, config.rounds + 1) if model(number).exists()), default=0)
    context.progress.stage_started(stage, config.rounds * config.updates, "updates", done * config.updates)
    problems: dict[str, Problem] = {}
    figures: Mapping[str, float] = {}
    for number, drawn in enumerate(problem_rounds(context, stage), start=1):
        problems |= {problem.id: problem for problem in drawn}
        if number > done:
            record_round(context, stage, number, drawn, model(number - 1))
            start = parent if config.restart else model(number - 1)
            figures = train_round(context, stage, number, problems, start, model(number))
            if number > 1:
                shutil.rmtree(model(number - 1))
    for left in (folder / ROUNDS, context.state(stage.id)):
        shutil.rmtree(left, ignore_errors=True)
    return figures


def _config(stage: PlannedStage) -> Rft:
    assert isinstance(stage.config, Rft)
    return stage.config
