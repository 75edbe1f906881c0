"""From a name or a file to a checked `Recipe`: find, read, `extends:`, `--set` overrides, validate, cross-check.

Rules of `extends: OTHER` (a path beside the extending file, or the name of a recipe that ships):

- mappings merge key by key, as deep as they go; anything else, lists too, replaces what was inherited, and so does a
  mapping that says another `type` (settings of one type mean nothing to another);
- `key: null` removes an inherited key, so its default holds (a stage, an arm, a setting); where nothing was
  inherited, null stays null;
- `name` is not inherited: left out, in any recipe, it is the file's own name.

An override `a.b[0].c=VALUE` is applied last and by the same rules, VALUE being YAML. Nothing is interpolated: a text
that holds `${` is refused. Which tasks and rewards exist is not known here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rlreason.errors import RecipeError
from rlreason.recipe.explain import Finding, explain
from rlreason.recipe.schema import Recipe
from rlreason.recipe.shipped import shipped_folder
from rlreason.recipe.validation import check_references
from rlreason.recipe.yaml_text import parse_yaml, read_yaml, to_yaml


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that passed every check that needs no engine.

    Attributes:
        recipe: the recipe, defaults filled in.
        source: the file that was asked for.
        folders: that file's folder, then those of the recipes it extends: where relative paths are looked for first.
        resolved: the recipe as plain values, defaults included; what a run saves and a resume compares.
    """

    recipe: Recipe
    source: Path
    folders: tuple[Path, ...]
    resolved: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of the recipe's own file."""
        return self.folders[0]


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        name_or_path: a file, or the name of a recipe that ships.
        overrides: "stages.rl.updates=10", "evaluation.levels=[iid]", "stages.rl.data[0].weight=2" ...
    Raises:
        RecipeError: it does not exist, does not parse, or does not hold together; a line a problem, with file, key,
            value and what is allowed.
    """
    source = _find(str(name_or_path), beside=None)
    merged, files = _read_extended(source, ())
    merged.setdefault("name", source.stem)
    _refuse_interpolation(merged, _shown(source))
    changed = _apply_overrides(merged, overrides)
    place = _shown(source) + (f" (extends {', '.join(file.name for file in files[1:])})" if files[1:] else "")
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        raise _refused(explain(error, Recipe, more_keys=("extends",)), place, changed) from None
    findings = check_references(recipe)
    if findings:
        raise _refused(findings, place, changed)
    folders = tuple(dict.fromkeys(file.parent for file in files))
    return LoadedRecipe(recipe=recipe, source=source, folders=folders, resolved=plain(recipe))


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load_recipe` reads it back as an equal `Recipe`."""
    return to_yaml(plain(recipe))


def plain(section: BaseModel) -> dict[str, Any]:
    """A section as dicts, lists and scalars, defaults included. Keys keep their type (`hops: {1: 0.5}`)."""
    listed = _lists(section.model_dump())
    assert isinstance(listed, dict)
    return listed


