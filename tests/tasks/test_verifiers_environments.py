import random
from pathlib import Path
from typing import Any

import pytest

from rlreason.errors import TaskError
from rlreason.rewards import builtin
from rlreason.tasks import Task
from rlreason.tasks.environment import replay
from rlreason.tasks.verifiers import Verifiers, VerifiersParameters
from tests.tasks.verifiers_packages import GUESS, SUMS, install


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the packages sums and guess."""
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "toy-sums", SUMS)
    install(tmp_path, "toy-guess", GUESS)
    return tmp_path


def build(environment: str, **parameters: Any) -> Task:
    return Verifiers("theirs", VerifiersParameters(environment=environment, **parameters))


def problems(task: Task, level: str, count: int) -> list:
    return [task.problem(level, task.cells[0].name, index) for index in range(count)]


def test_rows_are_problems_and_a_tenth_is_held_out(packages: Path):
    task = build("toy-sums")
    train, test = problems(task, "train", 18), problems(task, "test", 2)
    prompts = {problem.prompt for problem in train + test}
    assert prompts == {f"{i} + 1 =" for i in range(20)}  # 18 and 2 of 20, none on both sides
    assert task.problem("train", "toy-sums/1", 18) == train[0]  # wraps around: the same problem again
    assert (train[0].id, train[0].task, train[0].cell) == ("train/toy-sums-1/0", "theirs", "toy-sums/1")
    assert int(train[0].answer) == int(train[0].prompt.split()[0]) + 1
    assert [problem.prompt for problem in problems(build("toy-sums"), "test", 2)] == [one.prompt for one in test]


def test_the_weighted_rewards_are_paid_and_told_apart(packages: Path):
    task = build("toy-sums")
    problem = task.problem("train", "toy-sums/1", 0)
    right = task.check(problem, problem.answer)
    # 0.75 x right + 0.25 x short
    assert (right.reward, right.parts, right.answer_correct) == (1.0, {"right": 1.0, "short": 1.0}, True)
    wrong = task.check(problem, " 99 ")
    assert (wrong.reward, wrong.parts, wrong.answer_correct) == (0.25, {"right": 0.0, "short": 1.0}, False)
    assert (wrong.answer, wrong.derivation_correct, wrong.steps) == ("99", None, ())
    assert builtin.environment(problem, "99", wrong) == {"reward": 0.25, "parts": wrong.parts}
    assert task.check(problem, "").answer is None
    assert build("toy-sums", right_from=0.25).check(problem, "99").answer_correct


def test_a_system_message_makes_the_roles_be_told(packages: Path):
    task = build("toy-sums", arguments={"politely": True, "first": 5})
    prompts = {problem.prompt for problem in problems(task, "train", 18) + problems(task, "test", 2)}
    assert prompts == {f"System: Answer with a number.\nUser: {i} + 1 =\nAssistant:" for i in range(5, 25)}


def test_level_test_can_have_arguments_of_its_own(packages: Path):
    task = build("toy-sums", arguments={"count": 3}, test_arguments={"first": 100})
    assert [problem.prompt for problem in problems(task, "train", 3)] == ["0 + 1 =", "1 + 1 =", "2 + 1 ="]
    asked = problems(task, "test", 3)
    assert [problem.prompt for problem in asked] == ["100 + 1 =", "101 + 1 =", "102 + 1 ="]
    assert task.check(asked[1], "102").answer_correct


def test_rows_on_both_sides_are_refused(packages: Path):
    task = build("toy-sums", arguments={"count": 5}, test_arguments={"first": 4})
    with pytest.raises(TaskError, match=r"tasks.theirs.test_arguments: 1 of 5 rows of level test .*, row 0 for"):
        task.problem("test", "toy-sums/1", 0)


def play(task: Task, guesses: list[str]) -> Any:
    return replay(task.environment(task.problem("train", "toy-guess/1", 0)), guesses)


def secret_of(task: Task) -> int:
    """By halving, as an honest player would."""
    environment = task.environment(task.problem("train", "toy-guess/1", 0))
    low, high = 1, 40
    while not environment.done:
        middle = (low + high) // 2
        environment.act(f"{middle} please")
        if environment.done:
            return middle
        if "higher" in environment.observe():
            low = middle + 1
        else:
            high = middle - 1
    raise AssertionError("not found")


def test_an_environment_of_several_turns_is_played(packages: Path):
    task = build("toy-guess", max_turns=8)
    assert task.max_turns == 8
    problem = task.problem("train", "toy-guess/1", 0)
    assert problem.prompt.startswith("User: A number from 1 to ") and problem.prompt.endswith("\nAssistant:")
    secret = secret_of(task)
    episode = task.environment(problem)
    episode.act(f"{secret + 1} please")
    assert (episode.done, episode.observe()) == (False, "\nUser: lower\nAssistant:")
    unfinished = episode.score()
    assert (unfinished.reward, unfinished.parts) == (0.5, {"polite": 0.5, "won": 0.0})
    episode.act(f"{secret} please")
    verdict = episode.score()
    assert (episode.done, episode.observe()) == (True, "")
    assert (verdict.reward, verdict.parts) == (1.5, {"polite": 0.5, "won": 1.0})
    assert verdict.answer_correct and verdict.answer == f"{secret} please"
    assert play(task, [f"{secret + 1} please", f"{secret} please", "ignored"]).score() == verdict


def test_an_episode_draws_the_same_in_any_process_and_leaves_the_generators_alone(packages: Path):
    task = build("toy-guess", max_turns=8)
    random.seed(1)
    before = random.getstate()
    first = secret_of(task)
    assert random.getstate() == before
    random.seed(2)
    assert secret_of(task) == first


def test_an_episode_ends_when_the_turns_are_used_up(packages: Path):
    task = build("toy-guess")
    assert task.max_turns == 4  # the environment's own limit
    episode = play(task, ["0", "0", "0", "0 please"])
    assert episode.done and episode.score().parts == {"polite": 0.0, "won": 0.0}


def test_a_text_that_was_not_played_is_its_first_turn(packages: Path):
    task = build("toy-guess", max_turns=8)
    problem = task.problem("train", "toy-guess/1", 0)
    assert task.check(problem, f"{secret_of(task)}").parts == {"polite": 0.0, "won": 1.0}
    assert task.check(problem, "0 please").parts == {"polite": 0.5, "won": 0.0}


def test_an_environment_that_speaks_otherwise_when_played_again_is_refused(packages: Path):
    task = build("toy-guess", arguments={"unfair": True})
    episode = task.environment(task.problem("train", "toy-guess/1", 0))
    with pytest.raises(TaskError, match="does not say the same when the same turns are played again: before turn 1"):
        episode.act("1")


def test_a_failure_of_the_environment_names_row_and_turn(packages: Path):
    install(packages, "toy-broken", SUMS.replace("float(trace.last_reply ==", "float(int(trace.last_reply) =="))
    task = build("toy-broken")
    with pytest.raises(TaskError, match=r"environment 'toy-broken', row \d+, turn 1: .*invalid literal for int"):
        task.check(task.problem("train", "toy-broken/1", 0), "__import__('os')")


REFUSED = {
    "judge in the settings": (
        SUMS.replace("first: int = 0", "first: int = 0\n    judge: vf.JudgeConfig = vf.JudgeConfig()"),
        "config.taskset.judge asks a language model",
    ),
    "judge in a reward": (
        SUMS.replace("return float(len(", "vf.ReferenceJudge()\n        return float(len("),
        "short asks the judge ReferenceJudge, a language model",
    ),
    "runtime": (
        SUMS.replace("short(self, trace: vf.Trace)", "short(self, trace: vf.Trace, runtime)"),
        "short works in the runtime",
    ),
    "container": (
        SUMS.replace("(vf.Task[SumsData]):", "(vf.Task[SumsData]):\n    NEEDS_CONTAINER = True"),
        "container",
    ),
    "image": (SUMS.replace("system_prompt=system", 'system_prompt=system, image="ubuntu"'), "container image 'ubuntu'"),
    "tools": (
        SUMS.replace("__all__", "class Search(vf.Toolset[vf.ToolsetConfig]):\n    pass\n\n\n__all__")
        + "\n\nSumsTaskset.toolsets = classmethod(lambda cls, config: [Search(vf.ToolsetConfig())])\n",
        r"it serves tools \(Search\)",
    ),
    "two seats": (
        GUESS.replace("(max_turns=4)", "(max_turns=4)\n    judge: vf.AgentConfig = vf.AgentConfig()"),
        "it seats player, judge, and all but one would need a model",
    ),
    "program": (
        GUESS.replace("(max_turns=4)", '(max_turns=4, harness={"id": "bash"})'),
        "its agent is the program 'bash', with tools of its own",
    ),
    "no rows": (SUMS.replace("count: int = 20", "count: int = 0"), "has no rows with these arguments"),
    "without end": (
        SUMS.replace("    def load(self)", "    INFINITE = True\n\n    def load(self)"),
        r"tasks.theirs.rows",
    ),
    "older": ("def load_environment():\n    pass\n\n\n__all__ = []\n", "was written for verifiers before tasksets"),
    "needs another": ("import nowhere_to_be_found\n", "needs the module 'nowhere_to_be_found', .*pip install nowhere"),
    "broken": ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
    "no limit of turns": (GUESS.replace("max_turns=4", ""), r"say for example tasks.theirs.max_turns: 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_policy_cannot_play_is_refused_with_the_reason(case: str, packages: Path):
    source, reason = REFUSED[case]
    name = install(packages, "refused_" + case.replace(" ", "_"), source)
    with pytest.raises(TaskError, match=reason):
        build(name).problem("train", f"{name}/1", 0)


@pytest.mark.parametrize(
    ("environment", "parameters", "message"),
    [
        (
            "not-there",
            {},
            r"tasks.theirs.environment 'not-there' is not installed: .*; pip install not-there",
        ),
        (
            "someone/not-there@1.0",
            {},
            r"pip install not-there \(from the Environments Hub: prime env install someone",
        ),
        (
            "toy-sums",
            {"arguments": {"cuont": 3}},
            r"argument of .*'toy-sums' 'cuont' is not one of .*did you mean 'count'",
        ),
        ("toy-sums", {"arguments": {"count": "many"}}, r"tasks.theirs.arguments.count 'many': .*integer"),
        ("toy-sums", {"arguments": {"id": "other"}}, r"argument of environment 'toy-sums' 'id' is not one of"),
        ("toy-sums", {"max_turns": 3}, r"max_turns 3: environment 'toy-sums' asks once"),
    ],
)
def test_bad_words_are_refused(environment: str, parameters: dict, message: str, packages: Path):
    with pytest.raises(TaskError, match=message):
        build(environment, **parameters)


def test_too_small_a_set_is_refused(packages: Path):
    task = build("toy-sums", arguments={"count": 2}, test_share=0.9)
    with pytest.raises(TaskError, match=r"test_share 0.9 of 2 different rows leaves none"):
        task.problem("train", "toy-sums/1", 0)
    with pytest.raises(TaskError, match=r"level of task 'theirs' 'iid' is not one of train, test"):
        task.problem("iid", "toy-sums/1", 0)


def test_its_words_are_those_of_the_rows(packages: Path):
    assert {"+", "=", "0", "20"} <= set(build("toy-sums").words())
