"""Users' own files as a task."""

from rlreason.tasks.files.task import Files

__all__ = ["Files"]
