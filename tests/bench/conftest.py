"""Tiny models run on one thread."""

from tests.torch_threads import one_thread  # noqa: F401
