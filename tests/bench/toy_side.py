"""A side for tests: it makes two updates, having started a child that would outlive it. With a file `fail`: none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rlreason.bench.channel import Channel, Over
from rlreason.bench.figures import UpdateFigures


def main(folder: Path) -> None:
    channel = Channel()
    print("what a library prints")
    if (folder / "fail").exists():
        raise RuntimeError("no such model")
    child = subprocess.Popen(["sleep", "600"])
    (folder / "pid").write_text(str(child.pid))
    try:
        for number in (1, 2):
            channel.report(UpdateFigures(float(number), {"generate": 0.5, "learn": 0.25}, 1, 2, 3, 1, 0.0, 3))
    except Over:
        (folder / "over").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
