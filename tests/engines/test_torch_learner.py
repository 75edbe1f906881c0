import errno
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlreason.engines import state_writer
from rlreason.engines.checkpoints import saved_states
from rlreason.engines.learner_state import write_tensors
from rlreason.engines.models import load_classifier
from rlreason.engines.protocols import PolicyBatch, SupervisedJob
from rlreason.engines.torch_learner import TorchLearner
from rlreason.errors import CheckpointError, WeightSyncMismatch
from rlreason.recipe.objectives import Critic
from rlreason.recipe.training import Lora, Optimizer
from tests.engines.rows import PROMPT, ROWS, SEQUENCES, WIDTH, make_rows, make_step_rows
from tests.engines.updates import draw_batch, policy_settings, reference_loss

MICRO_BATCH_TOKENS = 24


def start(checkpoint, state=None, micro_batch_tokens=MICRO_BATCH_TOKENS, **changes) -> TorchLearner:
    learner = TorchLearner(dtype="float32", micro_batch_tokens=micro_batch_tokens)
    learner.begin(checkpoint, policy_settings(**changes), state)
    return learner


def served(learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.weights()}


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def tampered(batch: PolicyBatch, by: float) -> PolicyBatch:
    return replace(batch, generator_logprobs=(batch.generator_logprobs + by).astype(np.float32))


# --- reinforcement learning


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_an_update_is_one_clipped_adamw_step_on_the_reference_gradient(kind, request):
    checkpoint = request.getfixturevalue(kind)
    optimizer = Optimizer(learning_rate=1e-2, betas=(0.8, 0.95), weight_decay=0.1, max_grad_norm=0.05, warmup_updates=4)
    batch, settings = draw_batch(checkpoint, noise=0.4), policy_settings(optimizer=optimizer)
    exact = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64)
    reference_loss(exact, batch, settings).backward()
    norm = torch.sqrt(sum((parameter.grad**2).sum() for parameter in exact.parameters()))
    rate = 1e-2 * 2 / 4  # the second of four updates of warm-up

    learner = start(checkpoint, optimizer=optimizer)
    metrics = learner.update(batch, 2, on_policy=False)
    assert norm > 0.05, "the clip must be at work"
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert metrics["learning_rate"] == pytest.approx(rate)
    found = served(learner)
    for name, parameter in exact.named_parameters():
        # AdamW's first step: moments g and g^2 once their bias is corrected
        gradient = parameter.grad * (0.05 / norm)
        expected = parameter * (1 - rate * 0.1) - rate * gradient / (gradient.abs() + 1e-8)
        clear = gradient.abs() > 1e-5  # where float32 and float64 agree on the sign
        torch.testing.assert_close(found[name].double()[clear], expected[clear].detach(), rtol=1e-4, atol=1e-4)


def test_neither_loss_nor_weights_depend_on_the_micro_batches(tied):
    batch = draw_batch(tied)
    whole, cut = start(tied, micro_batch_tokens=10_000), start(tied, micro_batch_tokens=1)
    metrics = [learner.update(batch, 1, on_policy=True) for learner in (whole, cut)]
    assert [one["forward_passes"] for one in metrics] == [1, 4]  # the one of five that is not trained is not computed
    for name in ("loss", "grad_norm", "mismatch_mean", "entropy", "completion_tokens"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-4, abs=1e-6), name
    one, other = served(whole), served(cut)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=2e-5)


def test_updates_raise_what_is_rewarded(tied):
    batch, learner = draw_batch(tied), start(tied, optimizer=Optimizer(learning_rate=1e-2))
    losses = [learner.update(batch, update, on_policy=False)["loss"] for update in range(1, 9)]
    assert losses[-1] < losses[0] - 0.05


def test_a_batch_of_other_weights_is_refused_and_no_step_is_made(tied):
    batch = draw_batch(tied)
    learner = start(tied)
    learner.update(batch, 1, on_policy=True)
    before = served(learner)
    with pytest.raises(WeightSyncMismatch, match="update 2"):
        learner.update(tampered(batch, 0.5), 2, on_policy=True)
    assert equal(served(learner), before)
    # nothing of the refused batch is left in the gradients either
    learner.update(batch, 2, on_policy=False)
    untouched = start(tied)
    untouched.update(batch, 1, on_policy=True)
    untouched.update(batch, 2, on_policy=False)
    assert equal(served(learner), served(untouched))


def test_later_minibatches_may_differ_from_the_sampler(tied):
    learner = start(tied)
    assert learner.update(tampered(draw_batch(tied), 0.1), 1, on_policy=False)["mismatch_mean"] == pytest.approx(
        0.1, abs=1e-3
    )


