"""States written by a thread while training goes on: one at a time, and what goes wrong is told at the next update.

What is to be written has been copied to host memory before, so that training may change it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlreason.engines.checkpoints import PARTIAL, promote, writing
from rlreason.engines.learner_state import write_tensors


class StateWriter:
    """Writes states; its methods are called from one thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def begin(self, folder: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any], keep: int) -> None:
        """Begin to write tensors beside what lies in "NAME.partial" already, and make that the state `folder`.

        Args:
            tensors: in host memory; nobody else changes them.
            about: what the manifest says of the state.
            keep: states that stay, this one among them.
        Raises:
            CheckpointError: the state before could not be written.
        """
        self.settle()
        self.check()
        partial = folder.with_name(folder.name + PARTIAL)

        def write() -> None:
            try:
                with writing(partial):
                    partial.mkdir(parents=True, exist_ok=True)
                    write_tensors(partial, tensors)
                    promote(partial, about, keep)
            except Exception as error:  # told by `check`, in the thread that trains
                self._failure = error

        self._thread = threading.Thread(target=write, name=f"writing {folder.name}")
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether what was begun could not be written; known once the thread is done with it."""
        return self._failure is not None

    def check(self) -> None:
        """Raise what went wrong, where something did, once.

        Raises:
            CheckpointError: the state could not be written.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def settle(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Wait, and forget what went wrong: whoever ends has no use for the state any more, or an error of its own."""
        self.settle()
        self._failure = None
