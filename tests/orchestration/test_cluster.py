import pytest

from rlreason.errors import MachineError
from rlreason.orchestration.cluster import connect, share_out
from rlreason.recipe.schema import Resources


def cores(*nodes: float) -> list[dict[str, float]]:
    return [{"CPU": count} for count in nodes]


def test_on_a_cpu_engines_that_take_turns_ask_for_no_more_than_the_cores_there_are():
    # rounded down to what Ray can count, never up: 3 x 0.66 <= 2
    assert share_out(Resources(generators=2, learners=1), cores(2.0))[1] == 0.66
    assert share_out(Resources(), cores(2.0), scorers=1)[1] == 0.66
    assert share_out(Resources(), cores(2.0))[1] == 1.0
    assert share_out(Resources(), cores(64.0))[1] == 1.0


def test_an_engine_s_share_of_a_core_is_found_on_one_node():
    # three of two thirds would find room in two cores, but not one of them across two nodes
    assert share_out(Resources(generators=2, learners=1), cores(1.0, 1.0))[1] == 0.5
    assert share_out(Resources(generators=2, learners=1), cores(2.0, 1.0))[1] == 1.0
    assert share_out(Resources(generators=2, learners=1), cores(0.0, 3.0))[1] == 1.0
    assert share_out(Resources(generators=4, learners=3), cores(2.0, 1.5))[1] == 0.5


def test_cores_come_with_the_gpus_of_a_node_and_not_with_those_of_others():
    nodes = [{"CPU": 32.0}, *[{"CPU": 4.0, "GPU": 8.0}] * 2]
    layout, cores = share_out(Resources(generators=8, learners=8), nodes)
    assert (layout.gpus, cores) == (16, 0.5)  # eight engines on each node with GPUs, in four cores
    # the node with the fewest cores a GPU decides, whichever an engine comes to
    assert share_out(Resources(), [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 2.0, "GPU": 8.0}])[1] == 0.25
    # four GPUs bring four times as much; the learner with one decides
    assert share_out(Resources(tensor_parallel=4), [{"CPU": 4.0, "GPU": 8.0}])[1] == 0.5
    assert share_out(Resources(), [{"CPU": 64.0, "GPU": 8.0}])[1] == 1.0


def test_engines_that_share_a_gpu_share_the_cores_that_come_with_it():
    # generator, learner and scorer on the last GPU: 3 x 0.33 <= 1
    assert share_out(Resources(generators=2, learners=2), [{"CPU": 2.0, "GPU": 2.0}], scorers=1)[1] == 0.33


def test_where_gpus_are_yet_to_come_a_core_comes_with_each():
    waiting = Resources(accelerator="cuda", wait_for_devices_s=600.0)
    assert share_out(waiting, [{"CPU": 2.0}])[1] == 1.0


def test_a_generator_s_gpus_are_found_on_one_node():
    resources = Resources(tensor_parallel=4)
    assert share_out(resources, [{"CPU": 8.0, "GPU": 4.0}] * 2)[0].bundles == (4, 1)
    with pytest.raises(
        MachineError, match=r"tensor_parallel 4 must fit one node, and the largest of the cluster has 3 GPUs"
    ):
        share_out(resources, [{"CPU": 8.0, "GPU": 3.0}] * 2)


def test_too_few_gpus_are_refused_at_once_unless_the_recipe_waits_for_more():
    nodes = [{"CPU": 8.0, "GPU": 2.0}]
    resources = Resources(generators=3, learners=2, accelerator="cuda")
    with pytest.raises(MachineError, match=r"5 GPUs; the cluster has 2"):
        share_out(resources, nodes)
    waiting = resources.model_copy(update={"wait_for_devices_s": 600.0})
    assert share_out(waiting, nodes)[0].bundles == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no port"])
def test_an_address_at_which_no_cluster_answers_is_refused_at_once(address):
    with pytest.raises(
        MachineError, match=rf"no Ray cluster answers at resources\.address '{address}'.*ray start --head"
    ):
        connect(Resources(address=address))


def test_a_local_ray_that_does_not_come_up_is_an_error_that_says_what_to_do(monkeypatch):
    def slow(**options):
        raise Exception("The current node timed out during startup.")  # what Ray raises, word for word

    monkeypatch.setattr("ray.init", slow)
    with pytest.raises(MachineError, match=r"timed out during startup.*run again when other work leaves it time"):
        connect(Resources())
