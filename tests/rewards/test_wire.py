"""What travels to a worker and back arrives as it was sent."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st
from toy_task import toy_problem

from rlreason.rewards.grading import Judgement, Request
from rlreason.rewards.wire import pack_judgements, pack_requests, unpack_judgements
from rlreason.types import DerivationCheck, Score, Step, StepScore

spans = st.integers(0, 99)
numbers = st.floats(allow_nan=False, allow_infinity=False)
steps = st.builds(Step, spans, spans, st.sampled_from(["right", "wrong"]), st.text(), numbers)
step_scores = st.dictionaries(st.just("steps"), st.lists(st.builds(StepScore, spans, spans, numbers)).map(tuple))
checks = st.builds(
    DerivationCheck,
    *(st.none() | st.text(), st.booleans(), st.booleans(), st.lists(steps).map(tuple), st.none() | spans, st.text()),
)
scores = st.builds(
    Score,
    numbers,
    correct=st.none() | st.booleans(),
    parts=st.dictionaries(st.text(), numbers),
    step_scores=step_scores,
)
judgements = st.builds(
    Judgement, st.none() | checks, st.dictionaries(st.text(), scores | st.builds(Score, numbers)), st.text()
)


@given(st.lists(judgements))
def test_judgements_come_back_as_they_were(judged):
    assert unpack_judgements(pack_judgements(judged)) == judged


def test_requests_arrive_as_they_were_and_a_group_still_shares_its_problem():
    first, second = toy_problem(0), toy_problem(1)
    sent = [Request(first, "a"), Request(first, "\udcff"), Request(second, "b", "PluginRaised: x")]
    arrived = pickle.loads(pack_requests(sent))
    assert arrived == sent
    assert arrived[0].problem is arrived[1].problem is not arrived[2].problem
