import pytest

from rlreason.algorithms.schedules import learning_rate_at


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        # 4 updates after warm-up: (4 - done) / 4 for done 0, 1, 2, 3; zero would be update 7
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        # (1 + cos(pi done / 4)) / 2
        ("cosine", [0.5, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
    ],
)
def test_rates_worked_by_hand(schedule, expected):
    rates = [learning_rate_at(update, 6, 1.0, 2, schedule) for update in range(1, 7)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_it_reaches_zero_one_update_after_the_last(schedule):
    assert learning_rate_at(11, 10, 3.0, 0, schedule) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate_at(1, 10, 3.0, 0, schedule) == 3.0


def test_a_stage_that_is_all_warm_up_never_divides_by_zero():
    assert [learning_rate_at(update, 2, 1.0, 2, "linear") for update in (1, 2)] == [0.5, 1.0]
