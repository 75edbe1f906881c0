"""The commands of `rlreason reward`: writing, trying and listing rewards; what they do is in `rlreason.rewards`.

As in `cli`, imports stand in the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rlreason.errors import UserError, one_of
from rlreason.options import Json, Parameters

reward = typer.Typer(no_args_is_help=True, help="Write, try and list rewards.")


@reward.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the file, such as shorter_is_better.")],
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where it goes.")] = Path("rewards"),
    kind: Annotated[
        str, typer.Option(help="answer or steps: what it judges; batch or async: how it is called.")
    ] = "answer",
) -> None:
    """Write a reward that works, and its test beside it, for you to change.

    \b
      rlreason reward new my_reward
      rlreason reward new my_reward --kind steps --folder experiments/rewards
    """
    from rlreason.rewards.scaffold import write_reward

    file, test = write_reward(name, folder, kind)
    print(f"wrote {file}\n      {test}\n\nnext:")
    print(f"  pytest {test}")
    print(f"  rlreason reward check {file}:score")
    print(f'  in a recipe:  rewards: {{parts: [{{spec: "{file}:score"}}]}}')


@reward.command()
def check(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help='"file.py:function", "module:function" or a name.')],
    task: Annotated[
        str,
        typer.Option(
            "--task", metavar="TASK|RECIPE[:NAME]", help="Where problems come from; NAME: which of its tasks."
        ),
    ] = "quickstart",
    parameters: Parameters = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples", metavar="JSONL", help="Your own problems instead, with right and wrong completions."
        ),
    ] = None,
    kwargs: Annotated[
        list[str] | None,
        typer.Option("--kwargs", metavar="KEY=VALUE|JSON", help="Arguments of the reward, as in a recipe. Repeatable."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many problems to try it on.")] = 8,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds that one completion may take.")] = 10.0,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="FINDING", help="A finding that is meant to be so, such as wrong_answer. Repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try a reward on right, wrong, empty and hostile completions, and say how it could be cheated or broken.

    It runs as in a training run, in a worker process with a deadline. Exit code 1 where a finding is serious.

    \b
      rlreason reward check rewards/answer_and_steps.py:score
      rlreason reward check my_reward.py:score --task my_recipe.yaml --count 32
      rlreason reward check rewards/number.py:score --examples problems.jsonl
      rlreason reward check my_format.py:score --allow wrong_answer

    A line of the JSONL file:

    \b
      {"prompt": "2+2=?", "answer": "4", "detail": {}, "right": ["= 4"], "wrong": ["= 5"]}
    """
    from rlreason.display import print_json, print_reward_check
    from rlreason.recipe.schema import Reward
    from rlreason.rewards.check import check_reward
    from rlreason.rewards.examples import read_examples, trial_of_examples
    from rlreason.rewards.findings import FINDINGS

    for name in allow or ():
        if name not in FINDINGS:
            raise UserError(one_of("--allow", name, FINDINGS))
    if examples is not None:
        trial, folders = trial_of_examples(read_examples(examples)[:count]), [Path.cwd()]
    else:
        trial, folders = _task_trial(task, parameters or [], count)
    asked = Reward(spec=spec, kwargs=_kwargs(kwargs or []), deadline_s=deadline)
    report = check_reward(asked, trial, folders, allowed=allow or ())
    if as_json:
        print_json(report.as_json())
    else:
        print_reward_check(report)
    if not report.ok:
        raise typer.Exit(1)


@reward.command("list")
def list_rewards(as_json: Json = False) -> None:
    """List the rewards that ship, those in ./rewards, and those of installed packages. Imports none of them.

    \b
      rlreason reward list
      rlreason reward list --json
    """
    from dataclasses import asdict

    from rlreason.display import print_json, print_table
    from rlreason.rewards.listing import list_rewards

    found = list_rewards(Path.cwd())
    if as_json:
        print_json([asdict(entry) for entry in found])
    else:
        print_table(("reward", "form", "what it is"), [(entry.spec, entry.form, entry.says) for entry in found])


def _task_trial(source: str, parameters: Sequence[str], count: int) -> tuple[Any, list[Path]]:
    from rlreason.rewards.samples import trial_of_task
    from rlreason.selection import cells_at, find_task
    from rlreason.tasks.sampling import sample

    place, _, name = source.partition(":")
    task = find_task(place, name or None, parameters, f"--task {place}:NAME")
    level = task.levels[0]
    problems = sample(task, level, cells_at(task, level, []), count)
    recipe = Path(place)
    return trial_of_task(task, problems), [recipe.resolve().parent] if recipe.is_file() else []


def _kwargs(given: Sequence[str]) -> dict[str, Any]:
    """The arguments as a recipe would hold them.

    Raises:
        UserError: neither KEY=VALUE nor a JSON object.
    """
    from rlreason.recipe.yaml_text import parse_yaml

    merged: dict[str, Any] = {}
    for words in given:
        key, equals, value = words.partition("=")
        whole = parse_yaml(words, f"--kwargs {words}") if words.lstrip().startswith("{") else None  # JSON is YAML
        if isinstance(whole, dict):
            merged |= whole
        elif key.isidentifier() and equals:
            merged[key] = parse_yaml(value, f"--kwargs {words}")
        else:
            raise UserError(
                f"--kwargs {words!r} is neither KEY=VALUE nor a JSON object; say --kwargs share=0.3 or "
                "--kwargs '{\"share\": 0.3}'"
            )
    return merged
