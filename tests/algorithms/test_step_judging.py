import math

import numpy as np
import pytest

from rlreason.algorithms.step_judging import judge_steps

# derivation 3: first error at step 1, called at 1; derivation 5: right, one step called wrong; 6: right and called so;
# 9: first error at 0, called at 1
DERIVATION = [3, 3, 3, 5, 5, 6, 9, 9]
RIGHT = [1, 0, 0, 1, 1, 1, 0, 0]
CALLED = [1, 0, 1, 1, 0, 1, 1, 0]


def figures(derivation=DERIVATION, right=RIGHT, called=CALLED):
    return judge_steps(np.array(derivation), np.array(right, dtype=bool), np.array(called, dtype=bool))


def test_figures_worked_by_hand():
    found = figures()
    assert (found.steps, found.derivations, found.wrong) == (8, 4, 4 / 8)
    # called wrong: three steps, two of them wrong; wrong: four
    assert (found.precision, found.recall) == (2 / 3, 2 / 4)
    assert found.f1 == pytest.approx(2 * 2 / (3 + 4))
    assert (found.first_error_accuracy, found.correct_accuracy) == (1 / 2, 1 / 2)
    assert found.process_f1 == 1 / 2


def test_a_scorer_that_calls_nothing_wrong_has_no_precision_and_an_f1_of_nought():
    found = figures(called=[1] * 8)
    assert math.isnan(found.precision) and (found.recall, found.f1) == (0.0, 0.0)
    assert (found.first_error_accuracy, found.correct_accuracy, found.process_f1) == (0.0, 1.0, 0.0)


def test_a_scorer_that_calls_everything_wrong_finds_first_errors_only_at_the_start():
    found = figures(called=[0] * 8)
    assert (found.first_error_accuracy, found.correct_accuracy, found.process_f1) == (1 / 2, 0.0, 0.0)


def test_a_first_error_is_in_its_own_derivation():
    # neighbours with the same flags are not one derivation
    found = figures([1, 2], [0, 0], [0, 0])
    assert (found.derivations, found.first_error_accuracy) == (2, 1.0)
    assert math.isnan(found.correct_accuracy) and math.isnan(found.process_f1)


def test_no_steps_leave_everything_undefined():
    found = judge_steps(np.zeros(0, int), np.zeros(0, bool), np.zeros(0, bool))
    assert (found.steps, found.derivations) == (0, 0) and math.isnan(found.f1)