def test_a_restored_learner_makes_the_same_updates_bit_for_bit(tied, tmp_path):
    batches = [draw_batch(tied, seed) for seed in range(3)]
    learner = start(tied)
    learner.update(batches[0], 1, on_policy=False)
    learner.save_state(tmp_path / "state", {})
    figures = [learner.update(batch, update, on_policy=False) for update, batch in enumerate(batches[1:], 2)]
    expected = served(learner)
    learner.end()  # the state is written by then
    restored = start(tied, state=tmp_path / "state")
    assert figures == [restored.update(batch, update, on_policy=False) for update, batch in enumerate(batches[1:], 2)]
    assert equal(expected, served(restored))


def test_dropout_goes_on_where_it_was(tied, tmp_path):
    lora, batch = Lora(rank=2, dropout=0.5), draw_batch(tied)
    learner = start(tied, lora=lora)
    learner.update(batch, 1, on_policy=False)
    learner.save_state(tmp_path / "state", {})
    losses = [learner.update(batch, update, on_policy=False)["loss"] for update in (2, 3)]
    assert losses[0] != start(tied, lora=lora).update(batch, 2, on_policy=False)["loss"]
    learner.end()
    restored = start(tied, state=tmp_path / "state", lora=lora)
    assert losses == [restored.update(batch, update, on_policy=False)["loss"] for update in (2, 3)]


def test_a_state_holds_the_weights_of_its_update_though_it_is_written_during_the_next(tied, tmp_path, monkeypatch):
    updated = threading.Event()

    def wait_and_write(folder, tensors):
        assert updated.wait(20)
        write_tensors(folder, tensors)

    monkeypatch.setattr(state_writer, "write_tensors", wait_and_write)
    learner = start(tied, optimizer=Optimizer(learning_rate=1e-2, ema=0.5))
    learner.update(draw_batch(tied), 1, on_policy=False)
    expected = served(learner)
    learner.save_state(tmp_path / "state", {})
    learner.update(draw_batch(tied, 1), 2, on_policy=False)
    updated.set()
    assert not equal(served(learner), expected)
    learner.end()
    assert equal(served(start(tied, state=tmp_path / "state")), expected)


def test_a_state_that_could_not_be_written_stops_the_next_update_before_its_step(tied, tmp_path, monkeypatch):
    def refuse(folder, tensors):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_writer, "write_tensors", refuse)
    learner = start(tied)
    learner.save_state(tmp_path / "state", {})
    learner._writer.settle()
    before = served(learner)
    with pytest.raises(CheckpointError, match=r"state could not be written to .*No space left on device"):
        learner.update(draw_batch(tied), 1, on_policy=False)
    assert equal(served(learner), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": Lora(rank=2)}, r"is of another model: it lacks \d+ of the trained weights .* has \d+ that are not"),
        ({"critic": Critic()}, r"it lacks 2 of the trained weights \(\['value_head.bias', 'value_head.weight'\]\)"),
        ({"optimizer": Optimizer(learning_rate=1e-3, ema=0.9)}, r"holds no average of .* \(optimizer.ema\)"),
    ],
)
def test_a_state_of_another_model_is_refused(tied, tmp_path, changes, said):
    learner = start(tied)
    learner.save_state(tmp_path / "state", {})
    learner.end()
    with pytest.raises(CheckpointError, match=said):
        start(tied, state=tmp_path / "state", **changes)


def test_a_saved_model_is_a_hugging_face_directory_with_the_learner_s_weights(tied, tmp_path):
    learner = start(tied)
    learner.update(draw_batch(tied), 1, on_policy=True)
    learner.save_model(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    weights = served(learner)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.named_parameters())
    assert (tmp_path / "tokenizer.json").read_bytes() == (tied / "tokenizer.json").read_bytes()


def test_a_state_of_another_learner_is_refused(tied, tmp_path):
    with pytest.raises(CheckpointError, match=r"learner\.safetensors cannot be read"):
        start(tied, state=tmp_path)


# --- pretraining and supervised fine-tuning


