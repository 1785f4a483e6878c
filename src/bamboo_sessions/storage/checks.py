"""What every engine refuses of a commit before it writes anything: values that some engine can't keep.

Callers' values were checked where they came in; what is checked here is what an engine's columns and its arithmetic
rely on, so that all engines refuse alike, with `InputError`, and none tells of a corrupt store (G8).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bamboo_sessions.domain.clock import utc
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_commit_id, check_message_id, check_name, check_session_id
from bamboo_sessions.domain.limits import COMMIT_RECORDS_MAX, RECORD_BYTES_MAX, check_limit
from bamboo_sessions.domain.usage import check_record
from bamboo_sessions.storage.commit import Commit, RecordCommit, RecordScope, RecordWrite, SessionKey

VERSION_KEPT_MAX: Final = 2**62
"""A version that engines keep. Nobody may set one by hand that high (`VERSION_MAX`), so that counting goes on."""


def check_commit(commit: Commit) -> None:
    """Raise `InputError` if no engine could keep what `commit` holds."""
    check_key(commit.key)
    check_commit_id(commit.commit_id)
    for what, moment in (("updated_at", commit.updated_at), ("at", commit.at)):
        if moment is not None:
            _check_time(commit, what, moment)
    for head in (commit.head, commit.initial_head):
        if head is not None:
            _check_head(commit, head)
    for record in commit.usage:
        check_record(record)
    if commit.history_from is not None:
        check_session_id(commit.history_from.session_id)
        if commit.history_from.through_message_id is not None:
            check_message_id(commit.history_from.through_message_id)
    if commit.records:
        check_record_writes(commit.records)


def check_key(key: SessionKey) -> SessionKey:
    """`key`, or `InputError`."""
    check_name(key.namespace, what="namespace")
    check_session_id(key.session_id)
    return key


def _check_head(commit: Commit, head: SessionHead) -> None:
    session_id = commit.key.session_id
    if (head.namespace, head.id) != commit.key:
        message = f"A commit for session {session_id!r} has the head of {head.id!r} in namespace {head.namespace!r}."
        raise InputError(message, hint="Save a session to its own namespace.")
    for what, name in (("owner", head.owner), ("kind of session", head.kind)):
        if name is not None:
            check_name(name, what=what)
    for other in (head.parent_session_id, head.root_session_id):
        if other is not None:
            check_session_id(other)
    for what in ("metadata_version", "title_version"):
        version = getattr(head, what)
        if type(version) is not int or not 0 <= version <= VERSION_KEPT_MAX:
            message = f"Session {session_id!r}: {what} must be a whole number of 0 to 2**62, not {version!r}."
            raise InputError(message, hint="Leave it as it was loaded; it is counted by itself.")
    for what in ("created_at", "updated_at"):
        _check_time(commit, what, getattr(head, what))


def _check_time(commit: Commit, what: str, moment: datetime) -> None:
    utc(moment, what=f"Session {commit.key.session_id!r}: {what}")


def check_record_commit(commit: RecordCommit) -> None:
    """Raise `InputError` if records can't be written so."""
    check_name(commit.namespace, what="namespace")
    check_commit_id(commit.commit_id)
    check_scope(commit.scope)
    check_record_writes(commit.writes)


def check_record_writes(writes: Sequence[RecordWrite]) -> None:
    """Raise `InputError` if one of them can't be stored, `LimitExceededError` if they are too many."""
    check_limit("The records of one commit", len(writes), COMMIT_RECORDS_MAX, "records")
    for write in writes:
        check_record_write(write)


def check_record_write(write: RecordWrite) -> RecordWrite:
    """`write` if it can be stored, else `InputError`. A value of `None` deletes."""
    check_record_name(write.kind, write.key)
    if write.scope is not None:
        check_scope(write.scope)
    value: object = write.value
    if value is not None:
        if not isinstance(value, bytes):
            message = f"A record's value must be bytes, not {type(value).__name__}."
            raise InputError(message, hint="Encode it first.")
        check_limit(f"Record {write.kind}/{write.key}", len(value), RECORD_BYTES_MAX, "bytes")
    if write.if_absent not in {True, False, "skip"} or (write.if_absent and write.if_version is not None):
        message = f"Record {write.kind}/{write.key} can't be written with {write.if_absent=} and {write.if_version=}."
        raise InputError(message, hint="Pass if_absent=True, if_absent='skip', or if_version=…, or none of them.")
    return write


def check_record_name(kind: str, *keys: str) -> None:
    """Raise `InputError` if records can't have this kind and these keys."""
    check_name(kind, what="record kind")
    for key in keys:
        check_name(key, what="record key")


def check_scope(scope: RecordScope) -> RecordScope:
    """`scope`, or `InputError`."""
    kind = scope.type if isinstance(scope, RecordScope) else None
    if kind == "session":
        check_session_id(scope.name)
    elif kind == "shared":
        check_name(scope.name, what="shared scope")
    else:
        raise InputError(f"{scope!r} is no scope of records.", hint="Its type is 'session' or 'shared'.")
    return scope
