"""A session's place in its tree: what a child leaves out follows from its parent (L120).

Whoever creates a child may be hours old; only the transaction that creates it knows its parent. There, root and depth
are worked out, and the owner if the child names none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import SPAWN_DEPTH_MAX, check_limit


def placed(head: SessionHead, living: Callable[[str], SessionHead]) -> SessionHead:
    """The head of a new session with its place in the tree.

    Args:
        head: As the caller made it. A root that is the session itself, a depth of 0 and an owner of `None` are left out
            if it has a parent.
        living: The head of a living session; raises if it doesn't live.

    Raises:
        InputError: The head contradicts its parent, or the session is its own parent.
        LimitExceededError: The tree would be too deep.
    """
    if head.parent_session_id is None:
        return _filled(head, root_session_id=head.id, spawn_depth=0)
    if head.parent_session_id == head.id:
        message = f"Session {head.id!r} can't be its own parent."
        raise InputError(message, hint="Name another session as its parent, or none.")
    parent = living(head.parent_session_id)
    check_limit(f"Session {head.id!r}: depth below its root", parent.spawn_depth + 1, SPAWN_DEPTH_MAX)
    owner = parent.owner if head.owner is None else head.owner
    return _filled(head, root_session_id=parent.root_session_id, spawn_depth=parent.spawn_depth + 1, owner=owner)


def below(head: SessionHead, parent: SessionHead) -> SessionHead:
    """The head of a child that is stored already, with the root and depth that its parent gives it."""
    return msgspec.structs.replace(head, root_session_id=parent.root_session_id, spawn_depth=parent.spawn_depth + 1)


def kept(head: SessionHead, stored: SessionHead) -> SessionHead:
    """The head that replaces `stored` as a whole: a session keeps its place in the tree for life.

    Raises `InputError` if it names another one.
    """
    return _filled(
        head,
        parent_session_id=stored.parent_session_id,
        root_session_id=stored.root_session_id,
        spawn_depth=stored.spawn_depth,
    )


def is_left_out(head: SessionHead, name: str) -> bool:
    """Whether a head made by hand says nothing of this part of its identity."""
    defaults = {"owner": None, "kind": "root", "parent_session_id": None, "spawn_depth": 0, "root_session_id": head.id}
    return name in defaults and getattr(head, name) == defaults[name]


def _filled(head: SessionHead, **place: Any) -> SessionHead:  # noqa: ANN401 - fields of SessionHead
    changes = {name: value for name, value in place.items() if getattr(head, name) != value}
    for name, value in changes.items():
        if not is_left_out(head, name):
            below = f"below {head.parent_session_id!r}" if head.parent_session_id else "without a parent"
            message = f"Session {head.id!r}, {below}, has {name} {value!r}, not {getattr(head, name)!r}."
            raise InputError(message, hint="Leave it out: it follows from the parent.")
    return msgspec.structs.replace(head, **changes) if changes else head
