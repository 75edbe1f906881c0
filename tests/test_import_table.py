"""The rooms and what each may import: the table of CONTRIBUTING.md, enforced by reading every import in the package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "rlreason"

OPEN_TO_ALL = {"types", "errors", "__init__"}
LOWEST = {"algorithms", "records", "recipe"}
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set() for room in LOWEST},
    "tasks": {"algorithms"},
    "rewards": {"tasks", "recipe"},
    "curriculum": {"tasks", "recipe"},
    "engines": {"algorithms", "recipe"},
    "orchestration": {"engines", "rewards", "recipe"},
    "stages": {*LOWEST, "tasks", "rewards", "curriculum", "engines", "orchestration"},
    "report": {"records", "algorithms"},
    "export": {"tasks", "rewards"},
    "cluster": {"recipe", "orchestration", "stages"},
    "simulate": {"algorithms", "recipe"},
    "watch": {"records", "report"},
    "loggers": {"records", "recipe", "stages"},
    "bench": {*LOWEST, "tasks", "rewards", "curriculum", "engines", "orchestration", "stages", "report"},
    "cli": {*LOWEST, "tasks", "rewards", "curriculum", "engines", "orchestration", "stages", "report"},
}
MAY_IMPORT["cli"] |= {"simulate", "bench", "cluster", "export", "watch", "loggers"}
CLI_MODULES = {
    *["cli", "bench_commands", "export_commands", "report_commands", "reward_commands", "options", "selection"],
    *["simulate_commands", "cluster_commands", "job_commands", "watch_commands"],
    *["display", "display_tasks", "progress", "doctor", "difficulty", "__main__"],
}
# library -> rooms it may be imported in, and how such a file's name starts ("" for any)
LIBRARIES: dict[str, tuple[set[str], str]] = {
    "vllm": ({"engines"}, "vllm_"),
    "deepspeed": ({"engines"}, "deepspeed_"),
    "trl": ({"engines", "bench"}, "trl_"),
    "ray": ({"orchestration", "cluster"}, ""),
    **{name: ({"loggers"}, f"{name}_") for name in ("tensorboard", "wandb", "mlflow", "trackio")},
}
NEVER = {"report": {"torch", "ray", "vllm", "deepspeed", "trl", "transformers"}, "tasks": {"torch"}, "rewards": {"ray"}}
NEVER["watch"] = NEVER["report"]


def imports_of(source: str, module: str) -> Iterator[str]:
    """Dotted name of everything a module imports, at its top or inside functions. `module` resolves relative ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base]) if base else ".".join(parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(dotted: str) -> str:
    """Room of a module of the package, such as "tasks" for rlreason.tasks.contract."""
    parts = dotted.split(".")
    first = parts[1] if len(parts) > 1 else "__init__"
    if first in CLI_MODULES:
        return "cli"
    return first if first in MAY_IMPORT or first in OPEN_TO_ALL else "__init__"


def violations(module: str, source: str) -> list[str]:
    """What a module imports and may not, one sentence each."""
    room, stem = room_of(module), module.rpartition(".")[2]
    found = []
    for name in imports_of(source, module):
        library = name.partition(".")[0]
        if library in ("scripts", "tests"):
            found.append(f"{module} imports {name}: nothing in the package imports {library}")
        if library == "rlreason":
            other = room_of(name)
            if other not in OPEN_TO_ALL | {room} and other not in MAY_IMPORT.get(room, set()):
                found.append(f"{module} imports {name}: {room} may not import {other}")
        if library in LIBRARIES:
            rooms, prefix = LIBRARIES[library]
            if room not in rooms or not stem.startswith(prefix):
                found.append(f"{module} imports {name}: only {prefix or 'files'}* in {', '.join(sorted(rooms))} may")
        if library in NEVER.get(room, set()):
            found.append(f"{module} imports {name}: {room} never imports {library}")
    return found


def modules() -> dict[str, str]:
    """Dotted name -> source of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


def test_no_module_imports_what_its_room_may_not():
    assert [line for module, source in modules().items() for line in violations(module, source)] == []


def test_every_file_is_in_a_known_room():
    rooms = {module.split(".")[1] for module in modules()}
    assert rooms <= set(MAY_IMPORT) | CLI_MODULES | OPEN_TO_ALL


def test_the_table_has_no_cycle():
    assert len(list(TopologicalSorter(MAY_IMPORT).static_order())) == len(MAY_IMPORT)


def test_what_the_report_takes_from_algorithms_needs_numpy_only():
    sources = modules()
    report = [module for module in sources if room_of(module) == "report"]
    waiting = [name for module in report for name in imports_of(sources[module], module)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        module = next((m for m in (name, name.rpartition(".")[0]) if m in sources), None)
        if module is None or room_of(module) != "algorithms" or module in seen:
            continue
        seen.add(module)
        imported = list(imports_of(sources[module], module))
        outside = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names - {"numpy", "rlreason"}
        assert not outside, f"{module}, which the report imports, needs {outside}"
        waiting += imported


def test_an_import_upwards_is_caught_wherever_it_stands():
    lazily = "def f():\n    from rlreason.engines.protocols import Generator\n"
    assert violations("rlreason.tasks.toy", lazily) == [
        "rlreason.tasks.toy imports rlreason.engines.protocols.Generator: tasks may not import engines"
    ]
    assert violations("rlreason.recipe.toy", "from ..tasks import contract") != []
    assert violations("rlreason.recipe.toy", "from rlreason import tasks") != []
    assert violations("rlreason.tasks.toy", "from ..types import Problem\nfrom . import contract") == []


def test_a_library_outside_its_file_is_caught():
    assert violations("rlreason.engines.torch_generator", "import vllm") != []
    assert violations("rlreason.engines.vllm_generator", "import vllm\nfrom vllm.config import X") == []
    assert violations("rlreason.stages.rl", "import ray") != []
    assert violations("rlreason.report.figures", "import torch") != []
    assert violations("rlreason.bench.trl_peer", "from trl import GRPOTrainer") == []
