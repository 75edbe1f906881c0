"""What of a recipe travels to a cluster: its resolved text, and the files it names that lie beside it.

Of the files a recipe names, those that ship with rlreason are there already; absolute ones under the storage that every
node sees stay where they are; those beside the recipe travel; and whatever lies elsewhere is refused, since the cluster
would look for it in vain. Asks no cluster.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rlreason.errors import RecipeError, UserError
from rlreason.recipe import LoadedRecipe, dump_recipe
from rlreason.recipe.freeze import frozen_path
from rlreason.recipe.scorers import PrmFolder
from rlreason.recipe.shipped import shipped_folder
from rlreason.stages.task_files import task_files

RECIPE = "recipe.yaml"
MOST_BYTES = 100 * 2**20
"""What may travel at once: it goes through the memory of the cluster's head. Models belong on the storage."""
MOST_TEXT_BYTES = 900_000
"""What a ConfigMap holds, with some room for its keys: Kubernetes allows 1 MiB."""


@dataclass(frozen=True, slots=True)
class Traveller:
    """A file or folder that travels: where it lies here, and its place beside recipe.yaml there."""

    here: Path
    there: str


def named_files(loaded: LoadedRecipe) -> Iterator[tuple[str, str]]:
    """(place in the recipe, path as it stands there) of every file and folder that a recipe names."""
    recipe = loaded.recipe
    if recipe.model.path is not None:
        yield "model.path", recipe.model.path
    for index, part in enumerate(recipe.rewards.parts):
        file, _, _ = part.spec.rpartition(":")
        if file.endswith(".py"):
            yield f"rewards.parts[{index}].spec", file
    for name, scorer in recipe.scorers.items():
        if isinstance(scorer, PrmFolder):
            yield f"scorers.{name}.path", scorer.path
    yield from task_files(recipe).items()


def is_known_there_alone(loaded: LoadedRecipe, storage: str) -> bool:
    """Whether the recipe names a file on the cluster's storage that this machine does not see."""
    return any(_on_storage(given, storage) and not Path(given).exists() for _, given in named_files(loaded))


def _on_storage(given: str, storage: str) -> bool:
    path = PurePosixPath(given)
    return path.is_relative_to(storage) and ".." not in path.parts


def travellers(loaded: LoadedRecipe, storage: str) -> list[Traveller]:
    """The files that must travel with the recipe.

    Args:
        storage: folder that every node of the cluster sees at that path.
    Raises:
        UserError: `storage` is no such path.
        RecipeError: one lies neither beside the recipe, nor on the storage, nor among what ships; a line a file. Or
            they are too large.
    """
    if not PurePosixPath(storage).is_absolute():
        raise UserError(f"--storage {storage!r} is not an absolute path; every node must find it, as /mnt/runs")
    found: list[Traveller] = []
    refused = []
    for where, given in named_files(loaded):
        if _on_storage(given, storage):
            continue
        beside = _beside(given, loaded.folders)
        if beside is not None:
            found.append(Traveller(beside, given))
        elif not _ships(given):
            refused.append(f"{where}: {given!r}")
    if refused:
        raise RecipeError(
            f"{loaded.source}: files that lie outside of what travels:\n  "
            + "\n  ".join(refused)
            + f"\nOnly files under "
            f"the recipe's own folder ({loaded.folder}) travel; move them there and name them relative to it, or put "
            f"them on the cluster's storage and name them by their path there ({storage}/...)"
        )
    frozen = frozen_path(loaded)
    if frozen.is_file():
        found.append(Traveller(frozen, frozen.name))
    size = sum(_size(each.here) for each in found)
    if size > MOST_BYTES:
        largest = max(found, key=lambda each: _size(each.here))
        raise RecipeError(
            f"{loaded.source}: its files have {size / 2**20:.0f} MiB, and {MOST_BYTES // 2**20} MiB may travel; put "
            f"{largest.there!r} ({_size(largest.here) / 2**20:.0f} MiB) on the cluster's storage and name it by its "
            f"path there ({storage}/...)"
        )
    return list(dict.fromkeys(found))


def _beside(given: str, folders: tuple[Path, ...]) -> Path | None:
    """Where a relative path lies under one of the recipe's folders, links followed; None where it does not."""
    path = Path(given)
    if path.is_absolute() or given.startswith("~") or ".." in path.parts:
        return None
    for folder in folders:
        if (folder / path).exists():
            return (folder / path).resolve() if not _is_shipped(folder / path) else None
    return None


def _ships(given: str) -> bool:
    """Whether it is found among what ships, which every node has."""
    places = [shipped_folder("recipes") / given, shipped_folder("rewards").parent / given]
    return not Path(given).is_absolute() and any(place.exists() and _is_shipped(place) for place in places)


def _is_shipped(path: Path) -> bool:
    return any(path.resolve().is_relative_to(shipped_folder(kind).resolve()) for kind in ("recipes", "rewards"))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def pack(loaded: LoadedRecipe, storage: str, folder: Path) -> None:
    """Write the resolved recipe and everything that travels with it into an empty folder.

    Raises:
        RecipeError: see `travellers`.
    """
    for each in travellers(loaded, storage):
        target = folder / each.there
        target.parent.mkdir(parents=True, exist_ok=True)
        if each.here.is_dir():
            shutil.copytree(each.here, target)
        else:
            shutil.copyfile(each.here, target)
    (folder / RECIPE).write_text(dump_recipe(loaded.recipe), encoding="utf-8")


def packed_texts(loaded: LoadedRecipe, storage: str) -> dict[str, str]:
    """The same as path -> text, for a place that holds nothing but some text.

    Raises:
        RecipeError: see `travellers`; or something is no text, or it is too much of it.
    """
    texts = {RECIPE: dump_recipe(loaded.recipe)}
    for each in travellers(loaded, storage):
        try:
            texts[each.there] = each.here.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # a folder, or binary
            raise RecipeError(
                f"{loaded.source}: {each.there!r} is not a text file, and a ConfigMap holds nothing else; put it on "
                f"the cluster's storage and name it by its path there ({storage}/...)"
            ) from None
    size = sum(len(text.encode()) for text in texts.values())
    if size > MOST_TEXT_BYTES:
        raise RecipeError(
            f"{loaded.source}: recipe and plug-ins have {size:,} bytes, and a ConfigMap holds {MOST_TEXT_BYTES:,}; put "
            f"the largest file on the cluster's storage and name it by its path there ({storage}/...)"
        )
    return texts
