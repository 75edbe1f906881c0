import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.seeding import derive_seed
from rlreason.engines.protocols import SamplingSettings
from rlreason.stages.batches import sampled_mask
from rlreason.stages.rollouts import complete, rollout_columns, score
from tests.stages.parrot import ask, parrot_context


def settings(budget: int = 20) -> SamplingSettings:
    return SamplingSettings(1.0, 1.0, budget)


def text_of(tokens) -> str:
    return "".join(map(chr, tokens.tolist()))


def test_two_episodes_worked_by_hand():
    context = parrot_context({"x?": "ab.", "x?ab.AB": "bye.", "y?": "bye."})
    (first,), (second,) = complete(context, [ask("x?"), ask("y?")], [[11], [22]], settings())
    # tokens are kept as they were sampled, end tokens and all, and the answers stand between them
    assert text_of(first.prompt_tokens) == "x?" and text_of(first.tokens) == "ab.ABbye."
    assert first.loss_mask is not None and first.loss_mask.tolist() == [True] * 3 + [False] * 2 + [True] * 4
    assert first.generator_logprobs.tolist() == [-1, -2, -3, 0, 0, -1, -2, -3, -4]
    assert (first.text, first.turns, first.finish_reason, first.failure) == ("abABbye", ("ab", "bye"), "stop", "")
    assert (text_of(second.tokens), second.turns, second.finish_reason) == ("bye.", ("bye",), "stop")
    # the first request is of version 7, and so is what began then
    assert (first.policy_version, second.policy_version, first.seed, second.seed) == (7, 7, 11, 22)
    assert first.sampled_tokens == 7
    # all unfinished episodes go together, each turn with a seed of its own and what is left of the budget
    assert context.engines.generator.asked == [
        (["x?", "y?"], [derive_seed(11, 0), derive_seed(22, 0)], 20, False),
        (["x?ab.AB"], [derive_seed(11, 1)], 15, True),
    ]


def test_a_turn_that_the_budget_cuts_off_ends_the_episode():
    context = parrot_context({"x?": "ab.", "x?ab.AB": "cdefg."})
    ((episode,),) = complete(context, [ask("x?")], [[0]], settings(8))
    assert (text_of(episode.tokens), episode.turns, episode.finish_reason) == ("ab.ABcde", ("ab", "cde"), "length")


def test_an_answer_that_leaves_no_room_for_a_turn_ends_the_episode():
    script = {"x?": "ab.", "x?ab.AB": "bye."}
    ((episode,),) = complete(parrot_context(script), [ask("x?")], [[0]], settings(5))
    assert (text_of(episode.tokens), episode.turns, episode.finish_reason) == ("ab.", ("ab",), "length")
    ((episode,),) = complete(parrot_context(script), [ask("x?")], [[0]], settings(6))
    assert (text_of(episode.tokens), episode.finish_reason) == ("ab.ABb", "length")


def test_an_episode_with_less_left_than_another_keeps_to_its_own_budget():
    # after the first turns 10 - 8 = 2 tokens are left here, 10 - 4 = 6 there
    context = parrot_context({"x?": "abc.", "x?abc.ABC": "bye.", "y?": "a.", "y?a.A": "bye."})
    (short,), (long,) = complete(context, [ask("x?"), ask("y?")], [[0], [0]], settings(9))
    assert (text_of(short.tokens), short.finish_reason) == ("abc.ABCby", "length")
    assert (text_of(long.tokens), long.finish_reason) == ("a.Abye.", "stop")
    assert context.engines.generator.asked[1][2] == 6


def test_the_last_turn_is_not_answered():
    context = parrot_context({"x?": "a.", "x?a.A": "b."}, max_turns=2)
    ((episode,),) = complete(context, [ask("x?")], [[0]], settings())
    assert (episode.text, episode.turns, episode.finish_reason) == ("aAb", ("a", "b"), "stop")


