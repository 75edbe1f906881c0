"""Engines with a meter: everything that is asked of them is counted as it is done, whatever stage or algorithm asks.

A stage takes what the meter has at the end of each piece of work that it records; what becomes of it (ledgers, a budget
that is used up) belongs to the stages. Counted are requests and tokens, not time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlreason.algorithms.budget import Spending, TransformerCost, attended_keys
from rlreason.engines.protocols import (
    Engines,
    Generator,
    Learner,
    PolicyBatch,
    PolicyFigures,
    PolicySettings,
    PreferenceJob,
    PreferencePairs,
    Report,
    SampleBatch,
    SamplingSettings,
    ScorerModel,
    StepBatch,
    StepScorer,
    SupervisedJob,
    SupervisedRows,
)
from rlreason.recipe.sizes import count_parameters, read_shape

IGNORED = -100
UNKNOWN = float("nan")


def model_cost(folder: Path) -> TransformerCost | None:
    """Of the model in a Hugging Face directory; None where its type is none whose sizes are known.

    A classifier of steps counts like the language model that it was made from.
    """
    shape = read_shape(folder)
    if shape is None:
        return None
    looked_up = 0 if shape.tied else shape.vocabulary * shape.width
    return TransformerCost(
        parameters=count_parameters(shape) - looked_up,
        attention_width=shape.layers * shape.heads * shape.head_width,
    )


def supervised_spending(
    rows: SupervisedRows, batch_rows: int, cost: TransformerCost | None, *, frozen: bool = False
) -> list[Spending]:
    """What each update of `batch_rows` rows spends; `frozen`: adapters are trained instead of the weights."""
    count = len(rows.tokens) // batch_rows
    lengths, row_of = rows.sequences()
    update_of = row_of // batch_rows
    tokens = np.bincount(update_of, weights=lengths, minlength=count)
    attended = np.bincount(update_of, weights=attended_keys(lengths), minlength=count)
    trained = (rows.labels != IGNORED).reshape(count, -1).sum(axis=1)
    return [
        Spending(
            trained_tokens=int(trained[update]),
            updates=1,
            flops=cost.training(tokens[update], attended[update], frozen=frozen) if cost else UNKNOWN,
        )
        for update in range(count)
    ]


def preference_spending(pairs: PreferencePairs, batch_pairs: int, cost: TransformerCost | None) -> list[Spending]:
    """What each update of `batch_pairs` pairs spends. The reference's pass over a pair is counted every time that the
    pair is trained, also where an engine keeps its outcome."""
    chosen = pairs.order.reshape(-1, batch_pairs)
    whole, completions = (pairs.prompt_lengths + pairs.lengths).reshape(-1, 2), pairs.lengths.reshape(-1, 2)
    tokens, attended = whole.sum(axis=1)[chosen].sum(axis=1), attended_keys(whole).sum(axis=1)[chosen].sum(axis=1)
    trained = completions.sum(axis=1)[chosen].sum(axis=1)
    return [
        Spending(
            trained_tokens=int(trained[update]),
            updates=1,
            flops=cost.training(*size) + cost.forward(*size) if cost else UNKNOWN,
        )
        for update, size in enumerate(zip(tokens, attended, strict=True))
    ]


class Meter(threading.local):
    """What engines did since it was last asked, for each thread by itself: where one samples and another learns, each
    can say what its own work cost."""

    def __init__(self, cost: TransformerCost | None = None) -> None:
        """`cost`: of the policy; None: its sizes are not known, and neither are the operations."""
        self.cost = cost
        self._spent = Spending()
        self._prompts: set[bytes] = set()

    def take(self) -> Spending:
        """What was done since this thread's last call. A prompt that several requests sent meanwhile counts once."""
        spent = replace(self._spent, prompts=self._spent.prompts + len(self._prompts))
        self._spent = Spending()
        self._prompts = set()
        return spent

    def add(self, spent: Spending, prompts: Iterable[bytes] = ()) -> None:
        """Count what was done, `prompts` being the tokens of those that were sampled."""
        self._spent += spent
        self._prompts.update(prompts)


class MeteredGenerator:
    """A generator whose requests are counted. A prompt that stands several times in a request is computed once, as the
    engines do it; a request that repeats it is counted anew. An episode is one sample of its first prompt, and every
    turn reads anew all that was before it."""

    def __init__(self, generator: Generator, meter: Meter) -> None:
        self._generator, self._meter = generator, meter
        self.load_checkpoint = generator.load_checkpoint
        self.load_weights = generator.load_weights
        self.close = generator.close

    def generate(self, prompts: Sequence[np.ndarray], seeds: Sequence[int], settings: SamplingSettings) -> SampleBatch:
        """See `protocols.Generator.generate`."""
        batch = self._generator.generate(prompts, seeds, settings)
        distinct = {prompt.tobytes(): len(prompt) for prompt in prompts}
        computed, before = np.array(list(distinct.values())), np.array([len(prompt) for prompt in prompts])
        sampled, flops = int(batch.lengths.sum()), UNKNOWN
        if self._meter.cost:
            attended = attended_keys(computed).sum() + attended_keys(batch.lengths, before).sum()
            flops = self._meter.cost.forward(computed.sum() + sampled, attended)
        if settings.continued:
            self._meter.add(Spending(sampled_tokens=sampled, flops=flops))
        else:
            self._meter.add(Spending(samples=len(prompts), sampled_tokens=sampled, flops=flops), distinct)
        return batch


