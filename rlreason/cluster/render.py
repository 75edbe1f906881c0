"""The files that make a cluster for a recipe: KubeRay manifests, a Slurm script, a Ray launcher file, a SkyPilot task.

Fills the templates under cluster/, and dumps the manifests of `kuberay`. Every value that a template inserts is quoted
by the environment, as JSON (which is YAML) or for the shell, so that no template can forget to. Starts nothing and asks
no cluster.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jinja2
import yaml

import rlreason
from rlreason.cluster.kuberay import manifests
from rlreason.cluster.needs import ClusterNeeds, uniform_nodes
from rlreason.errors import UserError, one_of
from rlreason.recipe.shipped import shipped_folder

JOIN_TIMEOUT_S = 600
"""How long the nodes of a started cluster may take to join."""
_BARE_IN_JSON = re.compile("[\x7f-\xa0\u2028\u2029\ufeff]")
"""JSON leaves these bare, and YAML reads them as something else."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is to run on the cluster.

    Attributes:
        name: the recipe's.
        words: how `rlreason run` is told of it here: RECIPE --set KEY=VALUE ...
        workdir: folder with the recipe and all files it names; None where everything ships with rlreason.
        files: path -> text of recipe.yaml and the plug-ins it names, for a ConfigMap.
    """

    name: str
    words: Sequence[str]
    workdir: str | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines, as far as every target wants to know.

    Attributes:
        storage: folder that all of them see at the same path; the run goes to storage/NAME.
        gpus_per_node: the most GPUs one of them has.
    """

    storage: str
    gpus_per_node: int = 8


class _Ready(str):
    """Text that is quoted already."""


def _as_yaml(value: Any) -> str:
    if isinstance(value, _Ready):
        return value
    return _BARE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _for_shell(value: Any) -> str:
    return value if isinstance(value, _Ready) else shlex.quote(str(value))


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of cluster: its options with their defaults (None: it must be given), and what writes the file."""

    takes: Mapping[str, Any]
    write: Callable[[Experiment, ClusterNeeds, Mapping[str, Any]], str]


_ALLOWED: dict[str, tuple[str, str]] = {  # option -> (pattern, the words for it)
    "storage": (r"/[^\s:\"'\\$`]+", "an absolute path without spaces, quotes and colons, such as /mnt/rlreason"),
    "image": (r"[A-Za-z0-9][A-Za-z0-9./:@_-]*", "a container image with rlreason in it, such as rlreason:1.0"),
    "claim": (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "lower-case letters, digits and dashes"),
    "kind": ("RayJob|RayCluster", "RayJob (runs the recipe, then ends) or RayCluster (stays, for `rlreason submit`)"),
    "time": (r"(\d+-)?\d{1,2}(:\d{2}){1,2}", "a Slurm time, such as 24:00:00 or 2-00:00"),
    "gpu": (r"[A-Za-z0-9][A-Za-z0-9-]*", "a GPU as SkyPilot calls it, such as H100 or A100-80GB"),
    "head": (r"[A-Za-z0-9][A-Za-z0-9.-]*", "a host name or address"),
    "worker": (r"[A-Za-z0-9][A-Za-z0-9.-]*", "a host name or address"),
    "ssh_user": (r"[a-z_][a-z0-9_-]*", "a user's name"),
}


def render(target: str, experiment: Experiment, needs: ClusterNeeds, cluster: Cluster, given: Mapping[str, Any]) -> str:
    """The text of the file that makes a cluster.

    Args:
        target: one of `TARGETS`.
        given: options of the target, those that were said.
    Raises:
        UserError: an unknown target; an option that is missing, means nothing to the target, or has a value that is
            not allowed.
    """
    if target not in TARGETS:
        raise UserError(one_of("--target", target, TARGETS))
    options = _checked(target, cluster, given)
    count, node = uniform_nodes(needs, cluster.gpus_per_node)
    options |= {"nodes": count, "node": node, "folder": f"{cluster.storage.rstrip('/')}/{experiment.name}"}
    return TARGETS[target].write(experiment, needs, options)


def slug(name: str) -> str:
    """A recipe's name as Kubernetes and clouds allow one: lower case, dashes, 40 characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")


