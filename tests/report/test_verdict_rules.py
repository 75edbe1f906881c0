"""Evidence worked by hand, and how each clause reads it."""

from dataclasses import replace

import numpy as np
import pytest

from rlreason.records.documents import PlanVerdict
from rlreason.report.statistics import Estimate, PairedDifference
from rlreason.report.statistics_effects import effect_sizes
from rlreason.report.verdict_evidence import (
    Control,
    Course,
    Derivations,
    Evidence,
    Reach,
    SplitHalf,
    Tally,
    control,
    course,
    derivations,
    reach,
    split_half,
    with_corrected,
)
from rlreason.report.verdict_rules import REQUIRED, decide, read_clauses

RULES = PlanVerdict()


def tally(samples: int, *solved: int) -> Tally:
    return Tally(np.full((1, len(solved)), samples), np.array([solved]))


def gap(value: float, low: float, high: float, p: float = 0.001) -> PairedDifference:
    return PairedDifference(Estimate(value, low, high), p, p, "t", 0.5, 0.1)


WIDE = Estimate(0.0, -0.02, 0.02)
ONES = np.ones((1, 4))
CONVINCING = Evidence(
    seeds=(0, 1, 2),
    problems=100,
    samples=16,
    arm={1: 0.5, 16: 0.8},
    base={1: 0.2, 16: 0.4},
    course=Course({1: gap(0.3, 0.2, 0.4), 16: gap(0.4, 0.3, 0.5)}, Estimate(0.02, -0.01, 0.05)),
    effects=effect_sizes(ONES, ONES),
    split_half=SplitHalf(50.0, 8, 8, 0.6, 0.02, 0.1, Estimate(0.58, 0.5, 0.6), Estimate(0.5, 0.4, 0.6)),
    controls=(Control("rft", gap(0.1, 0.05, 0.15), gap(0.2, 0.1, 0.3)),),
    derivations=Derivations(Estimate(0.95, 0.9, 0.97), gap(0.4, 0.3, 0.5)),
    prerequisites={"facts": Estimate(0.95, 0.9, 0.97)},
    chance=0.01,
)


def verdict(found: Evidence, rules: PlanVerdict = RULES) -> str:
    return decide(read_clauses(found, rules), len(found.seeds), rules).label


def test_the_course_of_the_gap_is_worked_by_hand():
    # of 4 samples the arm solves 4 and 0, the base 1 and 0: gaps at k 1, 2, 4 are (.75, 0), (.5, 0), (0, 0)
    found = course(tally(4, 4, 0), tally(4, 1, 0), [1, 2, 4], 0.05)
    assert [each.difference.value for each in found.gaps.values()] == pytest.approx([0.375, 0.25, 0.0])
    assert found.slope is not None
    assert found.slope.value == pytest.approx((0.0 - 0.375) / 2)  # half the way over two doublings
    assert course(tally(4, 4), tally(4, 1), [2], 0.05).slope is None


def test_the_split_half_test_is_worked_by_hand():
    # even samples of the base: 0, 0, 2, 1 of 2; odd: 0, 1, 2, 0. The arm: 2, 4, 4, 0 of 4
    halves = (tally(2, 0, 0, 2, 1), tally(2, 0, 1, 2, 0))
    found = split_half(tally(4, 2, 4, 4, 0), halves, None, 0.05)
    assert found is not None
    # unsolved by the even ones: problems 0, 1, where the odd ones get 0, 1 of 2; by the odd ones: 0, 3, the even 0, 1
    assert (found.unsolved, found.half, found.tries) == (2.0, 2, 2)
    assert (found.arm, found.base_one, found.base_many) == (0.5, 0.25, 0.5)
    assert (found.lead_one.value, found.lead_many.value) == pytest.approx((0.25, 0.0))
    fewer = split_half(tally(4, 2, 4, 4, 0), halves, 1, 0.05)
    assert fewer is not None and (fewer.tries, fewer.lead_many) == (1, fewer.lead_one)


def test_there_is_no_split_half_test_without_unsolved_problems_or_with_one_sample():
    assert split_half(tally(4, 4), (tally(2, 2), tally(2, 1)), None, 0.05) is None
    assert split_half(tally(1, 1), (tally(1, 0), tally(0, 0)), None, 0.05) is None


