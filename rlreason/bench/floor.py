"""The least work that an update is: operations and bytes in closed form, for any engine that does the same.

Pure counting from shapes; how fast the machine multiplies and reads is measured in `ceilings`. Left out, so that what
is counted stays a lower bound: embeddings, norms, rotary positions, softmax, activations on their way through memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlreason.recipe.sizes import ModelShape, cache_bytes_per_token, count_parameters

ADAMW_ARRAYS = 7
"""Read: weight, gradient, two moments; written: weight, two moments. A value of each for every parameter."""


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations (an addition and a multiplication are two), and bytes to or from memory."""

    operations: int
    moved_bytes: int

    def seconds(self, operations_per_s: float, bytes_per_s: float) -> float:
        """The least that it takes where both go on at the same time."""
        return max(self.operations / operations_per_s, self.moved_bytes / bytes_per_s)


@dataclass(frozen=True, slots=True)
class UpdateFloor:
    """The least work of one update, without the tasks and the scoring.

    Attributes:
        prefill: prompts through the model, once each; in wide products, as of learning.
        decode: all completions, one token a step: in products of as many rows as there are completions.
        learn: forward and backward over the same tokens, and the optimizer's step.
    """

    prefill: Work
    decode: Work
    learn: Work


def matrices(shape: ModelShape) -> list[tuple[int, int, int]]:
    """(inputs, outputs, how many) of the matrices of all layers, those that share their input as one.

    In order: query, key and value; attention's output; gate and up; down.
    """
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    return [
        (shape.width, queries + 2 * keys, shape.layers),
        (queries, shape.width, shape.layers),
        (shape.width, 2 * shape.feed_forward, shape.layers),
        (shape.feed_forward, shape.width, shape.layers),
    ]


def update_floor(
    shape: ModelShape, *, prompts: int, group: int, prompt_tokens: int, completion_tokens: int, value_bytes: int = 4
) -> UpdateFloor:
    """Count one update of P prompts of p tokens, each with G completions of c tokens.

    Each prompt is computed once for its group. The token at position t (from 1) has t keys: with m values in the
    layers' matrices, h in the head, L layers and Q = heads x head width it takes 2m operations, 4 L Q t for attention's
    two products, and 2h where the next token is asked for. A completion's last token is never put in. So, over P (1 to
    p) and P G (p+1 to p+c-1) positions, decoding takes c - 1 steps, and learning three times the operations of both:
    the backward pass is two products for each of the forward's.

    Bytes: prefill reads m + h weights and writes the prompts' keys and values. Step s reads m + h again, the prompts'
    keys and values once a group, and s tokens of each completion, of which the newest is written. Learning moves what
    AdamW reads and writes.

    Args:
        value_bytes: of a weight, a key, a moment: 4 in float32.
    """
    weights = sum(inputs * outputs * count for inputs, outputs, count in matrices(shape))
    head = shape.vocabulary * shape.width
    attention = 4 * shape.layers * shape.heads * shape.head_width
    cached = cache_bytes_per_token(shape, value_bytes)
    rows, steps = prompts * group, completion_tokens - 1
    drawn = steps * (steps + 1) // 2  # 1 + 2 + ... + (c - 1)
    keys_of_prompt = prompt_tokens * (prompt_tokens + 1) // 2
    prefill = Work(
        prompts * (2 * weights * prompt_tokens + attention * keys_of_prompt + 2 * head),
        value_bytes * (weights + head) + cached * prompts * prompt_tokens,
    )
    decode = Work(
        rows * (2 * (weights + head) * steps + attention * (steps * prompt_tokens + drawn)),
        steps * (value_bytes * (weights + head) + cached * prompts * prompt_tokens) + cached * rows * drawn,
    )
    learn = Work(3 * (prefill.operations + decode.operations), ADAMW_ARRAYS * value_bytes * count_parameters(shape))
    return UpdateFloor(prefill, decode, learn)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine gave when it was asked, with the threads of the engines.

    Attributes:
        wide_operations_per_s: of the model's matrices on as many rows as the learner has tokens in a pass.
        decode_operations_per_s: of the same on as many rows as completions are decoded together.
        bytes_per_s: read, from an array of the size that a decoding step reads.
    """

    wide_operations_per_s: float
    decode_operations_per_s: float
    bytes_per_s: float

    def floor_seconds(self, floor: UpdateFloor) -> dict[str, float]:
        """Seconds of "generate" and "learn" that no engine on this machine can go below."""
        return {
            "generate": floor.prefill.seconds(self.wide_operations_per_s, self.bytes_per_s)
            + floor.decode.seconds(self.decode_operations_per_s, self.bytes_per_s),
            "learn": floor.learn.seconds(self.wide_operations_per_s, self.bytes_per_s),
        }