def _kuberay(experiment: Experiment, needs: ClusterNeeds, options: Mapping[str, Any]) -> str:
    documents = manifests(
        options["kind"], f"rlreason-{slug(experiment.name)}", needs, experiment.files, {**options, **_versions()}
    )
    head = (
        f"# Made by `rlreason cluster render`, rlreason {rlreason.__version__}, for KubeRay 1.6 or newer.\n"
        f"# Needs: {needs.told}\n"
        f"# `kubectl apply -f THIS_FILE` in a namespace with the claim {options['claim']} (ReadWriteMany).\n"
    )
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=False)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, where YAML can, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out each time."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _slurm(experiment: Experiment, needs: ClusterNeeds, options: Mapping[str, Any]) -> str:
    return _fill("slurm.sh.j2", _for_shell, experiment, needs, options)


def _autoscaler(experiment: Experiment, needs: ClusterNeeds, options: Mapping[str, Any]) -> str:
    named = len(options["worker"]) + 1
    if named != options["nodes"]:
        raise UserError(
            f"the recipe needs {options['nodes']} machines, the head among them, and {named} are named; name "
            f"{options['nodes'] - 1} with --worker, or change what the recipe asks for (resources, --gpus-per-node)"
        )
    return _fill("autoscaler.yaml.j2", _as_yaml, experiment, needs, options)


def _skypilot(experiment: Experiment, needs: ClusterNeeds, options: Mapping[str, Any]) -> str:
    script = _fill("skypilot.sh.j2", _for_shell, experiment, needs, options)
    return _fill("skypilot.yaml.j2", _as_yaml, experiment, needs, {**options, "script": script})


def _fill(
    template: str,
    quote: Callable[[Any], str],
    experiment: Experiment,
    needs: ClusterNeeds,
    options: Mapping[str, Any],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("cluster")),
        undefined=jinja2.StrictUndefined,
        finalize=quote,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{%#",  # `{#` is bash's
        comment_end_string="#%}",
    )
    environment.filters |= {
        "bare": lambda value: _Ready(" ".join(str(value).split())),
        "words": lambda words: _Ready(shlex.join(words)),
        "block": _block,
    }
    return environment.get_template(template).render(
        **{"name": experiment.name, "slug": slug(experiment.name), "words": experiment.words},
        **{"workdir": experiment.workdir, "needs": needs, "join_timeout": JOIN_TIMEOUT_S},
        **_versions(),
        **options,
    )


def _block(text: str) -> _Ready:
    """Lines of a script as a YAML block under a key at the margin."""
    return _Ready("|\n" + "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True)))


def _versions() -> dict[str, str]:
    return {"ray_version": version("ray"), "rlreason_version": rlreason.__version__}


def _shown(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _checked(target: str, cluster: Cluster, given: Mapping[str, Any]) -> dict[str, Any]:
    """The target's options, defaults filled in."""
    takes = TARGETS[target].takes
    for option in given:
        if option not in takes:
            meant = ", ".join(map(_shown, takes))
            raise UserError(f"{_shown(option)} means nothing to --target {target}, which takes {meant}; leave it out")
    options = {**takes, **given, "storage": cluster.storage}
    for option, value in options.items():
        pattern, words = _ALLOWED[option]
        if value is None:
            raise UserError(f"--target {target} needs {_shown(option)}: {words}")
        for each in [value] if isinstance(value, str) else value:
            if not re.fullmatch(pattern, each):
                raise UserError(f"{_shown(option)} {each!r} is not allowed; write {words}")
    return options


TARGETS: dict[str, Target] = {
    "kuberay": Target({"image": None, "claim": "rlreason-runs", "kind": "RayJob"}, _kuberay),
    "slurm": Target({"time": "24:00:00"}, _slurm),
    "autoscaler": Target({"head": None, "worker": (), "ssh_user": None}, _autoscaler),
    "skypilot": Target({"image": None, "claim": "rlreason-runs", "gpu": "H100"}, _skypilot),
}
