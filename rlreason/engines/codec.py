"""Text to tokens and back, for the driver: the tokenizer of a Hugging Face directory without importing torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlreason.errors import ModelError


class TextCodec:
    """A tokenizer.json. No template and no special tokens are added: a task's prompt is what the policy reads."""

    def __init__(self, checkpoint: Path) -> None:
        """Read the tokenizer and the end token.

        Raises:
            ModelError: no tokenizer.json, or no end token is named.
        """
        from tokenizers import Tokenizer

        path = checkpoint / "tokenizer.json"
        if not path.exists():
            raise ModelError(
                f"{checkpoint} has no tokenizer.json; save a fast tokenizer there "
                "(AutoTokenizer.from_pretrained(...).save_pretrained(...))"
            )
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.end = self._end_token(checkpoint)

    def _end_token(self, checkpoint: Path) -> int:
        for name in ("generation_config.json", "config.json"):
            if (checkpoint / name).exists():
                end = json.loads((checkpoint / name).read_text()).get("eos_token_id")
                if end is not None:
                    return int(end[0] if isinstance(end, list) else end)
        raise ModelError(f"{checkpoint} names no eos_token_id in generation_config.json or config.json; add one")

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """[T] int32 a text, without special tokens."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(item.ids, dtype=np.int32) for item in encoded]

    def decode(self, sequences: Sequence[np.ndarray]) -> list[str]:
        """Text of each sequence, without special tokens."""
        texts: list[str] = self._tokenizer.decode_batch(
            [sequence.tolist() for sequence in sequences], skip_special_tokens=True
        )
        return texts

    def token_ends(self, tokens: np.ndarray) -> np.ndarray:
        """[T] int: where in the decoded text each token ends; a token that completes no character ends where the one
        before it does."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        lengths = [len(stream.step(self._tokenizer, token) or "") for token in tokens.tolist()]
        return np.cumsum(lengths, dtype=np.int64)
