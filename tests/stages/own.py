"""Samples of a policy by hand, for the stages that learn from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlreason.stages.own_samples import OwnSample


def own(number: int, text: str, correct: bool | None, prompt: str = "p?", **more: Any) -> OwnSample:
    """A finished sample; its tokens are the letters of the text, then 1."""
    values: dict[str, Any] = {
        "problem": f"id of {prompt}",
        "prompt": prompt,
        "number": number,
        "text": text,
        "answer": text.rpartition(" ")[2] or None,
        "correct": correct,
        "derived": correct,
        "finish_reason": "stop",
        "prompt_tokens": np.array([7, 8], dtype=np.int32),
        "tokens": np.array([*map(ord, text), 1], dtype=np.int32),
    }
    return OwnSample(**{**values, **more})
