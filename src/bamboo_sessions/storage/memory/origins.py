"""The history that a new session begins with: a fork's, taken from another session."""

from __future__ import annotations

from bamboo_sessions.domain.errors import MessageNotFoundError, SessionDeletedError
from bamboo_sessions.domain.message import StoredMessage
from bamboo_sessions.storage.commit import Commit, SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.purge import check_there


def find_origin(contents: Contents, commit: Commit) -> list[StoredMessage]:
    """The messages that a new session begins with; none if it is no fork."""
    source = commit.history_from
    if source is None:
        return []
    stored = contents.living(SessionKey(commit.key.namespace, source.session_id))
    if source.at_revision < stored.head.incarnation:
        raise SessionDeletedError(source.session_id)
    lived = [version for version in stored.versions if version.lives_at(source.at_revision)]
    if source.through_message_id is not None:
        ids = [version.message.id for version in lived]
        if source.through_message_id not in ids:
            raise MessageNotFoundError(source.session_id, source.through_message_id)
        lived = lived[: ids.index(source.through_message_id) + 1]
    check_there(source.session_id, lived)
    return [version.stored for version in lived]
