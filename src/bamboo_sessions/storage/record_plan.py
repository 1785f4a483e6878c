"""What the record writes of one commit come to: decided before anything is written, alike on every engine.

Later writes see what earlier ones of the commit did. A refusal of one refuses the commit, and has written nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.storage.commit import RecordScope, RecordWrite, SessionKey


class RecordId(NamedTuple):
    """Which record of a namespace."""

    scope: RecordScope
    kind: str
    key: str


class RecordChange(NamedTuple):
    """A record as it is to be written. `value` `None`: it is deleted, and its version is 0."""

    record: RecordId
    value: bytes | None
    version: int


class RecordPlan(NamedTuple):
    """What to do, in this order, and for each write the version that its record has afterwards."""

    changes: tuple[RecordChange, ...]
    versions: tuple[int, ...]


NO_RECORDS = RecordPlan((), ())


def plan_records(
    writes: Sequence[RecordWrite], scope: RecordScope, found: Callable[[RecordId], int], newest: int
) -> RecordPlan:
    """Work out what `writes` do.

    Args:
        writes: In their order.
        scope: Of those that name none.
        found: The version that a record has now; 0: there is none.
        newest: The highest version ever given in this store; new ones follow it, so that none is met again (L121).

    Raises:
        PreconditionFailedError: A record isn't as its write expects.
    """
    known: dict[RecordId, int] = {}
    changes: list[RecordChange] = []
    versions: list[int] = []
    for write in writes:
        record = RecordId(write.scope or scope, write.kind, write.key)
        before = known[record] if record in known else found(record)
        _check(write, before, record.scope)
        version = before
        if write.value is None:
            version = 0
        elif not (before and write.if_absent == "skip"):
            version = newest = newest + 1
        if version != before:
            changes.append(RecordChange(record, write.value, version))
        known[record] = version
        versions.append(version)
    return RecordPlan(tuple(changes), tuple(versions))


def _check(write: RecordWrite, version: int, scope: RecordScope) -> None:
    expected = 0 if write.if_absent is True else write.if_version
    if expected is not None and expected != version:
        record = f"{write.kind}/{write.key}"
        if scope.type == "session":
            raise PreconditionFailedError(expected, version, session_id=scope.name, what=f"record {record} at version")
        what = f"shared record {record} of {scope.name!r} at version"
        raise PreconditionFailedError(expected, version, session_id=None, what=what)


def other_sessions(namespace: str, writes: Iterable[RecordWrite], scope: RecordScope) -> set[SessionKey]:
    """The sessions besides `scope` whose records `writes` name: they have to live."""
    scopes = {write.scope for write in writes if write.scope is not None} - {scope}
    return {SessionKey(namespace, each.name) for each in scopes if each.type == "session"}
