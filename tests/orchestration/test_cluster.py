from types import SimpleNamespace

import pytest

from rlreason.errors import MachineError
from rlreason.orchestration.cluster import Bundles, Placement, connect, share_out
from rlreason.recipe.schema import Resources


def test_on_a_cpu_engines_that_take_turns_ask_for_no_more_than_the_cores_there_are():
    share = {"CPU": 0.66}
    # rounded down to what Ray can count, never up: 3 x 0.66 <= 2
    assert share_out(Resources(generators=2, learners=1), {"CPU": 2.0}) == Bundles("cpu", share, share, share)
    assert share_out(Resources(), {"CPU": 2.0}, scorers=1).scorer == share
    assert share_out(Resources(), {"CPU": 2.0}).learner == {"CPU": 1.0}
    assert share_out(Resources(), {"CPU": 64.0}).generator == {"CPU": 1.0}


def test_gpus_are_used_where_there_are_any_unless_the_recipe_says_cpu():
    available = {"CPU": 8.0, "GPU": 2.0}
    assert share_out(Resources(), available).accelerator == "cuda"
    assert share_out(Resources(accelerator="cpu"), available).accelerator == "cpu"
    assert share_out(Resources(), {"CPU": 8.0}).accelerator == "cpu"


def test_every_engine_has_its_own_gpus_where_there_are_enough():
    resources = Resources(generators=2, tensor_parallel=2, learners=4)
    found = share_out(resources, {"CPU": 16.0, "GPU": 9.0}, scorers=1)
    one = {"CPU": 1.0, "GPU": 1.0}
    assert found == Bundles("cuda", {"CPU": 1.0, "GPU": 2.0}, one, one)


def test_kinds_of_engines_share_gpus_where_there_are_enough_for_each_kind_alone():
    resources, available = Resources(generators=2, learners=2), {"CPU": 8.0, "GPU": 3.0}
    found = share_out(resources, available)
    assert (found.generator["GPU"], found.learner["GPU"]) == (0.5, 0.5)
    found = share_out(resources, available, scorers=1)
    assert (found.generator["GPU"], found.learner["GPU"], found.scorer["GPU"]) == (0.4, 0.4, 0.2)


@pytest.mark.parametrize(
    ("bundles", "gpus"),
    [
        ([{"CPU": 1.0}, {"CPU": 1.0}], 0),
        ([{"GPU": 2.0}, {"GPU": 1.0}], 3),
        ([{"GPU": 0.4}, {"GPU": 0.4}, {"GPU": 0.2}], 1),
        ([{"GPU": 0.5}, {"GPU": 0.5}, {"GPU": 0.5}], 2),
    ],
)
def test_a_gpu_that_engines_share_is_held_once(bundles, gpus):
    placement = Placement(SimpleNamespace(bundle_specs=bundles), Bundles("cpu", {}, {}, {}), local=True)
    assert placement.gpus == gpus


@pytest.mark.parametrize(
    ("resources", "gpus", "message"),
    [
        (
            Resources(generators=3, learners=2),
            2,
            r"3 generators x 1 GPUs, 2 learners and 0 step scorers, 5 GPUs; the cluster has 2\. Lower",
        ),
        (
            Resources(tensor_parallel=2),
            2,
            r"1 generators x 2 GPUs, 1 learners and 0 step scorers, 3 GPUs; the cluster has 2\. Lower",
        ),
        (Resources(accelerator="cuda"), 0, r"2 GPUs; the cluster has 0\. Lower resources\.generators"),
    ],
)
def test_too_few_gpus_are_an_error_that_counts_them(resources, gpus, message):
    with pytest.raises(MachineError, match=message):
        share_out(resources, {"CPU": 4.0, "GPU": float(gpus)})


def test_tensor_parallelism_needs_gpus():
    with pytest.raises(MachineError, match=r"resources\.tensor_parallel 2 needs GPUs, and this run is on a CPU"):
        share_out(Resources(tensor_parallel=2), {"CPU": 4.0})


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no port"])
def test_an_address_at_which_no_cluster_answers_is_refused_at_once(address):
    with pytest.raises(
        MachineError, match=rf"no Ray cluster answers at resources\.address '{address}'.*ray start --head"
    ):
        connect(Resources(address=address))
