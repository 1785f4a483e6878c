"""Deletes a session and all below it, and leaves tombstones (G9)."""

from __future__ import annotations

from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import SessionKey, taken
from bamboo_sessions.storage.feed_position import mark_of
from bamboo_sessions.storage.memory import leases, records
from bamboo_sessions.storage.memory.contents import Contents, Deletion
from bamboo_sessions.storage.memory.feed import Entry
from bamboo_sessions.storage.memory.session import StoredSession
from bamboo_sessions.storage.query import DeleteQuery


def delete_tree(contents: Contents, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
    """Delete `key` and all below it, unless one of them spares all; returns the ids."""
    done = replayed(contents, key, query)
    if done is not None:
        return done
    tree = doomed(contents, key, query)
    deleted = tuple(each.session_id for each in tree)
    revisions = [_bury(contents, each, query) for each in tree]
    for each in tree:
        contents.tell(each)
    if tree and query.commit_id is not None:
        contents.deletions.add((key, query.commit_id), Deletion(deleted, revisions[0]), contents.clock.now())
    return deleted


def replayed(contents: Contents, key: SessionKey, query: DeleteQuery) -> tuple[str, ...] | None:
    """What was deleted if this very call was made before (G4)."""
    if query.commit_id is None:
        return None
    if (key, query.commit_id) in contents.commits:
        raise taken(key.session_id, query.commit_id)
    done = contents.deletions.get((key, query.commit_id))
    return done.deleted if done is not None else None


def doomed(contents: Contents, key: SessionKey, query: DeleteQuery) -> list[SessionKey]:
    """What `delete_tree` would delete, parents first; nothing if the query's conditions spare the tree.

    Raises `PreconditionFailedError` if it is at another revision, `SessionBusyError` if a run holds one of them.
    """
    stored = contents.sessions.get(key)
    if not isinstance(stored, StoredSession):
        return []
    if query.if_revision is not None and query.if_revision != stored.head.revision:
        raise PreconditionFailedError(query.if_revision, stored.head.revision, session_id=key.session_id)
    if query.keep_pinned and _is_pinned(contents, key.namespace, stored.head.root_session_id):
        return []
    tree = list(contents.tree(key))
    if any(_spares(contents.living(each), query) for each in tree):
        return []
    if not query.force:
        leases.check_free(contents, tree)
    return tree


def _is_pinned(contents: Contents, namespace: str, root: str) -> bool:
    """Whether any session of the whole tree is pinned, above and beside the given one too (L39)."""
    return any(head.pinned and head.root_session_id == root for head in contents.heads(namespace))


def _spares(stored: StoredSession, query: DeleteQuery) -> bool:
    if query.only_empty and stored.head.message_count:
        return True
    return query.updated_before is not None and stored.head.updated_at >= query.updated_before


def _bury(contents: Contents, key: SessionKey, query: DeleteQuery) -> int:
    """Leave a tombstone; the revision that this makes."""
    head = contents.living(key).head
    revision = head.revision + 1
    contents.sessions[key] = Tombstone(key.session_id, revision, head.metadata_version)
    mark = mark_of(query.commit_id or new_id())
    contents.feed.add(Entry(key, revision, head.incarnation, mark, ("deleted",), (), query.at, contents.clock.now()))
    leases.end(contents, key)
    records.forget(contents, key)
    return revision
