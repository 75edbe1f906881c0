from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.errors import TaskError
from rlreason.tasks import build_task
from rlreason.tasks.environment import replay
from rlreason.tasks.wason.game import Game, turns_of
from rlreason.tasks.wason.hypotheses import LEVELS, Rules, Split, conditions
from rlreason.tasks.wason.language import Grid, read_rule
from rlreason.tasks.wason.task import Wason

GRID = Grid(9)


@cache
def wason(**parameters) -> Wason:
    task = build_task("w", "wason", parameters)
    assert isinstance(task, Wason)
    return task


def few_rules() -> Rules:
    """Four rules, of which 2, 4, 6 fits the first three."""
    return Rules([(text, "train") for text in ("a < b", "b < c", "a % 2 == 0", "a > b")], GRID, "test")


def game(rule: str = "a < b") -> Game:
    return Game(few_rules(), rule, (2, 4, 6))


# --- an episode


def test_an_episode_worked_by_hand():
    # left by 2, 4, 6: a < b, b < c, a even
    played = game()
    played.act("Try: 3, 5, 4")  # only the first holds of it
    assert played.observe() == "\nyes\n" and not played.done
    played.act("Rule: b > a")
    assert played.done
    check = played.score()
    assert (check.answer, check.answer_correct, check.derivation_correct) == ("b > a", True, True)
    assert [(step.start, step.end, step.verdict, step.score) for step in check.steps] == [(0, 12, "right", 1.0)]


@pytest.mark.parametrize(
    ("turn", "answer", "verdict", "kind"),
    [
        ("Try: 3, 5, 4", "yes", "right", ""),
        ("  Try: 3,5,4. ", "yes", "right", ""),
        ("Try: 5, 3, 4", "no", "right", ""),
        ("Try: 2, 4, 6", "yes", "repeated", "repeated"),  # the prompt has said so
        ("Try: 4, 5, 7", "yes", "wrong", "known"),  # all three that are left hold of it
        ("Try: 1, 2, 10", "invalid", "wrong", "range"),
        ("Try: 1, 2", "invalid", "wrong", "format"),
        ("Try: 1, 2, -3", "invalid", "wrong", "format"),
        ("Try: 1, 2, 3\nyes\nTry: 3, 2, 1", "invalid", "wrong", "format"),  # an answer that the policy made up
        ("Try: \u0661, 2, 3", "invalid", "wrong", "format"),
        ("yes", "invalid", "wrong", "format"),
        ("", "invalid", "wrong", "format"),
    ],
)
def test_what_a_question_is_answered_and_worth(turn, answer, verdict, kind):
    played = game()
    played.act(turn)
    check = played.score()
    assert played.observe() == f"\n{answer}\n"
    assert [(step.verdict, step.kind) for step in check.steps] == [(verdict, kind)]
    assert (check.first_error, check.first_error_kind) == ((1, "stop") if verdict == "right" else (0, kind))


def test_a_question_asked_again_is_a_repetition():
    played = replay(game(), ["Try: 3, 5, 4", "Try: 3, 5, 4", "Rule: a < b"])
    check = played.score()
    assert [step.verdict for step in check.steps] == ["right", "repeated"]
    assert (check.answer_correct, check.derivation_correct, check.first_error) == (True, False, 1)


@pytest.mark.parametrize(
    ("turns", "answer", "right", "kind"),
    [
        (["Rule: a < b"], "a < b", True, "guess"),  # three rules were left
        (["Try: 3, 5, 4", "Rule: a <= b"], "a <= b", False, "answer"),
        (["Try: 3, 5, 4", "Rule: a ** b"], None, False, "format"),
        (["Try: 3, 5, 4", "Rule:"], None, False, "format"),
        (["Try: 3, 5, 4"], None, False, "stop"),
    ],
)
def test_what_is_wrong_with_a_rule(turns, answer, right, kind):
    check = replay(game(), turns).score()
    assert (check.answer, check.answer_correct, check.first_error_kind) == (answer, right, kind)
    assert not check.derivation_correct and check.first_error == len(turns) - (not turns[-1].startswith("Try"))


def test_what_follows_the_rule_is_not_heard():
    played = replay(game(), ["Rule: b < c", "Rule: a < b"])
    assert played.score().answer == "b < c"


@given(st.lists(st.text(max_size=20) | st.from_regex(r"(Try|Rule):? ?[0-9abc<, ]{0,12}", fullmatch=True), max_size=6))
def test_no_turn_does_any_harm(turns):
    played = game()
    transcript = ""
    for turn in turns:
        if played.done:
            break
        played.act(turn)
        transcript += turn + ("" if played.done else played.observe())
    check = played.score()
    for step in check.steps:
        assert 0 <= step.start <= step.end <= len(transcript)
    wason().check(wason().problem("train", "order/1", 0), transcript)


