"""Turing-machine imitation (TAIL): see `task` for cells and levels, `text` for the form of derivations."""

from rlreason.tasks.tail.parameters import TailParameters
from rlreason.tasks.tail.task import Tail

__all__ = ["Tail", "TailParameters"]
