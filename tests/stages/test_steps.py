import numpy as np
import pytest

from rlreason.engines.codec import TextCodec
from rlreason.engines.scratch import make_model
from rlreason.errors import ScoringFailed
from rlreason.recipe.schema import Architecture
from rlreason.stages.steps import step_batch, token_credit
from rlreason.types import Group, Score, Step, StepScore
from tests.stages.groups import config, group

TEXT = "Ada boss Bo. Bo boss Ada. end"
STEPS = ((0, 12), (13, 25))
"""Characters of the two sentences; in tokens 0 to 4 and 4 to 8, " end" is behind them."""


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> TextCodec:
    architecture = Architecture(layers=1, width=32, heads=1, max_positions=64)
    words = ("Ada", "Bo", "boss", ".", "end")
    return TextCodec(make_model(tmp_path_factory.mktemp("model"), architecture, words, seed=0))


def make_group(codec: TextCodec, *scored: tuple[float | None, tuple[float, ...]]) -> Group:
    """A rollout of TEXT for each (reward, step scores of the check)."""
    (tokens,) = codec.encode([TEXT])
    rollouts = []
    for reward, scores in scored:
        steps = tuple(Step(*span, "right", score=each) for span, each in zip(STEPS, scores, strict=False))
        own = {"mine": tuple(StepScore(step.start, step.end, 1 - step.score) for step in steps)}
        rollouts.append((tokens.tolist(), Score(reward, steps=steps, step_scores=own)))
    return group("a", *rollouts)


def credit_of(codec, made: Group, advantages, **credit) -> list[list[float]]:
    scored = np.array([[rollout.score.reward is not None for rollout in made.rollouts]])
    found = token_credit(codec, [made], np.array([advantages]), scored, config(credit=credit))
    return found[0].tolist()


def test_outcome_credit_is_the_completions_advantage_at_every_token(codec):
    made = make_group(codec, (1.0, ()), (None, ()))
    assert credit_of(codec, made, [0.5, 7.0], type="outcome") == [[0.5] * 9, [0.0] * 9]


def test_process_return_credit_adds_the_normalised_scores_of_own_and_later_steps(codec):
    made = make_group(codec, (1.0, (1.0, 0.0)), (0.0, (1.0, 0.0)), (None, (0.5, 0.5)))
    # scores 1, 0, 1, 0 of the scored rollouts: +1 and -1; the unscored one has no say in the mean, and gets nothing
    found = credit_of(codec, made, [0.5, -0.5, 0.0], type="process_return", steps="symbolic", weight=2.0)
    assert found == [[0.5] * 4 + [-1.5] * 4 + [0.5], [-0.5] * 4 + [-2.5] * 4 + [-0.5], [0.0] * 9]


def test_first_error_credit_praises_nothing_from_the_first_wrong_step_on(codec):
    made = make_group(codec, (1.0, (1.0, 0.4)), (0.0, (1.0, 0.4)))
    found = credit_of(codec, made, [1.0, -1.0], type="first_error", steps="symbolic")
    assert found == [[1.0] * 4 + [0.0] * 5, [-1.0] * 9]


def test_the_recipe_chooses_whose_step_scores_count(codec):
    # "mine" pays 0 where the check pays 1
    made = make_group(codec, (1.0, (1.0, 0.0)), (1.0, (1.0, 1.0)))
    found = credit_of(codec, made, [1.0, 1.0], type="first_error", steps="mine")
    assert found == [[0.0] * 9, [0.0] * 9]


def test_credit_by_steps_that_nobody_scored_is_an_error_that_says_so(codec):
    with pytest.raises(
        ScoringFailed, match=r"'process_return' needs step scores, and 'other' gave none.*set to symbolic|symbolic"
    ):
        credit_of(codec, make_group(codec, (1.0, (1.0,))), [1.0], type="process_return", steps="other")


def test_a_step_batch_holds_the_steps_of_the_check_in_tokens(codec):
    batch = step_batch(codec, make_group(codec, (1.0, (1.0, 0.0)), (1.0, ()), (1.0, (1.0,))).rollouts)
    assert batch.counts.tolist() == [2, 0, 1]
    assert list(zip(batch.starts.tolist(), batch.ends.tolist(), strict=True)) == [(0, 4), (4, 8), (0, 4)]
    assert batch.prompt_lengths.tolist() == [2, 2, 2] and batch.lengths.tolist() == [9, 9, 9]
    assert len(batch.tokens) == 33