class MeteredLearner:
    """A learner whose updates are counted. Those of a job are reported with their metrics, since the stage has no other
    moment to ask."""

    def __init__(self, learner: Learner, meter: Meter) -> None:
        self._learner, self._meter = learner, meter
        self._with_reference = self._frozen = False
        self.weights, self.save_model, self.save_state = learner.weights, learner.save_model, learner.save_state
        self.end, self.close = learner.end, learner.close

    def supervised(self, job: SupervisedJob, rows: SupervisedRows, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.supervised`; each report says also what its update spent."""
        spent = supervised_spending(rows, job.batch_rows, self._meter.cost, frozen=job.lora is not None)
        return self._learner.supervised(job, rows, _with_spending(report, spent))

    def preferences(self, job: PreferenceJob, pairs: PreferencePairs, report: Report) -> Mapping[str, float]:
        """See `protocols.Learner.preferences`; each report says also what its update spent."""
        spent = preference_spending(pairs, job.batch_pairs, self._meter.cost)
        return self._learner.preferences(job, pairs, _with_spending(report, spent))

    def begin(self, checkpoint: Path, settings: PolicySettings, state: Path | None) -> None:
        """See `protocols.Learner.begin`."""
        self._with_reference, self._frozen = settings.kl is not None, settings.lora is not None
        self._learner.begin(checkpoint, settings, state)

    def update(self, batch: PolicyBatch, update: int, on_policy: bool) -> Mapping[str, float]:
        """See `protocols.Learner.update`. An update that was skipped costs what it costs, and trains nothing."""
        metrics = self._learner.update(batch, update, on_policy)
        flops = UNKNOWN
        if self._meter.cost:
            tokens, attended = _size(batch)
            flops = self._meter.cost.training(tokens, attended, frozen=self._frozen)
            flops += self._meter.cost.forward(tokens, attended) if self._with_reference else 0.0
        made = not metrics.get("skipped")
        trained = int(np.count_nonzero(batch.weights)) if made else 0
        self._meter.add(Spending(trained_tokens=trained, updates=int(made), flops=flops))
        return metrics

    def figures(self, batch: PolicyBatch) -> PolicyFigures:
        """See `protocols.Learner.figures`."""
        self._meter.add(Spending(flops=self._meter.cost.forward(*_size(batch)) if self._meter.cost else UNKNOWN))
        return self._learner.figures(batch)


class MeteredScorer:
    """A step scorer whose forward passes are counted, through each of its models; derivations without a step cost
    nothing."""

    def __init__(self, scorer: StepScorer, meter: Meter) -> None:
        self._scorer, self._meter = scorer, meter
        self._costs: list[TransformerCost | None] = []
        self.close = scorer.close

    def load(self, model: ScorerModel) -> None:
        """See `protocols.StepScorer.load`."""
        self._costs = [model_cost(checkpoint) for checkpoint in model.checkpoints]
        self._scorer.load(model)

    def score(self, batch: StepBatch) -> np.ndarray:
        """See `protocols.StepScorer.score`."""
        lengths = (batch.prompt_lengths + batch.lengths)[batch.counts > 0]
        tokens, attended = lengths.sum(), attended_keys(lengths).sum()
        flops = sum(cost.forward(tokens, attended) if cost else UNKNOWN for cost in self._costs)
        self._meter.add(Spending(flops=flops))
        return self._scorer.score(batch)


def _with_spending(report: Report, spent: Sequence[Spending]) -> Report:
    """`report`, told also what each update (from 1) spent."""
    return lambda update, metrics: report(update, {**metrics, **spent[update - 1].metrics()})


def _size(batch: PolicyBatch) -> tuple[float, float]:
    """(tokens, keys they attend to) of its sequences: a prompt counts with each of its completions, also where the
    learner computes it once (`shared_prompts`), and a sequence that teaches nothing like the others, so that a budget
    means the same for every model and however the rewards fall."""
    lengths = batch.prompt_lengths + batch.lengths
    return float(lengths.sum()), float(attended_keys(lengths).sum())


def metered(engines: Engines, meter: Meter) -> Engines:
    """The engines, counting on `meter`."""
    return Engines(
        generator=MeteredGenerator(engines.generator, meter),
        learner=MeteredLearner(engines.learner, meter),
        description=engines.description,
        scorer=None if engines.scorer is None else MeteredScorer(engines.scorer, meter),
    )
