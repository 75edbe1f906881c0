"""An installed environment package, opened and held against what can be played here.

A package holds a taskset (rows and how they are scored) and perhaps an environment that drives several turns. Here the
policy answers in plain turns: no tools, no container, no program around it, no second model. What asks for one of these
is refused before anything is trained, with the reason. Playing is `playing`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import CodeType, ModuleType
from typing import Any

import verifiers.v1 as vf
from pydantic import BaseModel, ValidationError
from verifiers.v1.configs.agent import agent_config_fields
from verifiers.v1.session import hook_boundary
from verifiers.v1.utils.decorators import discover_decorated

from rlreason.errors import TaskError, one_of

_PLAIN_HARNESS = "null"
_DEFAULT_HARNESS = "bash"
"""What the library gives an agent that asks for nothing; such an agent is asked in plain turns here."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An environment whose one seat the policy takes.

    Attributes:
        env: the library's environment, with its taskset.
        seat: name of the seat.
    """

    env: Any
    seat: str

    @property
    def plays_turns(self) -> bool:
        """Whether the package drives the conversation; without that, a row is asked once."""
        return not isinstance(self.env, vf.SingleAgentEnv)

    @property
    def own_max_turns(self) -> int | None:
        """Turns that the package itself allows, at most."""
        limit: int | None = getattr(self.env.config, self.seat).max_turns
        return limit


def open_environment(ident: str, arguments: Mapping[str, Any], where: str) -> Opened:
    """The environment of an installed package.

    Args:
        ident: the package's name, as the library's own commands take it.
        arguments: of its taskset.
        where: the recipe's key of the task, for errors.
    Raises:
        TaskError: it is not installed, an argument is not allowed, or it asks for what a policy has not got here.
    """
    config_type = _config_type(ident, where)
    allowed = [name for name in config_type.model_fields if name != "id"]
    for name in arguments:
        if name not in allowed:
            raise TaskError(one_of(f"argument of environment {ident!r}", name, allowed, f"{where}.arguments"))
    try:
        config = vf.resolve_env_config({"taskset": {**arguments, "id": ident}})
    except ValidationError as error:
        raise TaskError(_explain(ident, where, error)) from None
    seats = agent_config_fields(config)
    if len(seats) != 1:
        _refuse(ident, where, f"it seats {', '.join(seats)}, and all but one would need a model of their own")
    (seat, spec), *_ = seats.items()
    for reason in _needs_of(ident, config, spec):
        _refuse(ident, where, reason)
    plain = spec.model_copy(update={"harness": vf.harness_config_type(_PLAIN_HARNESS)(id=_PLAIN_HARNESS)})
    env = _strangers(lambda: vf.load_environment(config.model_copy(update={seat: plain})), ident, where, "be built")
    for reason in _needs_of_built(env):
        _refuse(ident, where, reason)
    return Opened(env, seat)


def load_rows(opened: Opened, most: int | None, where: str) -> list[Any]:
    """The rows of the environment's taskset: the library's tasks, in its order.

    Args:
        most: take no more than these; needed where the taskset has no end.
    Raises:
        TaskError: there are none, there is no end, or a row asks for what a policy has not got here.
    """
    taskset, ident = opened.env.taskset, opened.env.config.taskset.id
    if most is None and not taskset.bounded:
        raise TaskError(f"{where}: environment {ident!r} makes rows without end; say how many with {where}.rows")
    rows: list[Any] = _strangers(lambda: list(islice(taskset, most)), ident, where, "load its rows")
    if not rows:
        raise TaskError(f"{where}: environment {ident!r} has no rows with these arguments; look at {where}.arguments")
    for reason in _needs_of_row(rows[0]):
        _refuse(ident, where, reason)
    imaged = next((row for row in rows if row.data.image is not None), None)
    if imaged is not None:
        _refuse(ident, where, f"row {imaged.data.idx} runs in the container image {imaged.data.image!r}")
    return rows


def row_values(row: Any) -> dict[str, Any]:
    """A row as plain values, from which `row_of` makes it again in any process."""
    values: dict[str, Any] = row.data.model_dump(mode="json", exclude_defaults=True)
    return values


def row_of(opened: Opened, values: Mapping[str, Any]) -> Any:
    """The library's task of a row, made as its own servers make it."""
    task = type(opened.env.taskset).task_type()
    return task(task.data_type().model_validate(dict(values)), opened.env.config.taskset.task)


def _refuse(ident: str, where: str, reason: str) -> None:
    raise TaskError(
        f"{where}: environment {ident!r} cannot be a task here: {reason}. A policy is asked in plain turns and scored "
        "by code alone; choose another environment, or arguments that leave this out"
    )


