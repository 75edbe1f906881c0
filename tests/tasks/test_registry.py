import json
from importlib.metadata import EntryPoint

import pytest
from pydantic import ConfigDict

from rlreason.errors import TaskError
from rlreason.tasks import Task, build_task, registry, task_spec, task_types
from rlreason.tasks.lookup import Lookup, LookupParameters
from tests.tasks.complementary.worlds import QUICK, complementary


def test_a_spec_that_travelled_as_json_builds_the_same_task():
    task = complementary(hops={1: 2, 3: 1}, contexts="strict")
    again = build_task(**json.loads(json.dumps(task_spec(task))))
    assert again.name == "people" and again.parameters == task.parameters
    assert again.problem("iid", "complementary/3", 4) == task.problem("iid", "complementary/3", 4)


@pytest.mark.parametrize(
    ("type_name", "parameters", "message"),
    [
        ("complementry", QUICK, r"task type 'complementry' .*did you mean 'complementary'\? \(tasks.people.type\)"),
        (
            "complementary",
            {**QUICK, "poeple": 3},
            r"parameter 'poeple' is not one of .*did you mean 'people'.*tasks.people.poeple",
        ),
        ("complementary", {**QUICK, "people": "many"}, "tasks.people.people 'many': .*valid integer"),
        (
            "complementary",
            {**QUICK, "contexts": "loose"},
            "tasks.people.contexts 'loose': .*'relation_unique' or 'strict'",
        ),
        ("complementary", {**QUICK, "parametric_relations": 9}, "parametric_relations 9: .*less than or equal to 8"),
    ],
)
def test_bad_words_are_refused_with_key_value_and_what_is_allowed(type_name, parameters, message):
    with pytest.raises(TaskError, match=message):
        build_task("people", type_name, parameters)


class Demanding(Lookup):
    """A task that cannot do without its one parameter."""

    class Parameters(LookupParameters):
        model_config = ConfigDict(use_attribute_docstrings=True)
        alphabet: str
        """Letters to write with."""


def test_a_missing_parameter_is_named_with_its_meaning(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("demanding", f"{__name__}:Demanding", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(TaskError, match=r"tasks.people.alphabet is missing: Letters to write with"):
        build_task("people", "demanding", {})


def test_every_complaint_is_told_at_once():
    with pytest.raises(TaskError) as caught:
        build_task("people", "complementary", {**QUICK, "people": 1, "poeple": 3})
    assert len(str(caught.value).splitlines()) == 2


def test_installed_packages_add_types_but_replace_none(monkeypatch: pytest.MonkeyPatch):
    points = [
        EntryPoint("mine", "rlreason.tasks.complementary:Complementary", registry.ENTRY_POINTS),
        EntryPoint("complementary", "elsewhere:Other", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in points if point.group == group])
    types = task_types()
    assert {"complementary", "lookup"} < set(types) and list(types)[-1] == "mine"
    assert all(issubclass(found, Task) for found in types.values())


@pytest.mark.parametrize(
    ("spec", "message"), [("no.such.module:Task", "cannot be loaded"), ("json:dumps", "not a subclass")]
)
def test_a_broken_entry_point_is_named(monkeypatch: pytest.MonkeyPatch, spec: str, message: str):
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("mine", spec, group)])
    with pytest.raises(TaskError, match=f"task type 'mine'.*{message}"):
        build_task("people", "mine", {})


def test_cells_match_by_shell_patterns():
    task = complementary()
    assert [cell.name for cell in task.match_cells(["complementary/*"])] == ["complementary/2", "complementary/3"]
    with pytest.raises(TaskError, match=r"cell of task 'people' 'composite/\*' is not one of"):
        task.match_cells(["composite/*"])
