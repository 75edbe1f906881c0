"""Where the figures come from: what ran, with which code and where, what went wrong, and how to build a table again.

A run whose provenance is not clean says so in the first line of every form. Budgets are in `report.ledger`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from rlreason.records import ManifestRecord, RunFolder
from rlreason.report.summary import Summary, stage_label
from rlreason.report.tables import Cell, Table, duration, number_cell
from rlreason.report.training import ON_POLICY

UNSCORED = "unscored_"


def provenance_table(summary: Summary) -> Table:
    """What ran: a row a fact."""
    manifest = summary.manifest
    versions = {"rlreason": manifest.rlreason} | manifest.versions
    facts = {
        "run by": manifest.command,
        "started": manifest.started,
        "finished": manifest.finished or "not finished",
        "wall time": duration(summary.wall_seconds),
        "commit": _commit(manifest),
        "seeds": ", ".join(str(seed) for seed in manifest.seeds),
        **{f"hardware: {name}": str(value) for name, value in manifest.hardware.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return Table(("fact", "value"), tuple((Cell(name), Cell(value)) for name, value in facts.items()))


def _commit(manifest: ManifestRecord) -> str:
    if manifest.git_commit is None:
        return "not known"
    dirty = {True: " with uncommitted changes", False: "", None: "; whether files differed from it is not known"}
    return manifest.git_commit + dirty[manifest.git_dirty]


def incident_table(summary: Summary) -> list[Table]:
    """What could not be judged, by stage and cause: rollouts of training, and completions of evaluations."""
    rows = []
    for curves in summary.curves:
        if curves.type in ON_POLICY:
            for metric in map(str, curves.metrics):
                total = float(curves.metrics[metric].sum()) if metric.startswith(UNSCORED) else 0.0
                if total:
                    cause = metric.removeprefix(UNSCORED)
                    rows.append((Cell(curves.label, arm=curves.arm), Cell("training"), Cell(cause), number_cell(total)))
    for failure in summary.counts.failures.to_dict("records"):
        where = Cell(stage_label(summary.plan, failure["stage"]))
        rows.append((where, Cell(failure["level"]), Cell(failure["cause"]), number_cell(failure["n"])))
    return [Table(("stage", "where", "cause", "completions"), tuple(rows))] if rows else []


def recipe_text(folder: RunFolder) -> str:
    """The resolved recipe as the run keeps it; empty where the run has none."""
    try:
        return folder.recipe_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def commands(folder: RunFolder, tables: Iterable[str]) -> dict[str, str]:
    """Table's name -> the command that builds it from the records, and prints it."""
    return {name: shlex.join(["rlreason", "report", str(folder.path), "--table", name]) for name in tables}
