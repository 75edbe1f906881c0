"""The last values of every arm, in arrays. Sliding-window UCB and the mastery gate look back through one."""

from __future__ import annotations

import numpy as np


class Window:
    """The last `size` values of each of [..., A] arms; older ones are forgotten."""

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        """
        Args:
            shape: [..., A], as a rule's.
            size: values kept an arm, at least 1.
        """
        self._values = np.zeros((*shape, size))
        self._pushed = np.zeros(shape, dtype=np.int64)

    @property
    def pushed(self) -> np.ndarray:
        """[..., A] int, values ever taken in, also those forgotten since."""
        return self._pushed

    @property
    def count(self) -> np.ndarray:
        """[..., A] int, values held."""
        return np.minimum(self._pushed, self._values.shape[-1])

    def push(self, values: np.ndarray) -> None:
        """Take values in. `values`: [..., A, M] float, in order; NaN where there is none."""
        present = ~np.isnan(values)
        size = self._values.shape[-1]
        order, arrived = np.cumsum(present, axis=-1), present.sum(axis=-1)
        newest = present & (order > arrived[..., None] - size)
        slots = (self._pushed[..., None] + order - 1) % size
        places = np.nonzero(newest)
        self._values[(*places[:-1], slots[places])] = values[places]
        self._pushed += arrived

    def mean(self) -> np.ndarray:
        """[..., A] mean of what is held; 0 where nothing is."""
        return self._values.sum(axis=-1) / np.maximum(self.count, 1)  # slots never written hold 0

    def memory(self) -> dict[str, np.ndarray]:
        """The live arrays; who writes into them restores a state."""
        return {"values": self._values, "pushed": self._pushed}
