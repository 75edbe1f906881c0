"""A stranger's environment in a real worker of the pool: its rewards run, its episodes are answered, it may fail."""

from pathlib import Path

import pytest

from rlreason.recipe.schema import Reward, Rubric
from rlreason.rewards.pool import ScoringPool
from rlreason.tasks import task_spec
from rlreason.tasks.verifiers import Verifiers, VerifiersParameters
from tests.tasks.verifiers_packages import GUESS, SUMS, install

RUBRIC = Rubric(parts=(Reward(spec="rlreason.rewards.builtin:environment"),), workers=1)


def test_rewards_and_episodes_of_an_environment_run_in_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "pool-sums", SUMS.replace("float(len(", "float(len(str(1 // len(trace.last_reply))) * len("))
    install(tmp_path, "pool-guess", GUESS)
    sums = Verifiers("sums", VerifiersParameters(environment="pool-sums"))
    guess = Verifiers("guess", VerifiersParameters(environment="pool-guess"))
    added, guessed = sums.problem("train", "pool-sums/1", 0), guess.problem("train", "pool-guess/1", 0)
    with ScoringPool(RUBRIC, {task.name: task_spec(task) for task in (sums, guess)}) as pool:
        right, wrong, failed = pool.score([(added, text) for text in (added.answer, "1234", "")])
        assert (right.reward, right.correct, right.parts["environment"]) == (1.0, True, 1.0)
        assert (wrong.reward, wrong.correct, wrong.derivation_correct) == (0.0, False, None)
        assert failed.reward is None and "row" in failed.failure and "ZeroDivisionError" in failed.failure
        waiting, over = pool.respond([(guessed, ["0"]), (guessed, ["0"] * 4)])
        assert (waiting.observation, waiting.done) == ("\nUser: higher\nAssistant:", False)
        assert (over.observation, over.done) == ("", True)
        (played,) = pool.score([(guessed, "0 please")], turns=[["0 please"]])
        assert (played.reward, played.correct) == (0.5, False)
