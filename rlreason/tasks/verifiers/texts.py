"""Chat messages as the plain text that a policy reads.

A task does not know the tokenizer, so no chat template is applied here: a question alone stays as it is, everything
else is written with its roles. Words only: pictures and results of tools are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rlreason.errors import TaskError, one_of

_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
NEXT = "Assistant:"
"""Stands where the policy is to write."""


class Message(Protocol):
    """What is read of a message of the library."""

    role: str
    content: object


def prompt_text(messages: Sequence[Message], with_roles: bool) -> str:
    """What the policy reads first.

    Args:
        messages: the conversation so far, the system message first.
        with_roles: write the roles even where a user's question stands alone, because turns will follow.
    Raises:
        TaskError: a message holds more than words.
    """
    if not with_roles and [message.role for message in messages] == ["user"]:
        return _words(messages[0])
    return _lines(messages)


def observation_text(messages: Sequence[Message]) -> str:
    """What the policy reads after its turn: the environment's messages, and the place for its next turn."""
    return "\n" + _lines(messages)


def _lines(messages: Sequence[Message]) -> str:
    told = []
    for message in messages:
        if message.role not in _ROLES:
            raise TaskError(one_of("role of a message", message.role, _ROLES))
        told.append(f"{_ROLES[message.role]}: {_words(message)}")
    return "\n".join([*told, NEXT])


def _words(message: Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    kinds = [part.type for part in parts]
    if set(kinds) - {"text"}:
        raise TaskError(f"a {message.role} message has parts of kind {', '.join(kinds)}; a policy here reads text only")
    return "\n".join(part.text for part in parts)