def losses_alone(checkpoint, sequences=SEQUENCES) -> list[torch.Tensor]:
    """[trained tokens] of each sequence, float64, from a forward pass over it alone."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64)
    with torch.no_grad():
        return [
            torch.nn.functional.cross_entropy(
                model(torch.tensor([sequence])).logits[0, PROMPT - 1 : -1],
                torch.tensor(sequence[PROMPT:]),
                reduction="none",
            )
            for sequence in sequences
        ]


def job(checkpoint, folder, updates=1, **changes) -> SupervisedJob:
    plain = SupervisedJob(
        checkpoint=checkpoint,
        output=folder / "model",
        state=folder / "state",
        updates=updates,
        batch_rows=len(ROWS),
        optimizer=Optimizer(learning_rate=1e-2, warmup_updates=2, schedule="linear"),
        checkpoint_every=2,
        seed=0,
    )
    return replace(plain, **changes)


def train(job, rows, micro_batch_tokens=MICRO_BATCH_TOKENS, report=None) -> list[tuple[int, dict[str, float]]]:
    reports: list[tuple[int, dict[str, float]]] = []
    learner = TorchLearner(dtype="float32", micro_batch_tokens=micro_batch_tokens)
    learner.supervised(job, rows, report or (lambda update, metrics: reports.append((update, dict(metrics)))))
    return reports


def saved(folder) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder / "model").named_parameters())


@pytest.mark.parametrize("micro_batch_tokens", [WIDTH, 2 * WIDTH, 100])
def test_a_packed_row_is_worth_its_sequences_alone(tied, tmp_path, micro_batch_tokens):
    expected = torch.cat(losses_alone(tied))
    ((_, metrics),) = train(job(tied, tmp_path), make_rows(), micro_batch_tokens)
    assert metrics["loss"] == pytest.approx(expected.mean().item(), abs=1e-5)
    assert metrics["trained_tokens"] == len(expected) == 14


def test_nothing_leaks_from_a_sequence_into_the_next_one_of_its_row(tied, tmp_path):
    # other words in the sequences that share a row with 1 and 4, which are as they were
    changed = [list(sequence) for sequence in SEQUENCES]
    changed[0][:4], changed[3][:3] = [61, 62, 63, 64], [65, 66, 67]
    ((_, metrics),) = train(job(tied, tmp_path), make_rows(sequences=changed))
    kept, moved = losses_alone(tied), losses_alone(tied, changed)
    assert torch.equal(kept[1], moved[1]) and not torch.allclose(kept[0], moved[0])
    expected = torch.cat([moved[0], kept[1], kept[2], moved[3], kept[4]]).mean()
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_rows_are_taken_in_order_and_the_schedule_is_followed(tied, tmp_path):
    reports = train(job(tied, tmp_path, updates=4), make_rows(repeats=4))
    assert [update for update, _ in reports] == [1, 2, 3, 4]
    assert [metrics["learning_rate"] for _, metrics in reports] == pytest.approx([0.005, 0.01, 0.01, 0.005])
    assert reports[-1][1]["loss"] < reports[0][1]["loss"]


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_killed_stage_resumes_to_the_same_weights(tied, tmp_path, killed_at):
    rows = make_rows(repeats=6)
    whole = train(job(tied, tmp_path / "whole", updates=6), rows)
    again = job(tied, tmp_path / "again", updates=6)

    def stop(update: int, metrics: object) -> None:
        if update == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(again, rows, report=stop)
    done = (killed_at - 1) // 2 * 2  # states after updates 2 and 4
    assert [path.name for path in saved_states(again.state)] == ([f"update-{done:06d}"] if done else [])
    resumed = train(again, rows)
    assert resumed == whole[done:]
    one, other = saved(tmp_path / "whole"), saved(tmp_path / "again")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_half_written_state_is_not_resumed_from(tied, tmp_path):
    (tmp_path / "state" / "update-000004.partial").mkdir(parents=True)
    assert [update for update, _ in train(job(tied, tmp_path, updates=2), make_rows(repeats=2))] == [1, 2]


# --- step scorers


def test_a_step_scorers_loss_is_the_mean_cross_entropy_of_its_labelled_steps(tied, tmp_path):
    rows = make_step_rows()
    reports = train(job(tied, tmp_path, updates=1, objective="step_labels"), rows)
    torch.manual_seed(0)
    model = load_classifier(tied, torch.float32)
    losses = []
    for sequence in SEQUENCES:  # alone, unpacked
        logits = model(input_ids=torch.tensor([sequence])).logits[0]
        losses += [-logits[PROMPT].log_softmax(0)[1], -logits[-1].log_softmax(0)[0]]
    # (21, 22, 1): its third token is also its last, one step, and a wrong one
    del losses[2]
    assert reports[0][1]["trained_tokens"] == 9
    assert reports[0][1]["loss"] == pytest.approx(float(torch.stack(losses).detach().mean()), rel=1e-5)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForTokenClassification"]