# --- a transcript


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Try: 1, 2, 3\nyes\nRule: a < b", ["Try: 1, 2, 3\n", "Rule: a < b"]),
        ("Try: 1, 2, 3Try: 1, 2, 3", ["Try: 1, 2, 3", "Try: 1, 2, 3"]),
        ("\nno\nRule: a < b", ["no", "Rule: a < b"]),
        ("Try: 1, 2, 3\nyes\nyes\n", ["Try: 1, 2, 3\n", "yes"]),
        ("well\nyes\nRule: not a < b", ["well\n", "Rule: not a < b"]),
        ("Rule: a", ["Rule: a"]),
        ("  \n", []),
    ],
)
def test_turns_are_told_from_answers(text, turns):
    assert [text[start:end] for start, end in turns_of(text)] == turns


def test_a_transcript_is_judged_as_the_episode_was():
    task = wason()
    for cell in task.cells:
        for index in range(10):
            problem = task.problem("train", cell.name, index)
            played = replay(task.environment(problem), problem.turns)
            assert task.check(problem, problem.target) == played.score()
            for step, turn in zip(played.score().steps, problem.turns, strict=False):
                assert problem.target[step.start : step.end] == turn


# --- problems


def test_gold_episodes_halve_what_is_left():
    task = wason()
    for cell, most in (("order/1", 5), ("both/2", 11)):
        rules = task._rules(cell.partition("/")[0])
        turns = [len(task.problem("train", cell, index).turns) for index in range(60)]
        assert np.mean(turns) - 1 <= np.log2(len(rules.texts)) + 0.5 and max(turns) <= most


def test_what_is_held_out_is_nowhere_in_training():
    task = wason()
    rules = task._rules("both")
    conjuncts = {level: [set(rules.texts[rule].split(" and ")) for rule in rules.pools[level]] for level in LEVELS}
    known = set().union(*conjuncts["train"])
    assert known == {text for own in task._split.trained.values() for text in own}
    assert all(pair <= known and pair not in conjuncts["train"] for pair in conjuncts["composition"])
    assert conjuncts["zero_shot"] and not any(pair <= known for pair in conjuncts["zero_shot"])
    for kind, held_out in task._split.held_out.items():
        rules = task._rules(kind)
        assert {rules.texts[rule] for rule in rules.pools["zero_shot"]} == set(held_out)
        assert not {rules.texts[rule] for rule in rules.pools["train"]} & set(held_out)


@pytest.mark.parametrize("largest", [8, 9, 13, 20])
def test_all_conditions_differ_and_are_in_plain_form(largest):
    grid, seen = Grid(largest), set()
    for own in conditions(largest).values():
        for text in own:
            read = read_rule(text, grid)
            assert read is not None and read[0] == text
            assert 0.03 < read[1].mean() < 0.97
            seen.add(read[1].tobytes())
    assert len(seen) == sum(map(len, conditions(largest).values()))


def test_the_seed_of_the_world_decides_what_is_held_out():
    assert Split.draw(9, 3, "wason/0") == Split.draw(9, 3, "wason/0") != Split.draw(9, 3, "wason/1")


def test_words_are_all_that_gold_episodes_are_made_of(tmp_path):
    from rlreason.engines.codec import TextCodec
    from rlreason.engines.scratch import make_model
    from rlreason.recipe.schema import Architecture

    task = wason()
    codec = TextCodec(make_model(tmp_path, Architecture(layers=1, width=32, heads=1), task.words(), seed=0))
    for cell in task.cells:
        problem = task.problem("train", cell.name, 0)
        (tokens,) = codec.encode([problem.turns[0]])
        assert len(tokens) == 7  # Try : a , b , c
        (tokens,) = codec.encode([problem.prompt + problem.target])
        bytes_alone = {token for token in tokens.tolist() if len(codec.decode([np.array([token])])[0].strip()) == 1}
        letters = [token for token in bytes_alone if codec.decode([np.array([token])])[0].strip().isalpha()]
        assert {codec.decode([np.array([token])])[0].strip() for token in letters} <= {"a", "b", "c", "A"}


# --- what cannot be asked


def test_a_level_that_a_cell_has_not_is_refused_with_the_cell_that_has_it():
    with pytest.raises(TaskError, match=r"cell 'order/1' of task 'w' has no level 'composition'.*ask for both/2"):
        wason().problem("composition", "order/1", 0)


@pytest.mark.parametrize(
    ("level", "cell", "words"),
    [("easy", "order/1", "'easy' is not one of train"), ("train", "order/2", "'order/2' is not one of order/1")],
)
def test_unknown_names_are_refused(level, cell, words):
    with pytest.raises(TaskError, match=words):
        wason().problem(level, cell, 0)


def test_an_episode_that_cannot_fit_into_the_turns_is_refused_with_the_remedy():
    task = wason(max_turns=2)
    with pytest.raises(TaskError, match=r"no gold episode of cell 'both/2' .* max_turns 2; raise it"):
        task.problem("train", "both/2", 0)
    assert len(task.problem("train", "extremes/1", 0).turns) <= 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"largest": 7}, "tasks.w.largest 7: .*greater than or equal to 8"),
        ({"held_out": 9}, "tasks.w.held_out 9: .*less than or equal to 4"),
        ({"max_turns": 1}, "tasks.w.max_turns 1: .*greater than or equal to 2"),
        ({"turns": 3}, "parameter 'turns' is not one of .*did you mean 'max_turns'"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, words):
    with pytest.raises(TaskError, match=words):
        wason(**parameters)
