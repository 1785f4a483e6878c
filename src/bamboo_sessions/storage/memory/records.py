"""Records of adapters: bytes by `(namespace, scope, kind, key)`."""

from __future__ import annotations

from collections.abc import Sequence

from bamboo_sessions.storage.commit import RecordScope, RecordWrite, SessionKey, check_record_write
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.query import Record, RecordQuery


def scope_of(key: SessionKey) -> RecordScope:
    """The scope of a session's own records."""
    return RecordScope("session", key.session_id)


def get(contents: Contents, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
    """One record, or `None`."""
    return contents.records.get((namespace, scope, kind), {}).get(key)


def scan(contents: Contents, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
    """Records by key prefix, in the order of their keys or backwards."""
    records = contents.records.get((namespace, scope, query.kind), {})
    keys = sorted((key for key in records if key.startswith(query.prefix)), reverse=query.reverse)
    if query.after is not None:
        after = query.after
        keys = [key for key in keys if (key < after if query.reverse else key > after)]
    return tuple(records[key] for key in keys[: query.limit])


def write(contents: Contents, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> tuple[int, ...]:
    """Write records as one unit, outside a session's commit; their versions."""
    if scope.type == "session":
        contents.living(SessionKey(namespace, scope.name))
    check(contents, namespace, scope, writes)
    return put(contents, namespace, scope, writes)


def check(contents: Contents, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> None:
    """Raise `PreconditionFailedError` if one of them has another version than its write expects."""
    for write in writes:
        record = get(contents, namespace, scope, write.kind, write.key)
        check_record_write(write, record.version if record else 0, scope)


def put(contents: Contents, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> tuple[int, ...]:
    """Write records that were checked; their versions (0: deleted)."""
    versions = []
    for write in writes:
        records = contents.records.setdefault((namespace, scope, write.kind), {})
        before = records.pop(write.key, None)
        version = 0
        if write.value is not None:
            version = before.version + 1 if before else 1
            records[write.key] = Record(write.key, write.value, version)
        versions.append(version)
    return tuple(versions)


def forget(contents: Contents, key: SessionKey) -> None:
    """Delete all records of a session that is deleted."""
    own = (key.namespace, scope_of(key))
    for records_key in [each for each in contents.records if each[:2] == own]:
        del contents.records[records_key]
