"""The history that a new session begins with: a fork's, copied inside storage, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw
import msgspec

from bamboo_sessions.domain.errors import MessageNotFoundError, SessionDeletedError
from bamboo_sessions.domain.runs import Span
from bamboo_sessions.storage.commit import Commit, HistorySource, SessionKey
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import Line, head_of, is_purged
from bamboo_sessions.storage.sqlite.history.log import Log, log_at
from bamboo_sessions.storage.sqlite.history.writing import CommitRow, chunked, write_lines
from bamboo_sessions.storage.sqlite.sessions.rows import require


class Origin(msgspec.Struct, frozen=True):
    """What a new session begins with: lines of another one's log, and that one's highest ascending id."""

    log: Log
    spans: tuple[Span, ...]
    last_id: str

    def has(self, line: Line) -> bool:
        """Whether it begins with this line."""
        return any(start <= line.address < stop for start, stop in self.spans)


def find_origin(connection: apsw.Connection, namespace: str, source: HistorySource) -> Origin:
    """The messages that a new session begins with."""
    session = require(connection, SessionKey(namespace, source.session_id))
    if source.at_revision < session.incarnation:
        raise SessionDeletedError(source.session_id)
    log = log_at(connection, session, source.at_revision)
    spans = log.order.living()
    if source.through_message_id is not None:
        last = next((line for line in _living(log, source.through_message_id)), None)
        if last is None:
            raise MessageNotFoundError(source.session_id, source.through_message_id)
        spans = [*log.order.living(before=last.address), (last.address, last.address + 1)]
    return Origin(log, tuple(spans), session.last_id)


def _living(log: Log, message_id: str) -> Iterator[Line]:
    found = ids.find(log.connection, log.session, ids.MESSAGE, [message_id])
    return (line for line in found.get(message_id, []) if log.order.lives(line.address))


def origin_lines(origin: Origin, commit: Commit) -> dict[str, list[Line]]:
    """The lines that a fork begins with, of the messages which `commit` itself adds."""
    added = frozenset(stored.message.id for insertion in commit.insertions for stored in insertion.messages)
    found = ids.find(origin.log.connection, origin.log.session, ids.MESSAGE, added) if added else {}
    return {id_: [line for line in lines if origin.has(line)] for id_, lines in found.items()}


def copy_history(connection: apsw.Connection, origin: Origin, row: CommitRow) -> tuple[int, int]:
    """Copy the lines to the beginning of a new session's log; how many, and their bytes. `row` tells of its commit."""
    lines = list(origin.log.rows(origin.spans))
    _check_there(origin.log.session_id, lines)
    write_lines(connection, row, chunked(lines))
    count = sum(number for number, _ in lines)
    return count, sum(len(body) + 1 - number for number, body in lines)


def _check_there(session_id: str, rows: Sequence[tuple[int, bytes]]) -> None:
    """Raise `MessageNotFoundError` if one of the messages was purged."""
    for _, body in rows:
        if b'"hash": "' in body:
            for line in body.split(b"\n"):
                if is_purged(line):
                    raise MessageNotFoundError(session_id, head_of(line).id)
