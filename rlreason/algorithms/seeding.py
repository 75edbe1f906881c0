"""Seeds that follow from what they are for, so that order, restarts and the number of workers change nothing."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from what it is for, e.g. derive_seed(run_seed, "rl-1a2b", update, problem_id, sample).

    The same on every machine and Python version (unlike hash()); ("a", "bc") is not ("ab", "c").
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
