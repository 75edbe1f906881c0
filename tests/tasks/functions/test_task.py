"""The task against an evaluator of its prompts that knows nothing of how they were drawn."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.errors import TaskError
from rlreason.tasks import build_task, task_spec
from rlreason.tasks.functions.strings import BY_NAME, FUNCTIONS, NAMES

FUNCTION = re.compile(r"func_\d+")
TASK = build_task("strings", "functions", {"depths": [1, 2, 3, 6]})
COMPOSITES = [cell.name for cell in TASK.cells if cell.family == "composite"]


def expression_of(prompt: str) -> str:
    return prompt.partition("Question: ")[2].removesuffix(" Answer:")


def evaluate(words: list[str]) -> str | int:
    """Value of an expression's words; takes them off the list."""
    if FUNCTION.fullmatch(words[0]):
        name, arguments = words.pop(0), []
        while words.pop(0) in ("(", ","):
            arguments.append(evaluate(words))
        return BY_NAME[name].apply(*arguments)
    text = ""
    while words and words[0] not in (",", ")"):
        text += words.pop(0)
    return int(text) if text.isdigit() and len(text) == 1 else text


@given(st.sampled_from(COMPOSITES), st.sampled_from(["train", "validation", "iid", "zero_shot"]), st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_the_answer_is_the_value_of_the_prompt_and_depth_counts_its_operations(cell, level, index):
    problem = TASK.problem(level, cell, index)
    expression = expression_of(problem.prompt)
    assert problem.answer.replace(" ", "") == evaluate(expression.split())
    assert len(FUNCTION.findall(expression)) == int(cell.partition("/")[2])
    assert problem.prompt == f"Question: {expression} Answer:"
    assert TASK.check(problem, problem.target).derivation_correct


def test_training_composes_13_functions_and_zero_shot_always_has_another():
    assert len(TASK.trained) == 13 and len(TASK.held_out) == 12
    assert sorted(TASK.trained + TASK.held_out) == sorted(NAMES)
    met: set[str] = set()
    for cell in COMPOSITES:
        for index in range(40):
            for level in ("train", "iid", "validation"):
                named = set(FUNCTION.findall(TASK.problem(level, cell, index).prompt))
                assert named <= set(TASK.trained)
                met |= named
            assert not set(TASK.held_out).isdisjoint(FUNCTION.findall(TASK.problem("zero_shot", cell, index).prompt))
    assert met == set(TASK.trained)


def test_atomic_problems_define_their_function_and_ask_for_all_25():
    met: set[str] = set()
    for index in range(300):
        problem = TASK.problem("train", "atomic/1", index)
        definition, _, expression = problem.prompt.partition(" Question: ")
        name = expression.split()[0]
        assert definition == f"Definition: {name} {FUNCTIONS[NAMES.index(name)].definition}"
        assert problem.answer.replace(" ", "") == evaluate(expression_of(problem.prompt).split())
        met.add(name)
    assert met == set(NAMES)


def test_no_expression_is_at_two_levels_whatever_the_cell():
    seen: dict[str, str] = {}
    for cell in ("atomic/1", "composite/1", "composite/2"):
        for level in ("train", "validation", "iid", "zero_shot"):
            if (cell, level) == ("atomic/1", "zero_shot"):
                continue
            for index in range(150):
                expression = expression_of(TASK.problem(level, cell, index).prompt)
                if level == "zero_shot" and cell == "composite/1":
                    assert expression.split()[0] in TASK.held_out
                else:
                    assert seen.setdefault(expression, level) == level
    assert len(seen) > 1200


def test_cells_need_the_single_functions_and_the_depth_before():
    assert {cell.name: cell.prerequisites for cell in TASK.cells} == {
        "atomic/1": (),
        "composite/1": ("atomic/1",),
        "composite/2": ("atomic/1", "composite/1"),
        "composite/3": ("atomic/1", "composite/2"),
        "composite/6": ("atomic/1", "composite/3"),
    }


def test_words_cover_every_text():
    words = set(TASK.words())
    for cell in TASK.cells:
        for index in range(60):
            problem = TASK.problem("train", cell.name, index)
            said = re.sub(r"([:,])(?= |$)", r" \1", problem.prompt + problem.target).split()
            assert set(said) <= words


def test_another_seed_holds_out_other_functions_and_the_same_gives_the_same_problems():
    again = build_task(**task_spec(TASK))
    assert again.problem("iid", "composite/3", 7) == TASK.problem("iid", "composite/3", 7)
    assert build_task("strings", "functions", {"world_seed": 1}).trained != TASK.trained


def test_chance_is_that_of_guessing_every_symbol():
    assert 0 < TASK.chance("train", "composite/3") < TASK.chance("train", "atomic/1") < 1e-2
    assert TASK.answer_space("train", "atomic/1") == pytest.approx(1 / TASK.chance("train", "atomic/1"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train_functions": 25}, "train_functions 25: .*less than 25"),
        ({"train_functions": 0}, "train_functions 0"),
        ({"depths": [7]}, "depths.0 7: .*less than or equal to 6"),
        ({"depths": [2, 2]}, "named twice"),
        ({"depth": [2]}, "did you mean 'depths'"),
        ({"longest": 5}, "longest 5"),
        ({"validation_share": 0.6, "iid_share": 0.4}, "leave no questions for training"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("strings", "functions", parameters)


def test_a_split_that_leaves_nothing_to_compose_is_refused():
    # the one training function of this seed returns to an earlier text, or does nothing, when applied twice
    seeds = (seed for seed in range(99) if _only(seed) in ("func_3", "func_17", "func_2"))
    with pytest.raises(
        TaskError, match=r"composite/2' has no problem at level 'train'.*raise longest .*train_functions"
    ):
        build_task("strings", "functions", {"train_functions": 1, "world_seed": next(seeds), "depths": [2]})


def _only(seed: int) -> str:
    return build_task("s", "functions", {"train_functions": 1, "world_seed": seed, "depths": [1]}).trained[0]


def test_unknown_cells_and_missing_levels_are_named():
    with pytest.raises(TaskError, match="composite/6"):
        TASK.problem("train", "composite/5", 0)
    with pytest.raises(TaskError, match="did you mean 'zero_shot'"):
        TASK.problem("zeroshot", "composite/2", 0)
    with pytest.raises(TaskError, match="atomic training asks for every function"):
        TASK.problem("zero_shot", "atomic/1", 0)
    with pytest.raises(TaskError, match=r"raise iid_share \(now 0.0\)"):
        build_task("strings", "functions", {"iid_share": 0}).problem("iid", "atomic/1", 0)


FEW = {"functions": ["func_8", "func_17", "func_22"], "train_functions": 2, "inputs": [2, 4], "depths": [1, 2]}


def test_only_the_functions_in_use_are_asked_on_inputs_of_the_given_lengths():
    task = build_task("strings", "functions", FEW)
    assert sorted(task.trained + task.held_out) == sorted(FEW["functions"]) and len(task.trained) == 2
    lengths: set[int] = set()
    for level, cell in (("train", "atomic/1"), ("iid", "composite/2"), ("zero_shot", "composite/2")):
        problems = [task.problem(level, cell, index) for index in range(60)]
        lengths |= {len(problem.detail["given"][0].split()) for problem in problems}
        named = {name for problem in problems for name in FUNCTION.findall(problem.prompt)}
        assert named == set(task.trained if level == "iid" else FEW["functions"])
    assert lengths == {2, 3, 4}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"functions": ["func_8", "func_99"]}, "function 'func_99' is not one of"),
        ({"functions": ["func_8", "func_8"]}, "'func_8' is named twice"),
        ({**FEW, "train_functions": 3}, "train_functions 3 leaves none of the 3 functions in use held out"),
        ({"inputs": [5, 3]}, r"inputs \[5, 3\] must be the fewest symbols, then the most"),
        ({"inputs": [3, 11]}, "inputs.*10"),
    ],
)
def test_functions_and_inputs_that_do_not_go_together_are_refused(parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("strings", "functions", parameters)


def test_some_single_calls_go_without_their_definition_and_zero_shot_never_asks_those_of_training():
    few = {"functions": ["func_0", "func_2", "func_8", "func_17"], "train_functions": 2, "inputs": [2, 3]}
    half = build_task("strings", "functions", few | {"depths": [1, 2], "definitions": 0.5})
    prompts = [half.problem("train", "atomic/1", index).prompt for index in range(2000)]
    shown = [prompt for prompt in prompts if prompt.startswith("Definition: ")]
    assert 900 < len(shown) < 1100  # of 2,000 at one half: 4.5 standard deviations of 22 either way
    assert {FUNCTION.search(prompt)[0] for prompt in set(prompts) - set(shown)} == set(few["functions"])
    trained = {expression_of(prompt) for prompt in prompts}
    asked = {expression_of(half.problem("zero_shot", "composite/1", index).prompt) for index in range(500)}
    assert len(asked) > 100 and not trained & asked
    # where all are shown, a held-out call of zero_shot may be one of training: there it was asked with its definition
    whole = build_task("strings", "functions", few | {"depths": [1, 2]})
    assert all(whole.problem("train", "atomic/1", index).prompt.startswith("Definition: ") for index in range(200))
