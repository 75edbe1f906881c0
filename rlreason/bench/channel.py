"""A side's end of the pipe to its parent: it reports an update and waits until it may make the next.

A line of JSON out for every update; an empty line in for "go on". The end of the input means that the parent has all
it wants, or is gone. What the libraries of a side print goes to its log, never into the pipe.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict

from rlreason.bench.figures import UpdateFigures


class Over(Exception):
    """The parent asks for no further update."""


class Channel:
    """Standard input and output of this process, taken over: its children inherit neither."""

    def __init__(self) -> None:
        # duplicates are not inherited; the usual descriptors then lead to the log and to nothing
        self._input = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._output = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def report(self, figures: UpdateFigures) -> float:
        """Send an update's figures and wait; returns the time (`perf_counter`) at which the next one may begin.

        Raises:
            Over: there shall be none.
        """
        self._output.write(json.dumps(asdict(figures)) + "\n")
        self._output.flush()
        if not self._input.readline():
            raise Over
        return time.perf_counter()
