import math

from rlreason.watch.series import Series


def told(*lines: dict) -> Series:
    series = Series()
    for line in lines:
        series.add({"stage": "rl-0", **line})
    return series


def test_an_update_that_comes_again_replaces_itself_and_what_followed():
    lines = [{"update": update, "loss": float(update)} for update in (1, 2, 3, 4)]
    series = told(*lines, {"update": 3, "loss": 30.0})
    assert list(series.updates) == [1, 2, 3]
    assert list(series.columns["loss"]) == [1.0, 2.0, 30.0]


def test_a_metric_that_comes_late_or_is_undefined_leaves_gaps():
    series = told({"update": 1, "loss": 1.0}, {"update": 2, "loss": None, "reward_mean": 0.5}, {"update": 3})
    assert series.thinned("reward_mean", 10) == ([1, 2, 3], [None, 0.5, None])
    assert series.thinned("loss", 10) == ([1, 2, 3], [1.0, None, None])
    assert series.newest("loss") == 1.0
    assert math.isnan(series.newest("entropy"))


def test_a_thinned_curve_is_made_of_means():
    # seven updates on three points: three, three and one update each
    series = told(*({"update": update, "loss": float(update)} for update in range(1, 8)))
    assert series.thinned("loss", 3) == ([3, 6, 7], [2.0, 5.0, 7.0])


def test_a_line_without_an_update_is_passed_over():
    series = told({"loss": 1.0}, {"update": None, "loss": 1.0}, {"update": 1, "loss": "high"})
    assert list(series.updates) == [1]
    assert math.isnan(series.newest("loss"))
