"""The commands of `rlreason cluster`: the files that make a cluster for a recipe, and waiting for its nodes.

What they do is in `rlreason.cluster`; jobs on a cluster that runs are `job_commands`. As in `cli`, imports stand in the
functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlreason.errors import ModelError, UserError
from rlreason.options import Overrides, RecipeName

if TYPE_CHECKING:
    from rlreason.cluster import Experiment
    from rlreason.recipe import LoadedRecipe

cluster = typer.Typer(
    no_args_is_help=True, help="Files that make a cluster for a recipe: Kubernetes, Slurm, ssh, clouds."
)


@cluster.command()
def render(
    recipe: RecipeName,
    target: Annotated[str, typer.Option(help="kuberay, slurm, autoscaler or skypilot.")],
    storage: Annotated[
        str,
        typer.Option(metavar="DIR", help="Folder that all nodes see at this path; the run goes to DIR/RECIPE_NAME."),
    ],
    overrides: Overrides = None,
    gpus_per_node: Annotated[int, typer.Option(min=1, help="The most GPUs that one machine has.")] = 8,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here, not on standard output.")] = None,
    image: Annotated[str | None, typer.Option(help="kuberay, skypilot: container image that has rlreason.")] = None,
    claim: Annotated[
        str | None, typer.Option(help="kuberay, skypilot: name of the volume claim; default rlreason-runs.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="kuberay: RayJob (default) or RayCluster, which stays.")] = None,
    time: Annotated[str | None, typer.Option(help="slurm: longest time, such as 2-00:00; default 24:00:00.")] = None,
    gpu: Annotated[str | None, typer.Option(help="skypilot: which GPU; default H100.")] = None,
    head: Annotated[str | None, typer.Option(metavar="HOST", help="autoscaler: the first machine.")] = None,
    worker: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="autoscaler: a further machine. Repeatable.")
    ] = None,
    ssh_user: Annotated[str | None, typer.Option(metavar="USER", help="autoscaler: who logs in.")] = None,
) -> None:
    """Print the file that makes a cluster for a recipe, sized by its resources and by what its model needs.

    \b
      rlreason cluster render my_recipe.yaml --target kuberay --storage /mnt/runs --image rlreason:1.0
      rlreason cluster render my_recipe.yaml --target slurm --storage /scratch/me/runs --output job.sh
      rlreason cluster render my_recipe.yaml --target slurm --storage /scratch/me/runs --gpus-per-node 4 \\
          --set resources.generators=4 --set resources.learners=4
    """
    from rlreason.cluster import Cluster, cluster_needs
    from rlreason.cluster import render as render_target
    from rlreason.recipe import load_recipe
    from rlreason.stages.binding import bind, estimate_engines

    said = {
        **{"image": image, "claim": claim, "kind": kind, "time": time, "gpu": gpu},
        **{"head": head, "worker": worker, "ssh_user": ssh_user},
    }
    bound = bind(load_recipe(recipe, overrides or ()))
    estimate = estimate_engines(bound, on_gpu=bound.recipe.resources.accelerator != "cpu")
    if estimate is None:
        raise ModelError(
            f"the sizes of a model of the type of {bound.model_path} are not known, so no cluster can be measured for "
            "it; render the file for a recipe of the same resources with a known model, and adapt its numbers"
        )
    text = render_target(
        target,
        _experiment(bound.loaded, target, recipe, overrides or [], storage),
        cluster_needs(bound.recipe, estimate, gpus_per_node),
        Cluster(storage, gpus_per_node),
        {option: value for option, value in said.items() if value},
    )
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror}); give another --output") from None
    print(f"wrote {output}")


def _experiment(loaded: LoadedRecipe, target: str, recipe: str, overrides: list[str], storage: str) -> Experiment:
    """What is to run, as far as the target needs it: files for a pod, a folder to send, or the words typed here."""
    from rlreason.cluster import Experiment
    from rlreason.cluster.travel import packed_texts, travellers
    from rlreason.recipe.shipped import shipped_folder

    ships = loaded.source.is_relative_to(shipped_folder("recipes").resolve())
    words = [recipe if ships else str(loaded.source)]
    if target == "skypilot" and not ships:
        travellers(loaded, storage)  # refuses what lies outside
        words = [loaded.source.name]
    for override in overrides:
        words += ["--set", override]
    return Experiment(
        name=loaded.recipe.name,
        words=words,
        workdir=None if ships else str(loaded.folder),
        files=packed_texts(loaded, storage) if target == "kuberay" else {},
    )


@cluster.command()
def wait(
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Of the cluster's head.")],
    nodes: Annotated[int, typer.Option(min=1, help="How many must have joined, the head among them.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for them.")] = 600,
) -> None:
    """Wait until the nodes of a Ray cluster have joined it; run it on one of them.

    Exit code 1 where fewer have joined in time: it says how many, and which.

    \b
      rlreason cluster wait --address 10.0.0.1:6379 --nodes 4
    """
    from rlreason.cluster.join import wait_for_nodes

    joined = wait_for_nodes(address, nodes, timeout)
    print(f"{len(joined)} nodes have joined {address}: {', '.join(joined)}")
