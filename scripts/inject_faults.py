"""Break small real runs in some twenty-five ways, one after another, and print what became of each.

    python scripts/inject_faults.py                    all of them (a quarter of an hour on two cores)
    python scripts/inject_faults.py --only reward      one group of them
    python scripts/inject_faults.py --json faults.json

A row says what was injected, after how many seconds it was known, what happened, what was lost, the exit code, which
processes were left, and whether the records of the run, resumed where it ended, are those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from faults.local import disk_faults, driver_faults, number_faults, reward_faults, start_faults
from faults.on_ray import engine_faults, node_faults
from faults.place import RECIPE, Place, Row

GROUPS: dict[str, Callable[[Place], Iterator[Row]]] = {
    "reward": reward_faults,
    "loss": number_faults,
    "disk": disk_faults,
    "driver": driver_faults,
    "start": start_faults,
    "engine": engine_faults,
    "node": node_faults,
}


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    heading = ("fault", "injected", "known after s", "what happened", "lost", "exit", "left", "records")
    lines = ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    for row in rows:
        same = {True: "the same", False: "DIFFER", None: "-"}[row.same]
        known = "-" if row.known_after_s is None else f"{row.known_after_s:.1f}"
        cells = (
            row.name,
            row.injected,
            known,
            row.happened[:240],
            row.lost,
            str(row.exit),
            ", ".join(row.left) or "none",
            same,
        )
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Inject, print, and exit with 1 where a fault left processes or other records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", choices=GROUPS, help=f"one of {', '.join(GROUPS)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    chosen = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "torch", RECIPE)
        if chosen.only not in ("engine", "node"):
            code, said = place.run(place.whole)
            assert code == 0, said
        for name, group in GROUPS.items():
            for row in group(place) if chosen.only in (None, name) else ():
                print(
                    f"{datetime.now(UTC):%H:%M:%S} {row.name}: exit {row.exit}, {row.happened[:160]}", file=sys.stderr
                )
                rows.append(row)
    print(table(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    sys.exit(any(row.left or row.same is False for row in rows))


if __name__ == "__main__":
    main()
