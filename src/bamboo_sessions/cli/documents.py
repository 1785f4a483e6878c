"""Values of the library as JSON documents: every field, also those that have their default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseInfo
from bamboo_sessions.domain.message import Message, Native
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import link_of


def document(value: Any) -> Any:  # noqa: ANN401 - any value of the library, any JSON
    """`value` as JSON types."""
    if isinstance(value, msgspec.Struct):
        return _of_struct(value)
    if isinstance(value, Mapping):
        return {key: document(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [document(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return sorted(value) if isinstance(value, frozenset) else value


def _of_struct(value: msgspec.Struct) -> dict[str, Any]:
    if isinstance(value, Native):
        return _native(value)
    tag = value.__struct_config__.tag
    fields = {} if tag is None else {"type": tag}
    fields |= {name: document(getattr(value, name)) for name in value.__struct_fields__}
    return _head(value, fields) if isinstance(value, SessionHead) else fields


def _head(head: SessionHead, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        **fields,
        "has_question": head.has_question,
        "pending_question": document(head.pending_question),
        "run_status": head.run_status,
    }


def _native(native: Native) -> dict[str, str]:
    try:
        return {"format": native.format, "data": native.data.decode()}
    except UnicodeDecodeError:
        return {"format": native.format, "data_base64": msgspec.to_builtins(native.data)}


def head_of(session: Session) -> SessionHead:
    """The head that `session` was loaded with."""
    base = link_of(session).base
    assert base is not None  # noqa: S101 - the commands only see sessions that storage has
    return base.head


def conversation(
    head: SessionHead, messages: tuple[Message, ...], *, has_earlier: bool, lease: LeaseInfo | None
) -> dict[str, Any]:
    """A session with its messages, or with the newest of them, and who runs it."""
    return {
        "session": document(head),
        "lease": document(lease),
        "messages": document(messages),
        "has_earlier": has_earlier,
    }
