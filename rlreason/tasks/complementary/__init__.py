"""Complementary reasoning over a synthetic world: see `task` for the families and levels."""

from rlreason.tasks.complementary.parameters import ComplementaryParameters
from rlreason.tasks.complementary.task import Complementary

__all__ = ["Complementary", "ComplementaryParameters"]
