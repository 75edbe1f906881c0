"""How much memory a recipe needs, from shapes alone: nothing is loaded, no accelerator touched.

Counts parameters of Llama-type decoders exactly, bytes of weights, gradients, optimizer states and cache by their
definitions, and activations by a stated formula. Left out: the allocator's slack, buffers of collectives, and the
weights' second copy while they travel. Pure but for `read_shape`, which reads one config.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.errors import ModelError
from rlreason.recipe.layout import shares_gpus
from rlreason.recipe.schema import Architecture, Recipe
from rlreason.recipe.scorers import Implicit
from rlreason.recipe.stages import OnPolicyStage

GIB = 2**30
LIBRARY_BYTES = int(0.6 * GIB)
"""What an engine process holds before any weight: resident memory with vLLM imported is 0.59 GiB, with DeepSpeed and
transformers 0.38 (CPU builds); on a GPU this stands for the CUDA context, which is of that order."""
SAVED_BYTES = 12
"""A parameter, on the host of rank 0 while a state is written: its float32 weight and AdamW's two moments."""
MAX_TOKENS = 4096
"""Longest prompt and completion together where the recipe does not say; the model's positions where these are fewer."""
SCRATCH_VOCABULARY = 1024
"""Assumed for a model from scratch until the tasks' words are counted: 256 bytes and some hundred words."""

_FAMILIES: dict[str, dict[str, Any]] = {  # model_type -> what its config.json leaves unsaid
    "llama": {},
    "mistral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"head_norms": True},
    "gemma": {"tied": True},
    "gemma2": {"tied": True, "norms": 4},
    "gemma3_text": {"tied": True, "norms": 4, "head_norms": True},
}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder with rotary positions, grouped-query attention and a gated feed-forward part.

    Attributes:
        vocabulary, width, layers: V, H, L.
        heads, kv_heads, head_width: query heads, key-value heads, size of one.
        feed_forward: inner width of the gated part.
        positions: longest sequence.
        tied: the output head is the embedding.
        qkv_bias: query, key and value projections have biases.
        output_bias: attention's output projection has one too.
        head_norms: queries and keys are normalised by head.
        norms: normalisations of width H a layer.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    positions: int
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    head_norms: bool = False
    norms: int = 2


