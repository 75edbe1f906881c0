"""Make `.venv` from the pinned lists: `python3 scripts/setup.py`, or `make setup`. Standard library only.

Idempotent: a stamp in `.venv` holds a hash of everything the environment follows from, and a second call compares it
and returns. Not here: what was found on the machine and what it is good for (`rlreason doctor`, which this ends with).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "setup.log"
STAMP = VENV / "setup.json"
OLDEST_PYTHON = (3, 11)
UV = "uv==0.13.8"
# What packages without a wheel need while they are built; they are built without isolation, so it must be there first.
BUILD_FIRST = ("setuptools", "wheel", "ninja", "py-cpuinfo", "packaging", "numpy", "psutil")
# Has no wheel, and is compiled: a machine without a C compiler goes without it, and so without reasoning-gym.
COMPILED = ("pycosat",)


class SetupFailed(Exception):
    """A step did not succeed; the message says what to do."""


def main() -> int:
    started = time.monotonic()
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"rlreason needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and {sys.executable} is "
            f"{platform.python_version()}; name a newer one: make setup PYTHON=python3.11",
            file=sys.stderr,
        )
        return 2
    try:
        build = choose_build()
        pins = read_pins(ROOT / "requirements" / f"{build}.txt")
        stamp = {"build": build, "follows_from": fingerprint(build)}
        if read_stamp() == stamp:
            print(f".venv is up to date ({build} build); `.venv/bin/rlreason doctor` shows what it holds")
            return 0
        install(build, pins)
    except SetupFailed as failure:
        print(f"\nset-up failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; the next `make setup` goes on from here", file=sys.stderr)
        return 130
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    print(f"set up in {time.monotonic() - started:.0f} s\n", flush=True)
    return subprocess.call([str(VENV / "bin" / "rlreason"), "doctor"])


def choose_build() -> str:
    """The list to install: cuda on Linux where `nvidia-smi` lists a GPU, else cpu; RLREASON_BUILD overrides."""
    asked = os.environ.get("RLREASON_BUILD", "")
    if asked in ("cpu", "cuda"):
        return asked
    if asked:
        raise SetupFailed(f"RLREASON_BUILD {asked!r} is not one of cpu, cuda; unset, the machine decides")
    if sys.platform != "linux" or not shutil.which("nvidia-smi"):
        return "cpu"
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"
    return "cuda" if listed.returncode == 0 and "GPU" in listed.stdout else "cpu"


def read_pins(path: Path) -> dict[str, str]:
    """Package -> "package==version" of a compiled list."""
    pins = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {pin.partition("==")[0]: pin for pin in pins}


def fingerprint(build: str) -> str:
    """Hash of what the environment follows from: the list, the package's metadata, this script, the Python."""
    digest = hashlib.sha256(f"{platform.python_version()} {sys.base_prefix} {ROOT}".encode())
    for path in (ROOT / "requirements" / f"{build}.txt", ROOT / "pyproject.toml", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_stamp() -> object:
    """What the last finished set-up wrote; None where there is none, or no environment."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8")) if PYTHON.exists() else None
    except (OSError, ValueError):
        return None


def install(build: str, pins: dict[str, str]) -> None:
    """Every step, in order. Interrupted, it is run again whole: what is installed already is passed over quickly."""
    print(f"setting up .venv: {build} build, {len(pins)} packages, Python {platform.python_version()}")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print(f"  note: the lists were resolved for Linux x86_64; this is {platform.system()} {platform.machine()}")
    make_environment(build)
    install_pinned("build tools", [pins[name] for name in BUILD_FIRST if name in pins])
    torch = pins["torch"]
    if "+cpu" in torch:
        install_cpu_torch(torch)
    else:
        install_pinned(torch, [torch])
    rest = [pin for name, pin in pins.items() if name not in ("torch", *BUILD_FIRST, *COMPILED)]
    install_pinned(f"{len(rest)} packages", rest)
    for name in COMPILED:
        if not run(pins[name], [*pip_install(), pins[name]]):
            print(f"  note: {name} needs a C compiler; without it tasks of type reasoning_gym cannot be made")
    require("rlreason itself", [*pip_install(), "--editable", str(ROOT)])
    # Without this the first import of vLLM takes half a minute, and so does every later one where the environment
    # says PYTHONDONTWRITEBYTECODE. Some packages carry templates that are not valid Python, which exits with 1.
    compile_all = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", str(VENV / "lib"), str(ROOT / "rlreason")]
    run("byte-compile", compile_all, succeeds_with=(0, 1))


def make_environment(build: str) -> None:
    """A fresh `.venv`; or the one there is, where it was made here, by this Python and for this build."""
    stamp = read_stamp()
    settings = VENV / "pyvenv.cfg"
    lines = settings.read_text(encoding="utf-8").splitlines() if settings.exists() else []
    own = f"version = {platform.python_version()}" in lines and any(line.endswith(f" {VENV}") for line in lines)
    if not (own and isinstance(stamp, dict) and stamp.get("build") == build):
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        remedy = "on Debian and Ubuntu: apt install python3-venv"
        require("environment", [sys.executable, "-m", "venv", str(VENV)], remedy)
    STAMP.write_text(json.dumps({"build": build, "follows_from": "unfinished"}), encoding="utf-8")


def pip_install() -> list[str]:
    """pip without its resolver (the list is complete), without build environments, and without compiling one by one."""
    options = ["--no-deps", "--no-build-isolation", "--no-compile", "--no-input", "--disable-pip-version-check"]
    return [str(PYTHON), "-m", "pip", "install", *options, "--progress-bar", "off"]


def install_pinned(title: str, pins: list[str]) -> None:
    """Install exactly these."""
    require(title, [*pip_install(), *pins])


def install_cpu_torch(pin: str) -> None:
    """torch's CPU build, which the default package index does not carry, from the first place that has it."""
    if run(f"{pin} from pip's sources", [*pip_install(), pin]):
        return
    plain = pin.replace("+cpu", "")
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON), "--no-deps", "--torch-backend", "cpu"]
    has_uv = run("uv, which knows where torch keeps its builds", [*pip_install(), UV])
    if has_uv and run(f"{pin} through uv", [*uv, plain]):
        return
    print(f"  no source has {pin}: installing {plain}, whose CUDA parts stay idle on a CPU (some gigabytes more)")
    with_dependencies = [argument for argument in pip_install() if argument != "--no-deps"]
    require(f"{plain} with its dependencies", [*with_dependencies, plain])


def require(title: str, command: list[str], remedy: str = "") -> None:
    """Run a step that the rest needs.

    Raises:
        SetupFailed: it failed; carries the tail of the log, and the remedy.
    """
    if run(title, command):
        return
    said = LOG.read_text(encoding="utf-8", errors="replace").rpartition("\n$ ")[2].splitlines()
    tail = "\n".join(line[:300] for line in said[1:][-15:])
    remedy = remedy or "mend what is named above; for downloads check the network and `pip config list`"
    raise SetupFailed(f"{title}\n\n{tail}\n\nThe whole log is {LOG}.\nRemedy: {remedy}; then `make setup` again.")


def run(title: str, command: list[str], succeeds_with: tuple[int, ...] = (0,)) -> bool:
    """Run one step with one line on the terminal; everything it says goes to the log. True where it succeeded."""
    print(f"  {title} ... ", end="", flush=True)
    started = time.monotonic()
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        try:
            ended = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False)
            done = ended.returncode in succeeds_with
        except OSError as error:
            log.write(f"{error}\n")
            done = False
    print(f"{time.monotonic() - started:.0f} s" if done else "failed", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
