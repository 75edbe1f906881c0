"""Who has which GPU, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import MachineError, RecipeError
from rlreason.recipe.layout import asked_gpus, lay_out
from rlreason.recipe.schema import Resources


def test_on_a_cpu_every_engine_has_a_bundle_without_gpus() -> None:
    layout = lay_out(Resources(generators=2), 0, scorers=1)
    assert (layout.accelerator, layout.colocated, layout.bundles, layout.gpus) == ("cpu", False, (0, 0, 0, 0), 0)
    assert layout.seats == {"generator": (0, 1), "learner": (2,), "scorer": (3,)}


def test_gpus_are_used_where_there_are_any_unless_the_recipe_says_cpu() -> None:
    assert lay_out(Resources(), 2).accelerator == "cuda"
    assert lay_out(Resources(accelerator="cpu"), 2).accelerator == "cpu"
    assert lay_out(Resources(), 0).accelerator == "cpu"


def test_every_engine_has_its_own_gpus_where_there_are_enough() -> None:
    layout = lay_out(Resources(generators=2, tensor_parallel=2, learners=4), 9, scorers=1)
    assert (layout.colocated, layout.bundles, layout.gpus) == (False, (2, 2, 1, 1, 1, 1, 1), 9)
    assert layout.seats == {"generator": (0, 1), "learner": (2, 3, 4, 5), "scorer": (6,)}
    assert layout.shares == {"generator": 2.0, "learner": 1.0, "scorer": 1.0}


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [(Resources(generators=2, learners=3), 4), (Resources(generators=2, learners=3, placement="colocated"), 64)],
    ids=["too few for all", "asked for"],
)
def test_a_generator_and_a_learner_share_a_gpu_and_never_two_of_a_kind(resources: Resources, gpus: int) -> None:
    layout = lay_out(resources, gpus, scorers=1)
    assert (layout.colocated, layout.bundles) == (True, (1, 1, 1))
    assert [layout.tenants(bundle) for bundle in range(3)] == [
        ["generator", "learner"],
        ["generator", "learner"],
        ["learner", "scorer"],
    ]


@given(
    generators=st.integers(1, 5),
    learners=st.integers(1, 5),
    width=st.integers(1, 4),
    gpus=st.integers(0, 24),
    scorers=st.integers(0, 1),
)
def test_no_bundle_is_given_out_more_than_once_and_no_more_gpus_than_there_are(
    generators: int, learners: int, width: int, gpus: int, scorers: int
) -> None:
    resources = Resources(generators=generators, learners=learners, tensor_parallel=width, accelerator="cuda")
    try:
        layout = lay_out(resources, gpus, scorers)
    except MachineError:
        assert gpus < asked_gpus(resources, scorers)
        return
    assert layout.gpus <= gpus
    for bundle, size in enumerate(layout.bundles):
        kinds = layout.tenants(bundle)
        assert len(set(kinds)) == len(kinds) > 0
        assert sum(layout.shares[kind] for kind in kinds) <= size + 1e-9
    assert layout.engines == generators + learners + scorers


@pytest.mark.parametrize(
    ("resources", "gpus", "message"),
    [
        (
            Resources(generators=3, learners=2),
            2,
            r"3 generators x 1 GPUs, 2 learners and 0 step scorers, 5 GPUs; the cluster has 2\. Lower .*learners$",
        ),
        (
            Resources(tensor_parallel=2),
            2,
            r"1 generators x 2 GPUs, 1 learners and 0 step scorers, 3 GPUs; the cluster has 2\. Lower",
        ),
        (Resources(accelerator="cuda"), 0, r"2 GPUs; the cluster has 0\. Lower resources\.generators"),
        (
            Resources(placement="disaggregated"),
            1,
            r"2 GPUs; the cluster has 1\. Lower .*, or set resources\.placement to colocated$",
        ),
        (
            Resources(placement="colocated", generators=3),
            2,
            r"3 generators and 1 learners that share GPUs, 3 GPUs; the cluster has 2\.",
        ),
    ],
)
def test_too_few_gpus_are_an_error_that_counts_them(resources: Resources, gpus: int, message: str) -> None:
    with pytest.raises(MachineError, match=message):
        lay_out(resources, gpus)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tensor_parallel": 2}, "tensor_parallel 2"),
        ({"placement": "disaggregated"}, "placement disaggregated"),
        ({"placement": "colocated", "sleep_level": 1}, "sleep_level 1"),
        ({"offload": "optimizer"}, "offload optimizer"),
        ({"placement": "colocated", "weight_sync": "ipc"}, "weight_sync ipc"),
    ],
)
def test_what_needs_gpus_is_refused_on_a_cpu_by_name(load: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(MachineError, match=rf"^resources\.{named} needs GPUs, and this run is on a CPU"):
        lay_out(Resources(**settings), 0)
    said = ", ".join(f"{key}: {value}" for key, value in {**settings, "accelerator": "cpu"}.items())
    with pytest.raises(RecipeError, match=f"{named} needs GPUs, and accelerator is 'cpu'"):
        load(f"resources={{{said}}}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("sleep_level: 2", "sleep_level 2 is for GPUs that engines share, and placement is 'auto'; use placement colo"),
        ("placement: colocated, tensor_parallel: 2", "tensor_parallel 2 does not go with placement 'colocated'"),
        ("weight_sync: nccl", "weight_sync 'nccl' needs placement disaggregated, and placement is 'auto'"),
        ("weight_sync: nccl, placement: colocated", "needs placement disaggregated, and placement is 'colocated'"),
        ("weight_sync: ipc, placement: disaggregated", "weight_sync 'ipc' needs placement colocated"),
        ("weight_sync: ipc, placement: colocated, generators: 2", "each of the 2 generators, and learners is 1"),
        ("weight_sync: ipc, placement: colocated, zero_stage: 3", "weight_sync 'ipc' does not go with zero_stage 3"),
        ("offload: optimizer, zero_stage: 0", "offload 'optimizer' needs zero_stage 1 or more, and zero_stage is 0"),
        ("offload: all, zero_stage: 2", "offload 'all' needs zero_stage 3, and zero_stage is 2; raise it"),
        ("generator: torch, learner: torch, weight_sync: files", "weight_sync files is for vllm with deepspeed"),
        ("generator: torch, learner: torch, offload: optimizer", "offload optimizer is for vllm with deepspeed"),
        ("wait_for_devices_s: 0", "0"),
    ],
)
def test_settings_that_do_not_go_together_are_told_as_a_pair(load: Any, settings: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(f"resources={{{settings}}}")


@pytest.mark.parametrize(
    ("sync", "more"), [("nccl", "placement: disaggregated"), ("files", "placement: auto")], ids=["nccl", "files"]
)
def test_weights_that_are_fetched_later_do_not_go_with_sampling_ahead(load: Any, sync: str, more: str) -> None:
    resources = f"resources={{weight_sync: {sync}, {more}}}"
    assert load(resources).recipe.resources.weight_sync == sync
    with pytest.raises(RecipeError, match=rf"stages\.rl\.asynchrony: does not go with resources\.weight_sync {sync}"):
        load(resources, "stages.rl.asynchrony={}")
