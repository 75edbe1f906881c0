"""What a user installs: the pinned lists, and a wheel that runs outside the checkout."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.+]*$")


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {package: Version(version) for package, _, version in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("name", ["cpu.txt", "cuda.txt"])
def test_a_list_holds_pins_and_nothing_else(name: str):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    assert [line for line in lines if not PIN.match(line)] == []


@pytest.mark.parametrize(("name", "extra"), [("cpu.txt", "vllm-cpu"), ("cuda.txt", "cuda")])
def test_a_list_meets_every_bound_of_the_package(name: str, extra: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = pins(name)
    for line in [*project["dependencies"], *extras[extra], *extras["dev"]]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("rlreason-*.whl"))


def test_the_wheel_carries_recipes_rewards_and_templates(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for shipped in ("recipes", "rewards", "cluster"):
        files = [path for path in (ROOT / shipped).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files
        assert {f"rlreason/_shipped/{path.relative_to(ROOT).as_posix()}" for path in files} <= names
    package = [path for path in (ROOT / "rlreason").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in package} <= names
    assert not [name for name in names if name.endswith(".pyc") or name.startswith("tests")]


def test_an_unpacked_wheel_finds_its_recipes_outside_the_checkout(wheel: Path, tmp_path: Path):
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = (
        "import rlreason; from rlreason.recipe.shipped import shipped_recipes; from rlreason.recipe import load_recipe;"
        "print(rlreason.__file__); print([name for name, _ in shipped_recipes()]);"
        "from rlreason.recipe.validation import resolve_model_path;"
        "print(resolve_model_path(load_recipe('quickstart')))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": str(unpacked)}
    )
    assert done.returncode == 0, done.stderr
    origin, names, loaded = done.stdout.splitlines()
    assert origin.startswith(str(unpacked))
    assert "'quickstart'" in names
    assert Path(loaded) == unpacked / "rlreason" / "_shipped" / "recipes" / "models" / "tiny-base"