def _shown(path: Path) -> str:
    """A path as a person here would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(entry) for entry in value]
    return value


def _find(name: str, beside: Path | None) -> Path:
    """The file meant by a path (from the folder `beside`, else from here) or by the name of a shipped recipe."""
    written = Path(name).expanduser()
    path = written if beside is None else beside / written
    if path.is_file():
        return path.resolve()
    shipped = {file.stem: file for file in sorted(shipped_folder("recipes").glob("*.yaml"))}
    if name in shipped:
        return shipped[name].resolve()
    neighbours = [str(written.parent / file.name) for file in sorted(path.parent.glob("*.yaml"))]
    near = difflib.get_close_matches(name, [*shipped, *neighbours], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise RecipeError(
        f"there is no recipe {name!r}: no such file{f' beside {beside}' if beside else ''}, and what ships is "
        f"{', '.join(shipped) or 'nothing'}{hint}"
    )


def _read_extended(file: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Any], list[Path]]:
    """The values of a file laid over those it extends, and the files read, the file itself first."""
    if file in chain:
        circle = " -> ".join(str(link) for link in (*chain[chain.index(file) :], file))
        raise RecipeError(f"recipes extend each other in a circle: {circle}; take one `extends` out")
    own = read_yaml(file)
    extends = own.pop("extends", None)
    if extends is None:
        return own, [file]
    if not isinstance(extends, str):
        raise RecipeError(f"{file}: extends: should be one recipe's name or path; got {extends!r}")
    try:
        base_file = _find(extends, beside=file.parent)
    except RecipeError as error:
        raise RecipeError(f"{file}: extends: {error}") from None
    base, files = _read_extended(base_file, (*chain, file))
    base.pop("name", None)
    return _merge(base, own), [file, *files]


def _merge(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """`over` laid over `base`: mappings of one `type` merge, null removes what is there, anything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        if value is None and key in merged:
            del merged[key]
        elif isinstance(value, dict) and isinstance(merged.get(key), dict) and _same_type(merged[key], value):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _same_type(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> bool:
    return bool(over.get("type", base.get("type")) == base.get("type"))


def _refuse_interpolation(value: Any, where: str, path: str = "") -> None:
    if isinstance(value, str) and "${" in value:
        raise RecipeError(f"{where}: {path}: {value!r} holds `${{`; a recipe interpolates nothing: write the value out")
    if isinstance(value, dict):
        for key, entry in value.items():
            _refuse_interpolation(entry, where, f"{path}.{key}" if path else str(key))
    if isinstance(value, list):
        for index, entry in enumerate(value):
            _refuse_interpolation(entry, where, f"{path}[{index}]")


def _apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """Change `values` in place; returns path -> override as written, for errors to name."""
    changed = {}
    for override in overrides:
        path, separator, text = override.partition("=")
        path = path.strip()
        if not separator or not re.fullmatch(r"[^.\[\]=]+(\.[^.\[\]]+|\[[^\[\]]+\])*", path):
            raise RecipeError(f"--set {override}: write KEY.PATH=VALUE, such as stages.rl.updates=10")
        if path == "extends":
            raise RecipeError(f"--set {override}: write `extends` in the recipe file, or load the other recipe")
        if not text.strip():
            raise RecipeError(f"--set {override}: no value; write {path}=null to take the key out")
        value = parse_yaml(text, f"--set {override}")
        _refuse_interpolation(value, f"--set {override}", path)
        _apply_override(values, path, value, override)
        changed[path] = override
    return changed


def _apply_override(values: dict[str, Any], path: str, value: Any, override: str) -> None:
    from omegaconf import OmegaConf  # costs 60 ms that recipes without overrides do not pay
    from omegaconf.errors import OmegaConfBaseException

    try:
        tree = OmegaConf.create(values)
        before = OmegaConf.select(tree, path)
        if OmegaConf.is_dict(before) and isinstance(value, dict):
            value = _merge({"": OmegaConf.to_container(before)}, {"": value})[""]
        OmegaConf.update(tree, path, value, merge=False)
        if value is None and before is not None and not path.endswith("]"):
            parent, _, key = path.rpartition(".")
            (OmegaConf.select(tree, parent) if parent else tree).pop(key)
    except (OmegaConfBaseException, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(f"--set {override}: {path} cannot be set: {str(error).splitlines()[0]}") from None
    result = OmegaConf.to_container(tree)
    assert isinstance(result, dict)
    values.clear()
    values.update(result)  # type: ignore[arg-type]


def _refused(findings: Sequence[Finding], place: str, changed: Mapping[str, str]) -> RecipeError:
    """One error for all findings; one at or under an overridden key is blamed on that override, others on the file."""
    with_all = "".join(f" --set {override}" for override in changed.values())
    lines = []
    for finding in findings:
        blamed = [override for path, override in changed.items() if _concerns(path, finding.path)]
        where = f"--set {blamed[-1]}" if blamed else place + (f" with{with_all}" if with_all else "")
        lines.append(": ".join(part for part in (where, finding.path, finding.sentence) if part))
    return RecipeError("\n".join(lines))


def _concerns(overridden: str, path: str) -> bool:
    return path == overridden or path.startswith((f"{overridden}.", f"{overridden}["))
