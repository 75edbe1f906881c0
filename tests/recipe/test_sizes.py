"""Sizes against published parameter counts and against arithmetic done by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlreason.errors import MachineError, ModelError
from rlreason.recipe.known_models import KNOWN_MODELS, find_shape
from rlreason.recipe.room import check_memory, fits, gpu_demands
from rlreason.recipe.schema import Architecture
from rlreason.recipe.sizes import (
    GIB,
    LIBRARY_BYTES,
    Estimate,
    GeneratorMemory,
    LearnerMemory,
    ModelShape,
    activation_bytes_per_token,
    cache_bytes_per_token,
    count_parameters,
    estimate_memory,
    gib,
    learner_memory,
    read_shape,
    shape_of,
)

SHAPE = ModelShape(
    vocabulary=100, width=8, layers=2, heads=4, kv_heads=2, head_width=2, feed_forward=16, positions=32, tied=True
)

PUBLISHED = {  # config.json as released -> parameters as counted from the released weights
    "SmolLM2-135M": (
        {
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
        134_515_008,
    ),
    "Qwen2.5-0.5B": (
        {
            "model_type": "qwen2",
            "vocab_size": 151936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
        },
        494_032_768,
    ),
    "Qwen3-0.6B": (
        {
            "model_type": "qwen3",
            "vocab_size": 151936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": True,
        },
        596_049_920,
    ),
    "Gemma-2-2B": (
        {
            "model_type": "gemma2",
            "vocab_size": 256000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "max_position_embeddings": 8192,
        },
        2_614_341_888,
    ),
    "Llama-3-8B": (
        {
            "model_type": "llama",
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": False,
        },
        8_030_261_248,
    ),
}


def config_folder(tmp_path: Path, config: Any) -> Path:
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_released_models(tmp_path: Path, name: str) -> None:
    config, parameters = PUBLISHED[name]
    shape = read_shape(config_folder(tmp_path, config))
    assert shape is not None
    assert count_parameters(shape) == parameters


def test_parameters_by_hand() -> None:
    # embedding 100 x 8 = 800, its head tied; a layer: query and output 8 x 8 each, key and value 8 x 4 each = 192,
    # feed-forward 3 x 8 x 16 = 384, two norms of 8 = 16, so 592; two layers 1184; last norm 8
    assert count_parameters(SHAPE) == 800 + 1184 + 8


def test_a_new_model_has_its_stated_shape_and_a_rounded_vocabulary() -> None:
    shape = shape_of(Architecture(layers=1, width=64, heads=2, max_positions=16, tie_embeddings=False), vocabulary=65)
    assert (shape.vocabulary, shape.feed_forward, shape.head_width, shape.kv_heads) == (128, 192, 32, 2)
    # two embeddings 2 x 128 x 64; attention 4 x 64 x 64; feed-forward 3 x 64 x 192; three norms of 64
    assert count_parameters(shape) == 16384 + 16384 + 36864 + 192


def test_the_default_feed_forward_width_is_rounded_up_to_32() -> None:
    assert Architecture(width=96, heads=3).feed_forward_width == 288
    assert Architecture(width=160, heads=5).feed_forward_width == 480
    assert Architecture(width=128, heads=4, mlp_width=100).feed_forward_width == 100


def test_the_cache_of_a_token_by_hand() -> None:
    # key and value x 2 layers x 2 heads x 2 values x 4 bytes
    assert cache_bytes_per_token(SHAPE, 4) == 64
    assert cache_bytes_per_token(SHAPE, 2) == 32


def test_the_activations_of_a_token_by_hand() -> None:
    # a layer: 5 x 8 + 2 x 8 (query, attention) + 2 x 4 (key, value) + 4 x 16 = 128 values, and 8 x 8 bytes in float32;
    # two layers of 128 x 2 + 64 = 320 bytes, logits and gradient 8 x 100
    assert activation_bytes_per_token(SHAPE, 2) == 2 * 320 + 800


@pytest.mark.parametrize(
    ("zero_stage", "weights", "gradients", "optimizer"),
    [(0, 2000, 2000, 12000), (1, 2000, 2000, 3000), (2, 2000, 500, 3000), (3, 500, 500, 3000)],
)
def test_zero_divides_states_then_gradients_then_weights(
    zero_stage: int, weights: int, gradients: int, optimizer: int
) -> None:
    memory = learner_memory(1000, 7, value_bytes=2, zero_stage=zero_stage, ranks=4)
    assert (memory.weights, memory.gradients, memory.optimizer) == (weights, gradients, optimizer)
    assert memory.total == weights + gradients + optimizer + 7


def test_float32_without_zero_has_no_second_copy_of_the_weights() -> None:
    assert learner_memory(1000, 0, value_bytes=4, zero_stage=0, ranks=1).optimizer == 8000
    assert learner_memory(1000, 0, value_bytes=4, zero_stage=1, ranks=1).optimizer == 12000


def test_on_a_cpu_everything_shares_the_machine(load: Any) -> None:
    recipe = load(
        "resources={generators: 2, learners: 3, zero_stage: 0, micro_batch_tokens: 10, kv_cache_gib: 0.25}"
    ).recipe
    estimate = estimate_memory(recipe, SHAPE, on_gpu=False)
    # 1992 parameters in float32: weights and gradients 7968 each, moments 15936, and 10 tokens of
    # 2 x (128 x 4 + 64) + 800 = 1952 bytes
    assert estimate.learner.total == 7968 + 7968 + 15936 + 19520
    assert estimate.generator.total == 7968 + GIB // 4
    # and one rank writes a state: 12 bytes a parameter
    total = 3 * estimate.learner.total + 2 * estimate.generator.total + 5 * LIBRARY_BYTES + 12 * 1992
    assert estimate.host_bytes == total
    assert fits(estimate, total)
    assert not fits(estimate, total - 1)


def test_a_pass_is_larger_on_a_gpu_unless_the_recipe_says_how_large(load: Any) -> None:
    resources = load().recipe.resources
    assert (resources.tokens_a_pass(on_gpu=False), resources.tokens_a_pass(on_gpu=True)) == (4096, 16384)
    small, large = (
        estimate_memory(load().recipe, SHAPE, on_gpu=on_gpu).learner.activations for on_gpu in (False, True)
    )
    assert small == 4096 * activation_bytes_per_token(SHAPE, 4)
    assert large == 16384 * activation_bytes_per_token(SHAPE, 2)
    given = load("resources={micro_batch_tokens: 64}").recipe.resources
    assert given.tokens_a_pass(on_gpu=False) == given.tokens_a_pass(on_gpu=True) == 64


def test_the_engines_in_this_process_load_their_libraries_once(load: Any) -> None:
    recipe = load("resources={generator: torch, learner: torch}").recipe
    estimate = estimate_memory(recipe, SHAPE, on_gpu=False)
    assert estimate.host_bytes == estimate.learner.total + estimate.generator.total + LIBRARY_BYTES + 12 * 1992


def test_on_a_gpu_tensor_parallel_divides_and_bfloat16_halves(load: Any) -> None:
    recipe = load("resources={tensor_parallel: 2, gpu_memory_share: 0.5, micro_batch_tokens: 1}").recipe
    estimate = estimate_memory(recipe, SHAPE, on_gpu=True)
    assert estimate.dtype == "bfloat16"
    assert estimate.generator.weights == 1992 * 2 // 2
    assert estimate.generator.cache == 32 * 32 // 2  # one sequence of 32 positions, 32 bytes a token, two devices


def test_the_cache_holds_one_sequence_of_the_greatest_length_that_is_asked_for(load: Any) -> None:
    long = replace(SHAPE, positions=100_000)
    for settings, tokens in (("{}", 4096), ("{max_tokens: 9000}", 9000)):
        estimate = estimate_memory(load(f"resources={settings}").recipe, long, on_gpu=True)
        assert estimate.generator.cache == tokens * 32


@pytest.mark.parametrize(
    ("offload", "weights", "optimizer", "host"),
    [
        ("none", 500, 3000, 0),
        # 1000 parameters over four ranks: 12 bytes of states, and 4 of gradients for the step on the host
        ("optimizer", 500, 0, 3000 + 1000),
        ("all", 0, 0, 3000 + 1000 + 500),
    ],
)
def test_what_is_offloaded_is_of_the_host_and_not_of_the_device(
    offload: str, weights: int, optimizer: int, host: int
) -> None:
    memory = learner_memory(1000, 7, value_bytes=2, zero_stage=3, ranks=4, offload=offload)
    assert (memory.weights, memory.optimizer, memory.host) == (weights, optimizer, host)
    assert memory.total == weights + optimizer + 500 + 7


def test_engines_on_one_gpu_divide_its_memory_take_turns_in_it_or_have_their_own(load: Any) -> None:
    mib = 2**20
    generator, learner = GeneratorMemory(60 * mib, 40 * mib), LearnerMemory(0, 0, 300 * mib, 500 * mib)
    asked = estimate_memory(load("resources={gpu_memory_share: 0.25}").recipe, SHAPE, on_gpu=True)
    asked = replace(asked, generator=generator, learner=learner)

    def rooms(estimate: Estimate) -> list[tuple[int, float]]:
        return [(demand.need - LIBRARY_BYTES, demand.room / mib) for demand in gpu_demands(estimate, 1000 * mib)]

    own, shared = (replace(asked, colocated=colocated) for colocated in (False, True))
    assert rooms(own) == [(100 * mib, 250), (800 * mib, 1000)]
    assert rooms(shared) == [(100 * mib, 250), (800 * mib, 750)]
    # asleep, the generator leaves all but its libraries; awake, it has a learner at rest beside it
    assert rooms(replace(shared, sleep_level=1)) == [
        (100 * mib, 250),
        (300 * mib, 750),
        (800 * mib, 1000 - LIBRARY_BYTES / mib),
    ]


def test_a_generator_takes_most_of_a_gpu_of_its_own_and_less_of_one_that_it_shares(load: Any) -> None:
    def share(settings: str, gpus: int) -> float:
        recipe = load(f"resources={{{settings}}}").recipe
        return estimate_memory(recipe, SHAPE, on_gpu=True, gpus=gpus).gpu_memory_share

    assert [share("generators: 1", gpus) for gpus in (1, 2)] == [0.45, 0.9]
    assert share("placement: colocated", 8) == 0.45 and share("tensor_parallel: 2", 3) == 0.9
    assert [share("gpu_memory_share: 0.6", gpus) for gpus in (1, 2)] == [0.6, 0.6]


SCORER_MIB = 1000
"""Of the GPUs of 10,000 MiB below: a step scorer with its libraries. A generator takes 2,500."""
ASLEEP_MIB = LIBRARY_BYTES / 2**20


@pytest.mark.parametrize(
    ("generators", "learners", "sleep_level", "expected"),
    [
        # generator, learner and scorer are on the last GPU
        (2, 2, 0, {"a learner rank beside the step scorer": 6500}),
        # a generator and the scorer, without a learner
        (3, 2, 0, {"a learner rank": 7500, "the step scorer beside a generator": 7500}),
        # a learner and the scorer, without a generator; the others have a generator beside them, which takes more
        (2, 3, 0, {"a learner rank beside the step scorer": 7500}),
        (
            *(1, 1, 1),
            {
                "a learner rank beside the step scorer at rest": 6500,
                "a learner rank beside the step scorer while the generator sleeps": 9000 - ASLEEP_MIB,
            },
        ),
        (
            *(1, 2, 1),
            {
                "a learner rank beside the step scorer at rest": 7500,
                "a learner rank beside the step scorer while the generator sleeps": 9000,
            },
        ),
    ],
)
def test_a_step_scorer_has_its_room_on_the_last_of_the_gpus_that_are_shared(
    load: Any, generators: int, learners: int, sleep_level: int, expected: dict[str, float]
) -> None:
    mib = 2**20
    asked = replace(
        estimate_memory(load("resources={gpu_memory_share: 0.25}").recipe, SHAPE, on_gpu=True),
        **{"generators": generators, "learners": learners, "sleep_level": sleep_level},
        scorer=SCORER_MIB * mib - LIBRARY_BYTES,
    )
    first, *others = gpu_demands(asked, 10_000 * mib)
    assert (first.what, first.room) == ("a generator", 2500 * mib)
    assert {demand.what: demand.room / mib for demand in others} == pytest.approx(expected)


def test_a_step_scorer_has_a_gpu_of_its_own_where_no_engines_share(load: Any) -> None:
    asked = estimate_memory(load().recipe, SHAPE, on_gpu=True, gpus=3)
    found = gpu_demands(replace(asked, scorer=2 * GIB), 80 * GIB)[-1]
    assert (found.what, found.need, found.room) == ("the step scorer", 2 * GIB + LIBRARY_BYTES, 80 * GIB)
    assert not fits(replace(asked, scorer=80 * GIB), 80 * GIB)


def test_each_engine_s_room_decides_whether_they_fit(load: Any) -> None:
    asked = estimate_memory(load("resources={gpu_memory_share: 0.5}").recipe, SHAPE, on_gpu=True)
    larger = max(asked.learner.total, asked.generator.total)
    assert fits(asked, 2 * (larger + LIBRARY_BYTES))
    assert not fits(asked, 2 * (larger + LIBRARY_BYTES) - 2)


def test_whether_engines_share_follows_placement_and_the_gpus_there_are(load: Any) -> None:
    def colocated(settings: str, gpus: int | None, on_gpu: bool = True) -> bool:
        return estimate_memory(load(f"resources={{{settings}}}").recipe, SHAPE, on_gpu=on_gpu, gpus=gpus).colocated

    assert [colocated("generators: 2", gpus) for gpus in (None, 2, 3)] == [True, True, False]
    assert colocated("placement: colocated", 8) and not colocated("placement: disaggregated", 1)
    assert not colocated("tensor_parallel: 2", None)
    assert not colocated("generators: 2", None, on_gpu=False)


KNOWN = {  # name -> parameters as counted from the released weights
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
}


def test_models_known_by_name_have_the_parameters_of_the_released_ones() -> None:
    assert {name: count_parameters(shape) for name, shape in KNOWN_MODELS.items()} == KNOWN
    assert find_shape("Qwen2.5-7B") == KNOWN_MODELS["qwen2.5-7b"]


def test_a_model_is_known_by_its_folder_or_its_config_too(tmp_path: Path) -> None:
    config_folder(tmp_path, PUBLISHED["SmolLM2-135M"][0])
    assert find_shape(str(tmp_path)) == find_shape(str(tmp_path / "config.json")) == KNOWN_MODELS["smollm2-135m"]
    with pytest.raises(ModelError, match=r"--model 'qwen2\.5-7' is not one of .*qwen2\.5-7b"):
        find_shape("qwen2.5-7")
    config_folder(tmp_path, {"model_type": "gpt2"})
    with pytest.raises(ModelError, match=r"is of a type whose sizes are not known; give one of smollm2-135m"):
        find_shape(str(tmp_path))


def test_what_does_not_fit_is_refused_with_figures_and_remedies(load: Any) -> None:
    estimate = estimate_memory(load().recipe, SHAPE, on_gpu=False)
    check_memory(estimate, 64 * GIB)
    with pytest.raises(MachineError, match=r"too little memory.*1\.0 GiB are free.*resources\.micro_batch_tokens"):
        check_memory(estimate, GIB)
    with pytest.raises(MachineError, match=r"a GPU has 1\.0 GiB, of which resources\.gpu_memory_share 0\.45"):
        check_memory(estimate_memory(load().recipe, SHAPE, on_gpu=True), GIB)


def test_a_model_of_another_kind_has_no_shape(tmp_path: Path) -> None:
    assert read_shape(config_folder(tmp_path, {"model_type": "gpt2"})) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama", "num_attention_heads": 2}, r"config\.json says no 'hidden_size'.* type 'llama'"),
        ("{", r"config\.json cannot be read as a model's configuration"),
        ("[]", r"config\.json cannot be read"),
        ({"model_type": "llama", "num_attention_heads": "x", "hidden_size": 1}, r"config\.json cannot be read.*'x'"),
    ],
)
def test_a_broken_configuration_is_named(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_shape(config_folder(tmp_path, config))


def test_bytes_for_a_person() -> None:
    assert [gib(GIB), gib(GIB * 5 // 2), gib(3 * 2**20)] == ["1.0 GiB", "2.5 GiB", "3.0 MiB"]


def test_a_step_scorer_is_a_process_with_the_weights_of_its_largest_models(load: Any) -> None:
    prm = "{type: prm, data: [{cells: ['*']}], optimizer: {learning_rate: 0.1}}"
    without = estimate_memory(load().recipe, SHAPE, on_gpu=False)
    learned = estimate_memory(load(f"scorers.one={prm}").recipe, SHAPE, on_gpu=False)
    both = load(f"scorers.one={prm}", "scorers.two={type: implicit, policy: sft}").recipe
    implicit = estimate_memory(both, SHAPE, on_gpu=False)
    weights = 4 * count_parameters(SHAPE)
    assert (without.scorer, learned.scorer, implicit.scorer) == (0, weights, 2 * weights)
    assert learned.host_bytes - without.host_bytes == weights + LIBRARY_BYTES
