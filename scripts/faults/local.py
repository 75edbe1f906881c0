"""Faults of rewards, numbers, disks, the driver and the recipe, on engines in this process."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from faults.place import Injector, Place, Row, left_over
from rlreason.records import RunFolder, read_table

PATIENCE_S = 300


def reward_faults(place: Place) -> Iterator[Row]:
    """A worker that is killed, and rewards that hang, raise and take too much memory for one completion."""

    def kill() -> None:
        for child in psutil.Process().children():
            if "rlreason.rewards.worker" in " ".join(child.cmdline()):
                child.kill()

    yield place.broken("reward-worker-killed", "SIGKILL to the scoring worker", Injector({("rl", 2): kill}))
    for what in ("hang", "raise", "memory"):
        row = place.broken(
            f"reward-{what}", f"a reward that does it once: {what}", Injector({("rl", 2): place.order(what)})
        )
        failures = read_table(RunFolder(place.folder / row.name), "rollouts")["failure"].replace("", None).dropna()
        row.lost = (
            f"the score of {len(failures)} completions, recorded: {failures.iloc[0]}" if len(failures) else "nothing"
        )
        row.same = None if len(failures) else row.same
        yield row


def number_faults(place: Place) -> Iterator[Row]:
    """A loss that is not a number, in every update."""
    wild = "stages.rl.optimizer.learning_rate=1e30"
    yield place.broken("loss-nan", "a learning rate of 1e30", Injector(), wild, resume=False)


def disk_faults(place: Place) -> Iterator[Row]:
    """A disk that is full when a state is saved, and states that are truncated or altered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))

    try:
        run = place.folder / "disk-full"
        injector = Injector({("rl", 3): fill})
        try:
            code, said = place.run(run, injector)
        except OSError as error:
            code, said = 1, f"{type(error).__name__}: {error}"
        known = time.time() - injector.injected_at
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again, _ = place.run(run)
    said += f" [run again, with room: {'goes on to its end' if again == 0 else f'exit {again}'}]"
    yield Row(
        "disk-full",
        "writes over 50 kB fail from update 3 on",
        round(known, 1),
        said,
        "nothing",
        code,
        [],
        place.same(run),
    )
    for name, damage in (
        ("truncated", lambda data: data[: len(data) // 2]),
        ("altered", lambda data: bytes([data[0] ^ 1]) + data[1:]),
    ):
        run = place.folder / f"checkpoint-{name}"

        def stop() -> None:
            raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            place.run(run, Injector({("rl", 3): stop}))
        largest = max(run.glob("stages/rl-*/state/**/*.safetensors"), key=lambda path: path.stat().st_size)
        largest.write_bytes(damage(largest.read_bytes()))
        injector = Injector()
        code, said = place.run(run, injector)
        known = time.time() - injector.injected_at
        yield Row(
            f"checkpoint-{name}",
            f"{largest.name} of a saved state was {name}",
            round(known, 1),
            said,
            "the state",
            code,
        )


def driver_faults(place: Place) -> Iterator[Row]:
    """The driver's process is killed, ended, and stopped with Ctrl-C."""
    for name, number in (("killed", signal.SIGKILL), ("ended", signal.SIGTERM), ("interrupted", signal.SIGINT)):
        run = place.folder / f"driver-{name}"
        command = [sys.executable, "-m", "rlreason", "run", str(place.recipe), "--folder", str(run)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        started: set[psutil.Process] = set()
        deadline = time.monotonic() + PATIENCE_S
        while updates(run) < 3 and process.poll() is None and time.monotonic() < deadline:
            started |= set(psutil.Process(process.pid).children(recursive=True))
            time.sleep(0.02)
        sent = time.time()
        process.send_signal(number)
        process.wait()
        known = time.time() - sent
        left = left_over(list(started))
        again, said = place.run(run)
        assert again == 0, said
        happened = f"ended; run again: {'goes on to its end' if again == 0 else f'exit {again}'}"
        lost = "the updates since the last saved state, made again"
        yield Row(
            f"driver-{name}", number.name, round(known, 1), happened, lost, process.returncode, left, place.same(run)
        )


def updates(run: Path) -> int:
    """RL updates in the live stream."""
    path = run / "metrics.jsonl"
    return path.read_text().count('{"stage": "rl-') if path.exists() else 0


def start_faults(place: Place) -> Iterator[Row]:
    """What a machine lacks: said before anything is started."""
    real = ("resources.generator=vllm", "resources.learner=deepspeed")
    for name, injected, overrides in (
        ("start-address", "an address at which nobody answers", (*real, "resources.address=127.0.0.1:9")),
        ("start-devices", "8 GPUs asked for", (*real, "resources.accelerator=cuda", "resources.generators=8")),
    ):
        injector = Injector()
        code, said = place.run(place.folder / name, injector, *overrides)
        known = time.time() - injector.injected_at
        yield Row(
            name, injected, round(known, 1), said, "nothing", code, left_over(psutil.Process().children(recursive=True))
        )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        began = time.time()
        command = [sys.executable, "-m", "rlreason", "watch", str(place.whole), "--web", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        said = " ".join(ended.stderr.split())
        yield Row(
            "start-port",
            "the port of `watch` is taken",
            round(time.time() - began, 1),
            said,
            "nothing",
            ended.returncode,
        )
