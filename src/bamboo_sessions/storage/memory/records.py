"""Records of adapters: bytes by `(namespace, scope, kind, key)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bamboo_sessions.domain.errors import SessionDeletedError
from bamboo_sessions.storage.checks import check_record_commit
from bamboo_sessions.storage.commit import Commit, RecordCommit, RecordScope, RecordWrite, SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.query import Record, RecordQuery, page_of_records
from bamboo_sessions.storage.record_plan import RecordChange, RecordId, RecordPlan, other_sessions, plan_records


def scope_of(key: SessionKey) -> RecordScope:
    """The scope of a session's own records."""
    return RecordScope("session", key.session_id)


def get(contents: Contents, namespace: str, scope: RecordScope, kind: str, keys: Iterable[str]) -> tuple[Record, ...]:
    """The records with these keys, those that there are."""
    records = contents.records.get((namespace, scope, kind), {})
    return tuple(records[key] for key in keys if key in records)


def scan(contents: Contents, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
    """Records by their keys, in the order of the keys or backwards."""
    records = contents.records.get((namespace, scope, query.kind), {})
    return page_of_records(records[key] for key in scan_keys(contents, namespace, scope, query))


def scan_keys(contents: Contents, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
    """The keys alone."""
    records = contents.records.get((namespace, scope, query.kind), {})
    return tuple(sorted((key for key in records if _is_meant(key, query)), reverse=query.reverse)[: query.limit])


def _is_meant(key: str, query: RecordQuery) -> bool:
    return (
        key.startswith(query.prefix)
        and (query.start is None or key >= query.start)
        and (query.end is None or key < query.end)
        and (query.after is None or (key < query.after if query.reverse else key > query.after))
    )


def write(contents: Contents, commit: RecordCommit) -> tuple[int, ...]:
    """Write records as one unit, outside a session's commit; their versions."""
    check_record_commit(commit)
    asked = (commit.namespace, commit.commit_id)
    done = contents.record_commits.get(asked)
    if done is not None:
        return done
    if commit.scope.type == "session":
        lives = contents.living(SessionKey(commit.namespace, commit.scope.name))
        if commit.incarnation not in {None, lives.head.incarnation}:
            raise SessionDeletedError(commit.scope.name)
    plan = planned(contents, commit.namespace, commit.scope, commit.writes)
    apply(contents, commit.namespace, plan.changes)
    contents.record_commits.add(asked, plan.versions, contents.clock.now())
    return plan.versions


def planned(contents: Contents, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> RecordPlan:
    """What `writes` do; raises if one of them is refused. Other sessions that they name have to live."""
    for key in other_sessions(namespace, writes, scope):
        contents.living(key)
    return plan_records(writes, scope, lambda record: _version(contents, namespace, record), contents.record_version)


def _version(contents: Contents, namespace: str, record: RecordId) -> int:
    found = contents.records.get((namespace, record.scope, record.kind), {}).get(record.key)
    return found.version if found else 0


def apply(contents: Contents, namespace: str, changes: Iterable[RecordChange]) -> None:
    """Do what was planned."""
    for (scope, kind, key), value, version in changes:
        records = contents.records.setdefault((namespace, scope, kind), {})
        if value is None:
            del records[key]
        else:
            records[key] = Record(key, value, version)
            contents.record_version = max(contents.record_version, version)


def copy(contents: Contents, commit: Commit) -> None:
    """Give a fork the records that come along; those that the commit itself wrote stay."""
    for kind, theirs in sorted(to_copy(contents, commit).items()):
        own = contents.records.setdefault((commit.key.namespace, scope_of(commit.key), kind), {})
        for key in sorted(theirs.keys() - own.keys()):
            contents.record_version += 1
            own[key] = Record(key, theirs[key].value, contents.record_version)


def to_copy(contents: Contents, commit: Commit) -> dict[str, dict[str, Record]]:
    """The records that a fork begins with, by kind."""
    source = commit.history_from
    if source is None:
        return {}
    own = (commit.key.namespace, RecordScope("session", source.session_id))
    theirs = {kind: records for (*owner, kind), records in contents.records.items() if tuple(owner) == own and records}
    return {kind: theirs[kind] for kind in theirs if source.record_kinds is None or kind in source.record_kinds}


def forget(contents: Contents, key: SessionKey) -> None:
    """Delete all records of a session that is deleted."""
    own = (key.namespace, scope_of(key))
    for records_key in [each for each in contents.records if each[:2] == own]:
        del contents.records[records_key]
