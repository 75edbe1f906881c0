from __future__ import annotations

import pytest

from rlreason.errors import UserError
from rlreason.simulate import search
from rlreason.simulate.costs import Layout
from rlreason.simulate.search import FAILURES, Pipeline, best_split, layouts, pipelines, simulate, sweep
from rlreason.simulate.show import gains
from rlreason.simulate.timeline import SHARES
from tests.simulate.works import rates, work


def test_layouts_use_every_gpu_and_respect_widths_and_learners():
    for gpus, width, least in ((64, 4, 8), (7, 2, 1), (4096, 8, 16)):
        for layout in layouts(gpus, width, least, colocated=False):
            assert layout.gpus == gpus
            assert layout.generators >= 1
            assert layout.learners >= least
    assert layouts(2, 2, 1, colocated=False) == []
    assert layouts(7, 2, 1, colocated=True) == []
    assert layouts(8, 2, 1, colocated=True) == [Layout(4, 8, 2, colocated=True)]


@pytest.mark.parametrize("start", [1, 15])
def test_the_best_split_is_the_best_of_all_of_them_wherever_the_search_begins(
    monkeypatch: pytest.MonkeyPatch, start: int
):
    monkeypatch.setattr(search, "estimate_s", lambda costs, pipeline, seed: abs(costs.layout.generators - start))
    known = rates(lengths={"type": "lognormal", "median": 60, "sigma": 0.8}, learning={"tokens_per_s": 400})
    asked = work(prompts=32)
    for pipeline in (Pipeline(), Pipeline(one_step_off=True), Pipeline(max_staleness=1, partial=True)):
        all_of_them = [
            simulate(known, asked, layout, "any", pipeline, updates=8, seed=0).updates_per_hour
            for layout in layouts(16, 1, 1, colocated=False)
        ]
        best = best_split(known, asked, 16, "any", pipeline, updates=8, seed=0)
        assert best is not None
        assert best.updates_per_hour >= 0.97 * max(all_of_them)


def test_a_sweep_says_where_every_gpu_second_goes_failures_included():
    failing = {"gpu_hours_between": 100, "restart_s": 60, "generator_restart_s": 30, "checkpoint_s": 5}
    outcomes = sweep(rates(failing=failing), work(), [2, 8], pipelines(1), updates=5, seed=0)
    assert [each.layout.gpus for each in outcomes] == [2] * 5 + [8] * 5
    for each in outcomes:
        assert list(each.shares) == [*SHARES, FAILURES]
        assert sum(each.shares.values()) == pytest.approx(1)
        assert 0 < each.shares[FAILURES] < 1
        assert sum(each.staleness.values()) == pytest.approx(1)
        assert each.completions_per_s == pytest.approx(each.updates_per_hour * 8 / 3600)
    told = gains(outcomes)
    assert max(told[8, "synchronous, co-located"], told[8, "synchronous"]) == 1.0


def test_the_same_seed_gives_the_same_figures_and_another_gives_others():
    known = rates(lengths={"type": "lognormal", "median": 60, "sigma": 0.8})
    one, same, other = (
        [each.as_json() for each in sweep(known, work(), [4], pipelines(1), updates=4, seed=seed)] for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_prompts_grow_with_the_gpus_where_asked():
    compared = {"synchronous": Pipeline()}
    grown = sweep(rates(), work(), [2, 8], compared, updates=2, seed=0, grow=True)
    assert [each.prompts for each in grown] == [4, 16]


def test_too_few_gpus_are_refused_with_what_is_needed():
    known = rates(learning={"tokens_per_s": 1, "min_gpus": 4})
    with pytest.raises(UserError, match=r"--gpus 2: too few for .* at least 4"):
        sweep(known, work(), [2], pipelines(1), updates=2, seed=0)
