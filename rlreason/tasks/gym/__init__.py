"""Datasets of the reasoning-gym library as tasks."""

from rlreason.tasks.gym.task import ReasoningGym

__all__ = ["ReasoningGym"]
