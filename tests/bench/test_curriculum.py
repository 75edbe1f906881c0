"""The simulator: learners learn what their formulas say, the oracle is one, and figures are what they claim."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from rlreason import cli
from rlreason.bench.curriculum import (
    ADVANTAGE,
    ALPHAS,
    GROUP,
    MASTERED,
    POLICIES,
    PROBLEMS,
    TAUS,
    VARIANCE,
    Trace,
    bench_curriculum,
    figures,
    interval,
    rollouts,
    simulate,
    sweep_sec,
)
from rlreason.bench.curriculum_learners import LEARNERS, SyntheticLearner
from rlreason.bench.curriculum_plot import check_plot_path, heat_maps, write_plot
from rlreason.bench.curriculum_table import render
from rlreason.errors import UserError

PAIR = SyntheticLearner((0.0, 0.0, 1.0), (0.1, 0.1, 0.1), (1, 1, 2), parts=((), (), (0, 1)))


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    wanted = ("uniform", "variance", "sec", "thompson", "gate", "gate+sec")
    return bench_curriculum(("prerequisites", "dead", "saturated"), wanted, seeds=12, updates=100)


def test_a_composite_succeeds_when_all_of_its_skills_do():
    # sigmoid(0) = 1/2 each, times sigmoid(1)
    assert PAIR.success(PAIR.begin(1)) == pytest.approx(np.array([[0.5, 0.5, 0.25 / (1 + np.exp(-1))]]))


def test_training_on_a_composite_moves_its_parts_by_their_share_of_the_failures():
    skill = PAIR.begin(1)
    PAIR.train(skill, np.array([[0.0, 0.0, 2.0]]))
    strong = 1 / (1 + np.exp(-1))
    failure = 1 - 0.25 * strong
    # rate 0.1 x signal 2 x (1 - strength) / failure
    assert skill == pytest.approx(np.array([[0.1 / failure, 0.1 / failure, 1 + 0.2 * (1 - strong) / failure]]))


def test_what_is_not_practised_is_forgotten():
    learner = SyntheticLearner((-1.0,), (0.1,), (1,), forgetting=0.25)
    skill = np.array([[3.0]])
    learner.train(skill, np.zeros((1, 1)))
    assert skill.tolist() == [[2.0]]  # a quarter of the 4 that were gained


@pytest.mark.parametrize("name", LEARNERS)
def test_the_oracles_gain_is_what_training_gains(name):
    learner = LEARNERS[name]
    random = np.random.default_rng(0)
    start = learner.begin(1)
    skill = start + np.where(start > -10, random.uniform(0, 1, start.shape), 0.0)
    counted = np.broadcast_to(learner.learnable, skill.shape)
    gain, success = learner.gain(skill, counted), learner.success(skill)
    for arm in range(skill.shape[1]):
        signal = np.zeros_like(skill)
        signal[0, arm] = 1e-4 * 4 * success[0, arm] * (1 - success[0, arm])  # a ten-thousandth of a problem
        moved, still = skill.copy(), skill.copy()
        learner.train(moved, signal)
        learner.train(still, np.zeros_like(signal))
        difference = (learner.success(moved) - learner.success(still))[counted].sum()
        assert gain[0, arm] == pytest.approx(difference / 1e-4, rel=1e-2, abs=1e-9)


def test_payoffs_by_the_number_of_right_rollouts():
    # 4 of 8 right: every advantage is 1 or -1, and the variance 4 x 4 / (8 x 7); none or all right pay nothing
    assert ADVANTAGE[[0, 4, 8]] == pytest.approx([0, 1, 0], abs=1e-5)
    assert VARIANCE[[0, 4, 8]] == pytest.approx([0, 16 / 56, 0])


def test_rollouts_are_of_the_arms_that_were_drawn_and_noise_flips_them():
    learner = SyntheticLearner((30.0, -30.0), (0.1, 0.1), (1, 2), noise=0.25)
    skill = learner.begin(400)
    probabilities = np.tile([0.75, 0.25], (400, 1))
    payoffs, successes, signal = rollouts(learner, skill, probabilities, ADVANTAGE, np.random.default_rng(0))
    drawn = ~np.isnan(payoffs)
    assert (drawn.sum(axis=(1, 2)) == PROBLEMS).all()
    assert drawn.any(axis=1).sum(axis=1).tolist() == [PROBLEMS] * 400  # every problem is of one arm
    assert drawn[:, 0].sum() / 6400 == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 6400) ** 0.5)
    assert np.nanmean(successes[:, 0]) == pytest.approx(0.75, abs=0.01)
    assert np.nanmean(successes[:, 1]) == pytest.approx(0.25, abs=0.015)
    assert not signal.any()  # beneath the noise nothing varies, so there is nothing to learn


def test_the_oracle_is_not_beaten(compared):
    for policies in compared["learners"].values():
        for name, shown in policies.items():
            assert shown["updates_to_mastery"]["high"] >= policies["oracle"]["updates_to_mastery"]["low"], name
            assert shown["regret"]["high"] >= 0, name


@pytest.mark.parametrize("name", ["variance", "sec", "thompson"])
def test_bandits_leave_dead_arms_to_the_floor_and_master_the_rest_sooner_than_uniform(compared, name):
    policies = compared["learners"]["dead"]
    late = np.array(policies[name]["draws"])[:, 20:]
    assert late[4:].mean() < 0.75 / 8  # four dead arms of eight; uniform gives each 1/8
    assert policies[name]["updates_to_mastery"]["high"] < policies["uniform"]["updates_to_mastery"]["low"]


def test_a_gate_keeps_composites_back_at_first_and_saves_what_they_would_waste(compared):
    policies = compared["learners"]["prerequisites"]
    draws = np.array(policies["gate"]["draws"])
    assert (draws[4:, 0] == 0).all() and (draws[4:, -1] > 0).all()
    assert policies["gate"]["regret"]["high"] < policies["uniform"]["regret"]["low"]


def test_gated_policies_run_where_there_is_something_to_unlock(compared):
    assert "gate" in compared["learners"]["prerequisites"]
    assert "gate" not in compared["learners"]["dead"]


def test_a_seed_gives_the_same_trace_again():
    one, two = (simulate(LEARNERS["dead"], POLICIES["sec"], seeds=3, updates=9, seed=5, floor=0.1) for _ in range(2))
    assert np.array_equal(one.success, two.success) and np.array_equal(one.draws, two.draws)


def test_figures_are_of_the_trace():
    trace = Trace(np.array([3, 4]), np.array([True, False]), np.array([[0.2, 0.4], [0.6, 0.4]]), np.array([[0.5, 0.5]]))
    oracle = Trace(np.array([2, 2]), np.array([True, True]), np.full((2, 2), 0.7), np.array([[0.5, 0.5]]))
    shown = figures(trace, oracle)
    assert shown["updates_to_mastery"] == {"value": 3.5, "low": 3.0, "high": 4.0}
    assert shown["mastered"] == 0.5
    assert shown["final_success"]["value"] == pytest.approx(0.5)
    assert shown["regret"] == pytest.approx({"value": 0.3, "low": 0.3, "high": 0.3})
    assert shown["draws"] == [[0.5], [0.5]]


def test_the_interval_covers_a_known_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    found = [interval(random.exponential(size=60)) for _ in range(200)]
    assert 0.87 <= np.mean([one["low"] <= 1.0 <= one["high"] for one in found]) <= 0.99


def test_the_sweep_has_every_pair_and_its_own_defaults_figures():
    points = sweep_sec(("saturated",), seeds=4, updates=20)["saturated"]
    assert [(point["alpha"], point["tau"]) for point in points] == [(a, t) for a in ALPHAS for t in TAUS]
    alone = bench_curriculum(("saturated",), ("sec",), seeds=4, updates=20)["learners"]["saturated"]["sec"]
    default = next(point for point in points if (point["alpha"], point["tau"]) == (0.5, 0.4))
    assert default["regret"] == alone["regret"]


def test_figures_are_json_and_their_table_fits_a_narrow_terminal(compared):
    assert json.loads(json.dumps(compared)) == compared
    points = [
        {"alpha": alpha, "tau": tau, "regret": {"value": 0.123}, "updates_to_mastery": {"value": 9.0}}
        for alpha in ALPHAS
        for tau in TAUS
    ]
    text = io.StringIO()
    Console(file=text, width=80).print(render({**compared, "sweep": {"prerequisites": points}}))
    lines = text.getvalue().splitlines()
    shown = compared["learners"]["dead"]["sec"]["updates_to_mastery"]
    assert any(f"{shown['value']:.0f} [{shown['low']:.0f}, {shown['high']:.0f}]" in line for line in lines)
    assert sum(line.startswith("alpha") and line.split()[2:] == ["12.3"] * len(TAUS) for line in lines) == len(ALPHAS)
    rows = [line for line in lines if line.split()[:1] in (["oracle"], ["gate+sec"])]
    assert len(rows) == 4 and all(line.rstrip().endswith("]") for line in rows)


def test_the_heat_maps_show_every_policy_on_every_learner(compared, tmp_path):
    maps = heat_maps(compared)
    assert len(maps.data) == sum(len(policies) for policies in compared["learners"].values())
    assert np.array(maps.data[0].z).tolist() == compared["learners"]["prerequisites"]["uniform"]["draws"]
    write_plot(compared, tmp_path / "draws.html")
    page = (tmp_path / "draws.html").read_text(encoding="utf-8")
    assert "<script src=" not in page and "gate+sec" in page


def test_a_plot_that_could_not_be_written_is_refused_first(tmp_path):
    with pytest.raises(UserError, match=r"draws.png: .* a file that ends in .html"):
        check_plot_path(tmp_path / "draws.png")
    with pytest.raises(UserError, match="there is no folder"):
        check_plot_path(tmp_path / "none" / "draws.html")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--learner", "ded"], "--learner 'ded' is not one of .*; did you mean 'dead'"),
        (["--policy", "sek"], "--policy 'sek' is not one of .*; did you mean 'sec'"),
    ],
)
def test_unknown_names_are_refused(option, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rlreason", "bench", "curriculum", *option])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert re.search(words, " ".join(capsys.readouterr().err.split()))


def test_the_command_prints_json(monkeypatch, capsys):
    options = ["--learner", "coin", "--policy", "uniform", "--seeds", "2", "--updates", "3", "--json"]
    monkeypatch.setattr(sys, "argv", ["rlreason", "bench", "curriculum", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["learners"]["coin"]) == ["uniform", "oracle"]
    assert printed["setting"]["group"] == GROUP and printed["setting"]["mastered"] == MASTERED
