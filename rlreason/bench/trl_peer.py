"""The peer: TRL's GRPOTrainer with transformers' generate, as a CPU user gets it, in its fastest plain configuration.

Run as a process of its own, `python -m rlreason.bench.trl_peer FOLDER`, by `rlreason.bench.rl`. Same model directory,
prompts in the same order, group, lengths, optimizer, dtype and threads as our side. Off, because our side does not do
it either or it only costs time: the KL term and its reference model, gradient checkpointing, mixed precision, logging.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from rlreason.bench.channel import Channel, Over
from rlreason.bench.figures import UpdateFigures
from rlreason.bench.words import share_of_early_letters
from rlreason.bench.workload import MODEL, RECIPE, rl_stage, threads_of, words_task
from rlreason.recipe import load_recipe
from rlreason.recipe.schema import Recipe


class Tally:
    """What the trainer did since `clear`, counted from the tensors it trained on."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin an update."""
        self.begun = time.perf_counter()
        self.seconds = {"prepare": 0.0, "generate": 0.0, "score": 0.0}
        self.completions = self.generated_tokens = self.trained_tokens = self.passes = self.positions = 0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds added under `name`."""

        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            self.seconds[name] += time.perf_counter() - start
            return result

        return call

    def count(self, inputs: dict[str, torch.Tensor]) -> None:
        """Count one forward pass."""
        prompt, completion = inputs["prompt_mask"], inputs["completion_mask"]
        self.passes += 1
        self.completions += len(completion)
        self.generated_tokens += int(completion.sum())
        self.trained_tokens += int(prompt.sum()) + int(completion.sum())
        self.positions += prompt.numel() + completion.numel()

    def figures(self) -> UpdateFigures:
        """Everything since `clear`. Learning is all but the preparation of a batch (generation, scoring, padding)."""
        seconds = time.perf_counter() - self.begun
        return UpdateFigures(
            seconds=seconds,
            phases={
                "generate": self.seconds["generate"],
                "score": self.seconds["score"],
                "learn": seconds - self.seconds["prepare"],
                "sync": 0.0,
            },
            completions=self.completions,
            generated_tokens=self.generated_tokens,
            trained_tokens=self.trained_tokens,
            forward_passes=self.passes,
            padded_share=1.0 - self.trained_tokens / max(self.positions, 1),
            computed_tokens=self.positions,
        )


class CountingTrainer(GRPOTrainer):
    """GRPOTrainer that counts what it trains on."""

    tally: Tally

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *arguments: Any, **options: Any) -> Any:
        """Count, then as ever."""
        self.tally.count(inputs)
        return super().compute_loss(model, inputs, *arguments, **options)


class Turns(TrainerCallback):
    """Reports every update to the parent and holds the trainer until its next turn."""

    def __init__(self, channel: Channel, tally: Tally) -> None:
        self._channel, self._tally = channel, tally

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Report, and wait."""
        self._channel.report(self._tally.figures())
        self._tally.clear()


def rows_a_pass(rows: int, tokens_a_row: int, budget: int) -> int:
    """The most completions that go through the model together within a budget of tokens; a divisor of `rows`."""
    return max(size for size in range(1, rows + 1) if rows % size == 0 and (size == 1 or size * tokens_a_row <= budget))


def configuration(recipe: Recipe, folder: Path) -> GRPOConfig:
    """TRL's settings for the workload."""
    config, prompt_tokens = rl_stage(recipe), words_task(recipe).parameters.prompt_words
    new_tokens = config.sampling.max_new_tokens
    rows = config.prompts_per_update * config.group_size
    on_gpu = recipe.resources.accelerator != "cpu" and torch.cuda.is_available()
    together = rows_a_pass(rows, prompt_tokens + new_tokens, recipe.resources.tokens_a_pass(on_gpu=on_gpu))
    return GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=not on_gpu,
        max_steps=config.updates,
        per_device_train_batch_size=together,
        gradient_accumulation_steps=rows // together,
        num_generations=config.group_size,
        num_iterations=1,
        beta=0.0,
        loss_type="dapo",  # divided by the update's tokens, as ours
        temperature=config.sampling.temperature,
        top_p=config.sampling.top_p,
        max_completion_length=new_tokens,
        generation_kwargs={"min_new_tokens": new_tokens},
        epsilon=config.loss.clip_low,
        learning_rate=config.optimizer.learning_rate,
        adam_beta1=config.optimizer.betas[0],
        adam_beta2=config.optimizer.betas[1],
        weight_decay=config.optimizer.weight_decay,
        max_grad_norm=config.optimizer.max_grad_norm,
        lr_scheduler_type="constant",
        bf16=False,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=recipe.seeds[0],
    )


def early_letters(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float]:
    """Our side's reward, as TRL calls rewards."""
    return [share_of_early_letters(text) for text in completions]


def main(folder: Path) -> None:
    """Train until the parent wants no more."""
    channel = Channel()
    recipe = load_recipe(folder / RECIPE).recipe
    config, task = rl_stage(recipe), words_task(recipe)
    torch.set_num_threads(threads_of(recipe))
    prompts = [
        task.problem("train", "words/1", index).prompt for index in range(config.updates * config.prompts_per_update)
    ]
    tally = Tally()
    model = AutoModelForCausalLM.from_pretrained(folder.parent / MODEL, dtype=getattr(torch, recipe.model.dtype))
    model.generate = tally.timed("generate", model.generate)
    trainer = CountingTrainer(
        model=model,
        reward_funcs=tally.timed("score", early_letters),
        args=configuration(recipe, folder),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=AutoTokenizer.from_pretrained(folder.parent / MODEL),
        callbacks=[Turns(channel, tally)],
    )
    trainer.tally = tally
    trainer._prepare_inputs = tally.timed("prepare", trainer._prepare_inputs)
    tally.clear()
    try:
        trainer.train()
    except Over:
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
