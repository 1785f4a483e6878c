"""The history that a new session begins with: a fork's, taken from another session."""

from __future__ import annotations

from bamboo_sessions.domain.errors import MessageNotFoundError, SessionDeletedError
from bamboo_sessions.domain.message import StoredMessage
from bamboo_sessions.storage.commit import Commit, SessionKey
from bamboo_sessions.storage.memory.contents import Contents


def find_origin(contents: Contents, commit: Commit) -> list[StoredMessage]:
    """The messages that a new session begins with; none if it is no fork."""
    source = commit.history_from
    if source is None:
        return []
    stored = contents.living(SessionKey(commit.key.namespace, source.session_id))
    if source.at_revision < stored.head.incarnation:
        raise SessionDeletedError(source.session_id)
    lived = [version.stored for version in stored.versions if version.lives_at(source.at_revision)]
    if source.through_message_id is None:
        return lived
    for index, version in enumerate(lived):
        if version.message.id == source.through_message_id:
            return lived[: index + 1]
    raise MessageNotFoundError(source.session_id, source.through_message_id)
