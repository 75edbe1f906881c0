"""Step scores against one plain forward pass a sequence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from rlreason.engines.models import load_classifier
from rlreason.engines.protocols import ScorerModel, StepBatch
from rlreason.engines.torch_scorer import TorchStepScorer
from rlreason.errors import ModelError

PROMPTS = ([10, 11], [12], [13, 14, 15])
COMPLETIONS = ([20, 21, 22, 23, 24], [25, 26], [27, 28, 29, 30])
STEPS = ([(0, 2), (2, 4)], [], [(1, 4)])
"""Tokens of each step, counted from the completion's first."""


@pytest.fixture(scope="module")
def batch() -> StepBatch:
    def flat(parts):
        return np.array([token for part in parts for token in part], dtype=np.int32)

    return StepBatch(
        tokens=flat([prompt + completion for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)]),
        prompt_lengths=np.array([len(prompt) for prompt in PROMPTS], dtype=np.int32),
        lengths=np.array([len(completion) for completion in COMPLETIONS], dtype=np.int32),
        counts=np.array([len(steps) for steps in STEPS], dtype=np.int32),
        starts=flat([[start for start, _ in steps] for steps in STEPS]),
        ends=flat([[end for _, end in steps] for steps in STEPS]),
    )


@pytest.fixture(scope="module")
def classifier(tied, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    model = load_classifier(tied, torch.float32)
    torch.nn.init.normal_(model.score.weight)  # so that scores differ by more than rounding
    model.save_pretrained(folder)
    return folder


def make_scorer(model: ScorerModel, micro_batch_tokens: int = 1000) -> TorchStepScorer:
    scorer = TorchStepScorer(dtype="float32", micro_batch_tokens=micro_batch_tokens)
    scorer.load(model)
    return scorer


@pytest.mark.parametrize("micro_batch_tokens", [1, 1000])
def test_a_learned_scorer_gives_the_probability_of_right_at_a_steps_last_token(classifier, batch, micro_batch_tokens):
    model = AutoModelForTokenClassification.from_pretrained(classifier)

    def expected(index: int, last: int) -> float:
        tokens = torch.tensor([PROMPTS[index] + COMPLETIONS[index]])
        wrong, right = model(input_ids=tokens).logits[0, len(PROMPTS[index]) + last].tolist()
        return 1 / (1 + np.exp(wrong - right))

    scores = make_scorer(ScorerModel("learned", (classifier,)), micro_batch_tokens).score(batch)
    assert scores == pytest.approx([expected(0, 1), expected(0, 3), expected(2, 3)], abs=1e-6)
    assert model.config.id2label == {0: "wrong", 1: "right"}


def test_an_implicit_scorer_gives_the_log_ratio_of_a_steps_tokens(tied, other, batch):
    def logprob(checkpoint, index: int, start: int, end: int) -> float:
        model = AutoModelForCausalLM.from_pretrained(checkpoint)
        tokens = PROMPTS[index] + COMPLETIONS[index]
        logits = model(input_ids=torch.tensor([tokens])).logits[0].double().detach()
        first = len(PROMPTS[index])
        return sum(float(logits[at - 1].log_softmax(0)[tokens[at]]) for at in range(first + start, first + end))

    expected = [
        0.5 * (logprob(other, index, start, end) - logprob(tied, index, start, end))
        for index, start, end in ((0, 0, 2), (0, 2, 4), (2, 1, 4))
    ]
    scores = make_scorer(ScorerModel("implicit", (other, tied), beta=0.5)).score(batch)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert np.abs(scores).min() > 1e-3


def test_a_batch_without_steps_has_no_scores(classifier, batch):
    none = np.zeros(0, dtype=np.int32)
    empty = replace(batch, counts=np.zeros(3, dtype=np.int32), starts=none, ends=none)
    assert make_scorer(ScorerModel("learned", (classifier,))).score(empty).shape == (0,)


def test_a_classifier_of_other_classes_is_refused(classifier, tmp_path):
    config = json.loads((classifier / "config.json").read_text())
    labels = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **labels}))
    with pytest.raises(ModelError, match="tells 3 classes apart; a step scorer has two, wrong and right"):
        load_classifier(tmp_path, torch.float32)