def test_what_right_answers_rest_on_is_counted():
    # 4 samples: 3 and 1 answers right, of these 3 and 0 with right steps
    found = derivations(tally(4, 3, 0), tally(4, 0, 0), np.array([[3, 1]]), 1, 0.05)
    assert found.share is not None and found.share.value == 0.75
    assert found.gap.difference.value == pytest.approx(3 / 8)
    assert derivations(tally(4, 0), tally(4, 0), np.array([[0]]), 1, 0.05).share is None


def test_controls_are_corrected_for_their_number_at_the_largest_k():
    arm = tally(4, *[4] * 6, *[0] * 6)
    found = with_corrected(
        [control("a", arm, tally(4, *[0] * 12), 4, 0.05), Control("b", reason="not evaluated"),
         control("c", arm, tally(4, *[4] * 5, *[0] * 7), 4, 0.05)]
    )  # fmt: skip
    # McNemar: 6 of 6 is p 2 / 64, twice by Holm; 1 of 1 is p 1
    assert [each.at_most and each.at_most.p_corrected for each in found] == [pytest.approx(0.0625), None, 1.0]


def test_convincing_evidence_is_synthesis():
    clauses = read_clauses(CONVINCING, RULES)
    assert {name: clause.holds for name, clause in clauses.items()} == dict.fromkeys(REQUIRED, True) | {"reach": None}
    assert verdict(CONVINCING) == "synthesis"


CLOSING = replace(
    CONVINCING, course=Course({1: gap(0.3, 0.2, 0.4), 16: gap(0.0, -0.03, 0.03)}, Estimate(-0.1, -0.12, -0.08))
)


def test_a_gap_that_closes_is_amplification_unless_guessing_closes_it():
    assert verdict(CLOSING) == "amplification"
    assert verdict(replace(CLOSING, chance=0.5)) == "not enough evidence"
    assert verdict(replace(CLOSING, controls=(), derivations=None, prerequisites=None)) == "amplification"


def test_no_gap_at_any_k_is_no_gain_and_a_gap_that_could_be_either_is_not():
    flat = Course({1: gap(0.0, -0.03, 0.03), 16: gap(-0.1, -0.2, 0.0)}, WIDE)
    assert verdict(replace(CONVINCING, course=flat)) == "no gain"
    unclear = Course({1: gap(0.02, -0.03, 0.07), 16: gap(-0.1, -0.2, 0.0)}, WIDE)
    assert verdict(replace(CONVINCING, course=unclear)) == "not enough evidence"


@pytest.mark.parametrize(
    ("change", "clause", "holds", "said"),
    [
        ({"course": Course({1: gap(0.3, 0.2, 0.4), 16: gap(0.2, 0.1, 0.3)}, Estimate(-0.03, -0.05, -0.01))},
         "gap", None, "the gap still narrows at k = 16"),
        ({"course": Course({1: gap(0.3, 0.2, 0.4)}, None)}, "gap", None, "measured at one k alone"),
        ({"split_half": None}, "unsolved", None, "problems that the base leaves unsolved"),
        ({"split_half": replace(CONVINCING.split_half, unsolved=9.0)}, "unsolved", None, "unsolved: 9 of 10 a seed"),
        ({"split_half": replace(CONVINCING.split_half, lead_many=WIDE)}, "unsolved", None,
         "amplification by 8 would do"),
        ({"split_half": replace(CONVINCING.split_half, lead_many=Estimate(-0.3, -0.4, -0.2))}, "unsolved", False,
         "amplification by 8 would do"),
        ({"controls": ()}, "controls", None, "matched controls"),
        ({"controls": (Control("rft", gap(0.0, -0.1, 0.1), gap(0.02, -0.05, 0.09, 0.5)),)}, "controls", None,
         "a lead over the control rft: +2.0"),
        ({"controls": (Control("rft", gap(0.0, -0.1, 0.1), gap(-0.2, -0.3, -0.1)),)}, "controls", False,
         "a lead over the control rft: \N{MINUS SIGN}20.0"),
        ({"controls": (Control("rft", reason="not evaluated"),)}, "controls", None, "the control rft: not evaluated"),
        ({"derivations": None}, "derivations", None, "derivations that the task can check"),
        ({"derivations": Derivations(Estimate(0.3, 0.2, 0.4), gap(0.1, 0.06, 0.2))}, "derivations", False, "30.0%"),
        ({"derivations": Derivations(None, gap(0.0, -0.1, 0.1))}, "derivations", None, "right answers"),
        ({"prerequisites": {}}, "prerequisites", None, "probes of the skills"),
        ({"prerequisites": {"facts": Estimate(0.5, 0.4, 0.6)}}, "prerequisites", False, "mastery of facts by the base"),
        ({"prerequisites": {"facts": None}}, "prerequisites", None, "the probe facts of the base"),
        ({"chance": None}, "guessing", None, "the chance of guessing"),
        ({"chance": 0.6}, "guessing", False, "16 guesses solve 60.0%"),
        ({"reach": Reach((-3.0,), 1024, 20.0, Estimate(0.9, 0.8, 0.95))}, "reach", False, "out of the base's reach"),
    ],
)  # fmt: skip
def test_each_clause_alone_keeps_synthesis_from_being_said_and_says_what_is_missing(change, clause, holds, said):
    found = replace(CONVINCING, **change)
    clauses = read_clauses(found, RULES)
    assert clauses[clause].holds is holds
    assert said in clauses[clause].lacking
    decision = decide(clauses, 3, RULES)
    assert decision.label == "not enough evidence"
    assert decision.missing == (clauses[clause].lacking,)


