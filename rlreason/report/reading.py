"""Reading what can be read: a stage whose records are damaged is left out and named, and the report goes on without it.

The report of a run that lost a file is still a report, as long as it says what it lacks. Completions, of which there
may be millions, are read by `report.counts` and `report.browser`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, read_table


def read_stages(
    folder: RunFolder, table: str, stages: Iterable[str], columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """As `read_table`, without the stages that cannot be read.

    Returns:
        The rows of the others, and stage -> why its records could not be read (naming the file): truncated, of another
        schema version, with a column missing or of another type.
    """
    frames, unreadable = [], {}
    for stage in stages:
        try:
            frames.append(read_table(folder, table, [stage], columns))
        except RecordsError as error:
            unreadable[stage] = str(error)
    if not frames:
        return read_table(folder, table, [], columns), unreadable
    return pd.concat(frames, ignore_index=True), unreadable
