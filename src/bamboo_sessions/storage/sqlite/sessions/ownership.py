"""Gives a session, and what is below it, to another owner, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.ownership import OwnerChange, commits_of
from bamboo_sessions.storage.sqlite.sessions import commits, made
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import require
from bamboo_sessions.storage.sqlite.sessions.trees import TREE
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of

_MEMBERS: Final = f"{TREE} SELECT session_id FROM tree"  # noqa: S608 - constants


def set_owner(
    connection: apsw.Connection, key: SessionKey, change: OwnerChange, now: datetime
) -> tuple[SessionHead, ...]:
    """Make the change; the heads that it changed, that of `key` first, or that alone.

    With the commit id of an earlier call nothing is changed (G4).
    """
    row = require(connection, key)
    if made.find_commit(connection, key, change.commit_id) is not None:
        commits.apply(connection, change.repeated(key), now)
        return _heads(connection, [key])
    members = [SessionKey(key.namespace, session_id) for (session_id,) in rows_of(connection, _MEMBERS, (row.key,))]
    of_tree = list(commits_of(change, _heads(connection, members)))
    for commit in of_tree:
        commits.apply(connection, commit, now)
    return _heads(connection, [commit.key for commit in of_tree] or [key])


def _heads(connection: apsw.Connection, keys: Iterable[SessionKey]) -> tuple[SessionHead, ...]:
    return tuple(read_head(connection, require(connection, key)) for key in keys)