def test_derivations_out_of_the_base_s_reach_do_not_stand_in_the_way():
    far = replace(CONVINCING, reach=Reach((-30.0, -40.0), 1024, 20.0, Estimate(0.1, 0.05, 0.2)))
    assert read_clauses(far, RULES)["reach"].holds is True
    assert verdict(far) == "synthesis"


def test_reach_is_not_told_from_a_few_problems():
    few = replace(CONVINCING, reach=Reach((-3.0,), 1024, 9.0, Estimate(0.9, 0.8, 0.95)))
    assert read_clauses(few, RULES)["reach"].holds is None


def test_reach_is_asked_of_what_the_base_left_unsolved_alone():
    # two seeds, four problems; the base solves the first now and then, and of the last nothing was derived
    base = Tally(np.full((2, 4), 8), np.array([[3, 0, 0, 0], [3, 0, 1, 0]]))
    logprobs = np.array([[-1.0, -2.0, -9.0, np.nan], [-1.0, -2.0, -9.0, np.nan]])
    found = reach(logprobs, base, 1024, 0.05)
    assert found is not None
    assert sorted(found.logprobs) == [-9.0, -2.0, -2.0]
    assert (found.problems, found.within.value) == (1.5, pytest.approx(2 / 3))
    assert reach(np.full((2, 4), np.nan), base, 1024, 0.05) is None


def test_judged_by_derivations_guessed_answers_do_not_count():
    rules = PlanVerdict(outcome="derivation")
    found = replace(CONVINCING, chance=0.9, derivations=Derivations(Estimate(0.3, 0.2, 0.4), gap(0.4, 0.3, 0.5)))
    assert verdict(found, rules) == "synthesis"
    assert verdict(found) == "not enough evidence"


@pytest.mark.parametrize(("found", "without"), [(CONVINCING, "synthesis"), (CLOSING, "amplification")])
def test_too_few_seeds_cap_the_verdict_and_say_what_it_would_have_been(found, without):
    alone = replace(found, seeds=(0,))
    decision = decide(read_clauses(alone, RULES), 1, RULES)
    assert (decision.label, decision.capped) == ("not enough evidence", without)
    assert decision.missing[0] == "seeds: 1 of the 3 that the rules ask for"


def test_thresholds_are_those_of_the_rules():
    assert verdict(CONVINCING, PlanVerdict(minimal_gap=0.35)) == "not enough evidence"
    assert verdict(CONVINCING, PlanVerdict(mastery=0.93)) == "not enough evidence"
    assert verdict(CONVINCING, PlanVerdict(minimal_unsolved=60)) == "not enough evidence"
