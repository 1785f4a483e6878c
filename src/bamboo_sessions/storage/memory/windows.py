"""Reading a stretch of a history: the newest messages, those before one, those after one; also at an old revision.

A message that was removed keeps its place, so a reader who stands there can page on.
"""

from __future__ import annotations

from collections.abc import Sequence

from bamboo_sessions.domain.errors import MessageNotFoundError
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.purge import check_there
from bamboo_sessions.storage.memory.session import StoredSession, Version
from bamboo_sessions.storage.query import Window, WindowQuery


def read_window(contents: Contents, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
    """A stretch of the history. Raises `MessageNotFoundError` if an anchor was never in it."""
    stored = contents.sessions.get(key)
    if not isinstance(stored, StoredSession):
        return stored
    versions = stored.versions
    at = query.at_revision
    first = _place(key, versions, query.after, at) + 1 if query.after is not None else 0
    last = _place(key, versions, query.before, at) if query.before is not None else len(versions)
    alive = [index for index, version in enumerate(versions) if version.lives_at(at)]
    between = [index for index in alive if first <= index < last]
    taken = between[: query.count] if query.after is not None else between[-query.count :]
    check_there(key.session_id, (versions[index] for index in taken))
    start, end = (taken[0], taken[-1]) if taken else (first, first - 1)
    return Window(
        messages=tuple(versions[index].message for index in taken),
        has_earlier=any(index < start for index in alive),
        has_later=any(index > end for index in alive),
        message_count=len(alive),
        revision=stored.head.revision if at is None else at,
    )


def find_message(contents: Contents, namespace: str, message_id: str) -> tuple[str, Message] | None:
    """A living message and its session; of several, that of the session whose id was made first."""
    check_message_id(message_id)
    for key, stored in contents.sessions.items():
        if key.namespace == namespace and isinstance(stored, StoredSession) and message_id in stored.hashes:
            for message in stored.live:
                if message.id == message_id:
                    return key.session_id, message
    return None


def _place(key: SessionKey, versions: Sequence[Version], message_id: str, at_revision: int | None) -> int:
    """The place of a message at a revision, or else of its last version: a removed one keeps its place."""
    places = [index for index, version in enumerate(versions) if version.message.id == message_id]
    if places:
        return next((index for index in places if versions[index].lives_at(at_revision)), places[-1])
    raise MessageNotFoundError(key.session_id, message_id)
