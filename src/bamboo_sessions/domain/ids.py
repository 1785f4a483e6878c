"""Ids: made as UUIDv7 (they sort by time), checked at the door, never used as file names (L64)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import uuid_utils

from bamboo_sessions.domain.errors import InputError, InvalidMessageError, InvalidSessionIdError
from bamboo_sessions.domain.limits import COMMIT_ID_CHARS_MAX, ID_CHARS_MAX

_SHOWN_CHARS_MAX: Final = 80  # of a bad value in an error's sentence


def _uuid7() -> str:
    return str(uuid_utils.uuid7())


id_source: Final[ContextVar[Callable[[], str]]] = ContextVar("id_source", default=_uuid7)
"""Where the running task's new ids come from; a simulation sets its own, so that it can be repeated."""


def new_id() -> str:
    """A new UUIDv7 as text: unique, and later ids sort behind earlier ones of this process."""
    return id_source.get()()


def _flaw(value: object) -> str | None:
    """What is wrong with an id, or `None`."""
    if not isinstance(value, str):
        return f"it is {type(value).__name__}, not text"
    if not value:
        return "it is empty"
    if len(value) > ID_CHARS_MAX:
        return f"it has {len(value):,} characters, the limit is {ID_CHARS_MAX}"
    if value.isascii() and value.isprintable():
        return None
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        return "it has control characters or lone surrogates"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def check_session_id(value: str) -> str:
    """`value`, or `InvalidSessionIdError`."""
    if flaw := _flaw(value):
        message = f"{_shown(value)} is no session id: {flaw}."
        raise InvalidSessionIdError(message, hint=f"Use 1 to {ID_CHARS_MAX} characters without control characters.")
    return value


def check_message_id(value: str) -> str:
    """`value`, or `InvalidMessageError`."""
    if flaw := _flaw(value):
        message = f"{_shown(value)} is no message id: {flaw}."
        raise InvalidMessageError(message, hint="Leave the id out to get a UUIDv7.")
    return value


def check_name(value: str, *, what: str) -> str:
    """`value` if it can name a namespace, an owner, a question…, else `InputError`."""
    if flaw := _flaw(value):
        message = f"{_shown(value)} is no {what}: {flaw}."
        raise InputError(message, hint=f"Use 1 to {ID_CHARS_MAX} characters without control characters.")
    return value


def check_commit_id(value: str) -> str:
    """`value`, or `InputError`."""
    flaw = _flaw(value)
    if flaw is None and len(value) > COMMIT_ID_CHARS_MAX:
        flaw = f"it has {len(value):,} characters, the limit is {COMMIT_ID_CHARS_MAX}"
    if flaw:
        message = f"{_shown(value)} is no commit id: {flaw}."
        raise InputError(
            message, hint=f"Use 1 to {COMMIT_ID_CHARS_MAX} characters without control characters, or leave it out."
        )
    return value