def test_an_empty_turn_is_a_turn():
    context = parrot_context({"x?": ".", "x?.": "bye."})
    ((episode,),) = complete(context, [ask("x?")], [[0]], settings())
    assert (episode.turns, episode.text) == (("", "bye"), "bye")
    assert episode.loss_mask is not None and episode.loss_mask.all()


def test_what_an_environment_cannot_answer_is_not_scored():
    context = parrot_context({"x?": "fail.", "y?": "a.", "y?a.A": "bye."})
    problems = [ask("x?"), ask("y?")]
    failed, fine = score(context, problems, complete(context, problems, [[1], [2]], settings()))
    assert failed.rollouts[0].score.reward is None
    assert failed.rollouts[0].score.failure == "CheckFailed: raised ValueError"
    assert fine.rollouts[0].score.reward == 2.0


def test_a_task_of_one_turn_goes_beside_the_others_as_it_ever_did():
    context = parrot_context({"x?": "a.", "x?a.A": "bye.", "y?": "abc."})
    problems = [ask("y?", "once"), ask("x?"), ask("y?", "once")]
    (one,), (episode,), (two, three) = complete(context, problems, [[1], [2], [3, 4]], settings(3))
    assert context.engines.generator.asked[0] == (["y?", "y?", "y?"], [1, 3, 4], 3, False)
    assert [text_of(each.tokens) for each in (one, two, three)] == ["abc"] * 3
    assert (one.loss_mask, one.turns, one.seed, two.seed, three.seed) == (None, (), 1, 3, 4)
    assert (text_of(episode.tokens), episode.finish_reason) == ("a.", "length")
    groups = score(context, problems, [[one], [episode], [two, three]])
    assert [rollout.score.reward for group in groups for rollout in group.rollouts] == [0.5, 1.0, 0.5, 0.5]


def test_records_count_what_was_sampled_and_keep_the_turns():
    context = parrot_context({"x?": "ab.", "x?ab.AB": "bye.", "y?": "abc."})
    problems = [ask("x?"), ask("y?", "once")]
    groups = score(context, problems, complete(context, problems, [[1], [2]], settings()))
    columns = rollout_columns("rl", 1, groups, np.zeros((2, 1)), 0.0)
    assert columns["turns"] == [json.dumps(["ab", "bye"]), None]
    assert columns["tokens"] == [7, 4]
    assert columns["logprob"] == [-(1 + 2 + 3) - (1 + 2 + 3 + 4), -(1 + 2 + 3 + 4)]
    assert [len(tokens) for tokens in columns["completion_tokens"]] == [9, 4]


word = st.text("ab", max_size=4)


@pytest.mark.timeout(60)
@given(st.lists(word, min_size=1, max_size=5), st.integers(2, 5), st.integers(1, 25))
def test_an_episode_is_what_was_said_within_its_budget_and_turns(words, max_turns, budget):
    script, so_far = {}, "?"
    for said in [*words, "bye"]:
        script[so_far] = f"{said}."
        so_far += f"{said}.{said.upper()}"
    ((episode,),) = complete(parrot_context(script, max_turns), [ask("?")], [[0]], settings(budget))
    assert episode.loss_mask is not None and 0 < len(episode.tokens) <= budget and len(episode.turns) <= max_turns
    assert len(episode.tokens) == len(episode.generator_logprobs) == len(episode.loss_mask)
    own, read = episode.tokens[episode.loss_mask], episode.tokens[~episode.loss_mask]
    assert text_of(own).replace(".", "") == "".join(episode.turns) and text_of(own).islower() | (not any(episode.turns))
    assert text_of(read) == "".join(words[: len(episode.turns) - 1]).upper()
    assert (episode.generator_logprobs == 0).tolist() == (~episode.loss_mask).tolist()
    if episode.finish_reason == "stop":
        assert episode.turns == (*words, "bye")[:max_turns]
    assert sampled_mask([episode]).tolist() == [episode.loss_mask.tolist()]