def _strangers(call: Callable[[], Any], ident: str, where: str, what: str) -> Any:
    """The call's result; a stranger's package may raise anything."""
    try:
        return call()
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"{where}: environment {ident!r} cannot {what}: {type(error).__name__}: {error}") from error


def _config_type(ident: str, where: str) -> Any:
    pip_name = ident.rsplit("/", 1)[-1].partition("@")[0]
    module = pip_name.replace("-", "_").lower()
    try:
        return vf.taskset_config_type(ident)
    except ModuleNotFoundError as error:
        missing = getattr(error.__cause__, "name", None) or error.name
        if missing in (None, module, f"verifiers.v1.tasksets.{module}"):
            hub = f" (from the Environments Hub: prime env install {ident})" if "/" in ident else ""
            raise TaskError(
                f"{where}.environment {ident!r} is not installed: there is no module {module!r}; "
                f"pip install {pip_name}{hub}"
            ) from None
        raise TaskError(
            f"{where}.environment {ident!r} needs the module {missing!r}, which is not installed; pip install {missing}"
        ) from None
    except (AttributeError, TypeError, ValueError) as error:
        older = hasattr(vf.import_taskset(ident), "load_environment")
        remedy = "; it was written for verifiers before tasksets: ask for a newer version of it" if older else ""
        raise TaskError(f"{where}.environment {ident!r} holds no taskset: {error}{remedy}") from None
    except Exception as error:
        raise TaskError(f"{where}.environment {ident!r} cannot be imported: {type(error).__name__}: {error}") from error


def _explain(ident: str, where: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        keys = ".".join(str(part) for part in problem["loc"] if part != "taskset")
        value = "" if isinstance(problem["input"], Mapping) else f" {problem['input']!r}"
        lines.append(f"{where}.arguments.{keys}{value}: {problem['msg']} (environment {ident!r})")
    return "\n".join(lines)


def _needs_of(ident: str, config: Any, spec: Any) -> Iterator[str]:
    """What the package's settings ask for and a policy has not got."""
    for place in _judges(config, "config"):
        yield f"{place} asks a language model for its verdict"
    unsaid = spec.harness is None
    program = vf.default_harness_id(config.taskset.id) if unsaid else spec.harness.id
    if program != _PLAIN_HARNESS and not (unsaid and program == _DEFAULT_HARNESS):
        yield f"its agent is the program {program!r}, with tools of its own"


def _needs_of_built(env: Any) -> Iterator[str]:
    task = type(env.taskset).task_type()
    if task.NEEDS_CONTAINER:
        yield "its tasks need a container"
    tools = [*type(env.taskset).toolsets(env.config.taskset), *task.toolsets(env.config.taskset.task)]
    if tools:
        yield f"it serves tools ({', '.join(type(tool).__name__ for tool in tools)})"
    if type(env).start is not vf.Env.start:
        yield "it starts services of its own"


def _needs_of_row(row: Any) -> Iterator[str]:
    """What the code of a task asks for: its hooks, its rewards, its stops."""
    kind = type(row)
    hooks = [getattr(row, name) for name in ("setup", "finalize") if getattr(kind, name) is not getattr(vf.Task, name)]
    scored = [*row.hooks("reward"), *row.hooks("metric")]
    for function in [*hooks, *scored]:
        if _requires(function, "runtime"):
            yield f"{function.__name__} works in the runtime of the agent's program"
    for function in scored:
        for judge in _named_judges(function):
            yield f"{function.__name__} asks the judge {judge}, a language model, for its verdict"
    if discover_decorated(row, "intercept"):
        yield "it rewrites what its agent sends and receives"
    for function in row.hooks("stop"):
        if hook_boundary(function, allow_trace=True) is not vf.Trace:
            yield f"its stop {function.__name__} reads requests and responses, not the trace"


def _requires(function: Callable[..., Any], name: str) -> bool:
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _judges(value: object, place: str) -> Iterator[str]:
    """Where a configuration holds a judge."""
    if isinstance(value, vf.JudgeConfig):
        yield place
    elif isinstance(value, BaseModel):
        for name, inner in value:
            yield from _judges(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _judges(inner, place)


def _named_judges(function: Callable[..., Any]) -> Iterator[str]:
    """Judges that a function's own code names, directly or as an attribute of a module."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if not inspect.isfunction(plain):
        return
    names = set(_names(plain.__code__))
    found = [plain.__globals__.get(name) for name in names]
    found += [vars(home).get(name) for home in found if isinstance(home, ModuleType) for name in names]
    yield from sorted({one.__name__ for one in found if isinstance(one, type) and issubclass(one, vf.Judge)})


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