def shape_of(architecture: Architecture, vocabulary: int = SCRATCH_VOCABULARY) -> ModelShape:
    """The shape of a model from scratch; the vocabulary is rounded up to a multiple of 64, as it will be made."""
    return ModelShape(
        vocabulary=-(-vocabulary // 64) * 64,
        width=architecture.width,
        layers=architecture.layers,
        heads=architecture.heads,
        kv_heads=architecture.heads,
        head_width=architecture.width // architecture.heads,
        feed_forward=architecture.feed_forward_width,
        positions=architecture.max_positions,
        tied=architecture.tie_embeddings,
        qkv_bias=architecture.start == "look_up",
        output_bias=architecture.start == "look_up",
    )


def read_shape(folder: Path) -> ModelShape | None:
    """The shape that a Hugging Face config.json tells; None where its model type is none that is counted here.

    Raises:
        ModelError: config.json cannot be read, or lacks a size.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        known = _FAMILIES.get(config.get("model_type", ""))
        if known is None:
            return None
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        biased = bool(config.get("attention_bias", False))
        return ModelShape(
            vocabulary=int(config["vocab_size"]),
            width=width,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or width // heads),
            feed_forward=int(config["intermediate_size"]),
            positions=int(config["max_position_embeddings"]),
            tied=bool(config.get("tie_word_embeddings", known.get("tied", False))),
            qkv_bias=known.get("qkv_bias", biased),
            output_bias=biased and config["model_type"] == "llama",
            head_norms=known.get("head_norms", False),
            norms=known.get("norms", 2),
        )
    except KeyError as error:
        raise ModelError(f"{path} says no {error}, which a model of type {config['model_type']!r} must have") from None
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a model's configuration: {error}") from None


def count_parameters(shape: ModelShape) -> int:
    """Every weight once (a tied output head is the embedding)."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = shape.width * (2 * queries + 2 * keys)  # query and output; key and value
    biases = (queries + 2 * keys) * shape.qkv_bias + shape.width * shape.output_bias
    head_norms = 2 * shape.head_width if shape.head_norms else 0
    layer = attention + biases + head_norms + 3 * shape.width * shape.feed_forward + shape.norms * shape.width
    embeddings = shape.vocabulary * shape.width * (1 if shape.tied else 2)
    return embeddings + shape.layers * layer + shape.width


def cache_bytes_per_token(shape: ModelShape, value_bytes: int) -> int:
    """A key and a value of every layer and key-value head."""
    return 2 * shape.layers * shape.kv_heads * shape.head_width * value_bytes


def activation_bytes_per_token(shape: ModelShape, value_bytes: int) -> int:
    """What the backward pass needs of one token, nothing recomputed, with an attention kernel that keeps no matrix.

    A layer keeps two inputs of norms, two normalised inputs and one sum (5 H), their two float32 copies (8 H bytes),
    queries and attention's output, keys and values, and gate, up, activated gate and product (4 F). Beside the layers:
    logits and their gradient in float32 (8 V bytes), an upper bound where the loss goes over the vocabulary in chunks.
    """
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    values = 5 * shape.width + 2 * queries + 2 * keys + 4 * shape.feed_forward
    return shape.layers * (values * value_bytes + 8 * shape.width) + 8 * shape.vocabulary


@dataclass(frozen=True, slots=True)
class LearnerMemory:
    """Bytes of one learner rank, on its device where nothing else is said."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    reference: int = 0
    host: int = 0
    """Of host memory, beside those of the device."""

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reference


@dataclass(frozen=True, slots=True)
class GeneratorMemory:
    """Bytes of one device of a generator: its share of the weights, and the key-value cache."""

    weights: int
    cache: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.cache


def learner_memory(
    parameters: int,
    activations: int,
    *,
    value_bytes: int,
    zero_stage: int,
    ranks: int,
    reference: int = 0,
    offload: str = "none",
) -> LearnerMemory:
    """Bytes of a DeepSpeed rank.

    AdamW keeps two float32 moments a parameter, and beside them a float32 copy of the weights wherever DeepSpeed keeps
    one (below float32, and under ZeRO 1 to 3). ZeRO 1 divides these by the ranks, 2 also the gradients, 3 also the
    weights.

    Args:
        parameters: of the model.
        activations: bytes, from the tokens a rank holds at a time.
        value_bytes: of a weight: 4 in float32, 2 in bfloat16.
        reference: bytes of a frozen model beside the policy; each rank holds all of it.
        offload: what is in host memory instead: "optimizer", with gradients in float32 for its step, or "all", also the
            weights.
    Source:
        ZeRO, Rajbhandari et al. 2020, section 3.
    """
    state_bytes = 12 if zero_stage >= 1 or value_bytes < 4 else 8
    weights = _share(parameters * value_bytes, ranks if zero_stage >= 3 else 1)
    optimizer = _share(parameters * state_bytes, ranks if zero_stage >= 1 else 1)
    on_host = optimizer + _share(parameters * 4, ranks) if offload != "none" else 0
    return LearnerMemory(
        weights=0 if offload == "all" else weights,
        gradients=_share(parameters * value_bytes, ranks if zero_stage >= 2 else 1),
        optimizer=0 if offload != "none" else optimizer,
        activations=activations,
        reference=reference,
        host=on_host + (weights if offload == "all" else 0),
    )


def _share(total: int, parts: int) -> int:
    return -(-total // parts)


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on.

    Attributes:
        cores: CPU cores.
        memory_bytes: memory that is free for the run.
        gpus: how many.
        gpu_memory_bytes: of one GPU; 0 without one.
    """

    cores: int
    memory_bytes: int
    gpus: int = 0
    gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a recipe's engines need.

    Attributes:
        parameters: of the model.
        dtype: "float32" or "bfloat16", with "auto" decided.
        cache_bytes_per_token: of one sequence in a generator's cache, over all its devices.
        learner: one rank. generator: one device of one generator.
        scorer: bytes of the weights that a step scorer holds; 0 where the recipe has none.
        learners, generators: how many ranks and generators.
        on_gpu: whether devices are GPUs; else all processes share the machine's memory.
        in_process: generator and learner are one process.
        gpu_memory_share: of a GPU, what its generator takes.
        colocated: a generator and a learner share a GPU.
        sleep_level: what the generator leaves free of it while the learner works, see `Resources.sleep_level`.
    """

    parameters: int
    dtype: str
    cache_bytes_per_token: int
    learner: LearnerMemory
    generator: GeneratorMemory
    scorer: int
    learners: int
    generators: int
    on_gpu: bool
    in_process: bool
    gpu_memory_share: float
    colocated: bool
    sleep_level: int

    @property
    def saved_bytes(self) -> int:
        """Of the host of learner rank 0, while a state is written; less where adapters are trained."""
        return SAVED_BYTES * self.parameters

    @property
    def host_bytes(self) -> int:
        """All engines together with their libraries: what a machine without a GPU must have free."""
        processes = 1 if self.in_process else self.learners + self.generators + (self.scorer > 0)
        engines = self.learners * self.learner.total + self.generators * self.generator.total + self.scorer
        return engines + self.saved_bytes + processes * LIBRARY_BYTES


def estimate_memory(recipe: Recipe, shape: ModelShape, *, on_gpu: bool, gpus: int | None = None) -> Estimate:
    """What the recipe's engines need for a model of that shape.

    A generator's cache is `kv_cache_gib` on a CPU; on a GPU it is what `gpu_memory_share` leaves, and counted here is
    the least vLLM starts with: one sequence of the greatest length.

    Args:
        gpus: how many there are, by which it is known whether engines share them. None: they do, if they may.
    """
    resources = recipe.resources
    dtype = recipe.model.dtype if recipe.model.dtype != "auto" else ("bfloat16" if on_gpu else "float32")
    value_bytes = 4 if dtype == "float32" else 2
    parameters = count_parameters(shape)
    per_token = cache_bytes_per_token(shape, value_bytes)
    longest = resources.max_tokens or min(shape.positions, MAX_TOKENS)
    cache = _share(per_token * longest, resources.tensor_parallel)
    # a policy that is held near a reference stands beside it, whole on every rank
    references = any(isinstance(stage, OnPolicyStage) and stage.kl for stage in recipe.stages.values())
    # an implicit scorer is two models; each scorer is freed before the next is loaded
    models = max((2 if isinstance(each, Implicit) else 1 for each in recipe.scorers.values()), default=0)
    colocated = on_gpu and shares_gpus(resources, gpus, scorers=int(models > 0))
    return Estimate(
        parameters=parameters,
        dtype=dtype,
        cache_bytes_per_token=per_token,
        learner=learner_memory(
            parameters,
            resources.tokens_a_pass(on_gpu=on_gpu) * activation_bytes_per_token(shape, value_bytes),
            value_bytes=value_bytes,
            zero_stage=resources.zero_stage,
            ranks=resources.learners,
            reference=parameters * value_bytes if references else 0,
            offload=resources.offload,
        ),
        generator=GeneratorMemory(
            weights=_share(parameters * value_bytes, resources.tensor_parallel),
            cache=cache if on_gpu else int(resources.kv_cache_gib * GIB),
        ),
        scorer=models * parameters * value_bytes,
        learners=resources.learners,
        generators=resources.generators,
        on_gpu=on_gpu,
        in_process=resources.generator == "torch",
        gpu_memory_share=resources.generator_share(colocated=colocated),
        colocated=colocated,
        sleep_level=resources.sleep_level,
    )


def gib(count: int) -> str:
    """Bytes as a person reads them: GiB, below a tenth of one MiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB // 10 else f"{count / 2**20:.1f} MiB"
