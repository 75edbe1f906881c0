"""Which tokens are numbers, and that a number loss is that of the whole update however it is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from rlreason.algorithms.number_tokens import number_token_loss
from rlreason.engines.codec import TextCodec
from rlreason.engines.numbers import NumberLoss, number_values
from rlreason.engines.protocols import SupervisedJob, SupervisedRows
from rlreason.engines.scratch import make_model
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import ModelError
from rlreason.recipe.schema import Architecture
from rlreason.recipe.stages import Optimizer

TEXTS = ("Ada has 7 .", "Bo has 12 and 3 .", "Ada has Bo .", "Bo has 7 .")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["Ada", "Bo", "has", "and", ".", "7", "12", "3"]
    architecture = Architecture(layers=1, width=64, heads=2, max_positions=64)
    return make_model(tmp_path_factory.mktemp("numbers"), architecture, words, seed=3)


@pytest.fixture(scope="module")
def rows(checkpoint: Path) -> SupervisedRows:
    """A text a row, all but the first token trained; two rows an update."""
    width = 12
    tokens, labels = np.zeros((4, width), np.int32), np.full((4, width), -100, np.int32)
    for row, text in enumerate(TextCodec(checkpoint).encode(list(TEXTS))):
        tokens[row, : len(text)] = text
        labels[row, 1 : len(text)] = text[1:]
    return SupervisedRows(tokens, labels, np.tile(np.arange(width, dtype=np.int32), (4, 1)))


def job(checkpoint: Path, folder: Path, **changes: object) -> SupervisedJob:
    plain = SupervisedJob(
        checkpoint=checkpoint,
        output=folder / "model",
        state=folder / "state",
        updates=2,
        batch_rows=2,
        optimizer=Optimizer(learning_rate=1e-3),
        checkpoint_every=10,
        seed=0,
        number_loss=0.3,
    )
    return replace(plain, **changes)


def test_numbers_are_read_off_the_tokens_with_and_without_the_space_before_them(checkpoint):
    codec, values = TextCodec(checkpoint), number_values(checkpoint)
    for text, value in (("7", 7.0), (" 7", 7.0), (" 12", 12.0)):
        (tokens,) = codec.encode([text])
        assert values[tokens].tolist() == [value], text
    (words,) = codec.encode([" Ada has ."])
    assert np.isnan(values[words]).all()


def test_what_python_would_read_as_a_number_and_nobody_would_write_is_none(checkpoint, monkeypatch):
    texts = ["7", " -12\n", "2.5", "007", "nan", "inf", "1e5", "1_0", "\u0663", "", "-", "3.", "x1"]
    monkeypatch.setattr(TextCodec, "decode", lambda self, tokens: texts)
    values = number_values(checkpoint)
    assert values[:4].tolist() == [7.0, -12.0, 2.5, 7.0] and np.isnan(values[4:]).all()


def test_a_tokenizer_without_numbers_is_refused(checkpoint, monkeypatch):
    monkeypatch.setattr(TextCodec, "decode", lambda self, tokens: ["Ada"] * len(tokens))
    with pytest.raises(ModelError, match=r"`number_loss` is asked for, but no token of .* is a number; leave it out"):
        number_values(checkpoint)


def test_the_parts_of_an_update_add_up_to_the_mean_over_its_numbers(checkpoint, rows, tmp_path):
    numbers = NumberLoss(job(checkpoint, tmp_path), rows)
    labels = torch.from_numpy(rows.labels[:2].astype(np.int64))
    at = numbers.at(labels)
    assert at.sum(dim=1).tolist() == [1, 2]  # 7; 12 and 3
    logits = torch.randn(2, 12, len(number_values(checkpoint)), generator=torch.Generator().manual_seed(0))
    parts = [numbers.part(logits[row][at[row]], labels[row][at[row]], 1) for row in (0, 1)]
    whole = number_token_loss(logits[at], labels[at], torch.from_numpy(number_values(checkpoint)))
    assert sum(parts).item() == pytest.approx(0.3 * whole.item())


def test_the_plain_learner_s_loss_is_the_cross_entropy_and_the_number_loss(checkpoint, rows, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64)
    inputs, labels = (torch.from_numpy(array[:2].astype(np.int64)) for array in (rows.tokens, rows.labels))
    logits, targets = model(input_ids=inputs).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    values = torch.from_numpy(number_values(checkpoint)).double()
    expected = cross_entropy(logits, targets) + 0.3 * number_token_loss(logits, targets, values)
    for tokens in (1, 1000):  # a row at a time, both at once
        reports: list[dict[str, float]] = []
        learner = TorchLearner(dtype="float32", micro_batch_tokens=tokens)
        folder = tmp_path / str(tokens)
        learner.supervised(job(checkpoint, folder), rows, lambda update, metrics, to=reports: to.append(dict(metrics)))
        assert reports[0]["loss"] == pytest.approx(expected.item(), rel=1e-5)
