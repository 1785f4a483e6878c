"""A commit and its outcome as bytes: what a process writes down for another one to make (see `transactions.slots`).

Only the usual ones: messages, without a new head. A commit that is refused isn't written down as an outcome; its own
process makes it again, and is refused itself. Whoever changes these forms, or what they mean, raises `slots.VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.message import StoredMessage, from_body
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey, StoredInsertion


class _Form(msgspec.Struct, array_like=True):
    """A `Commit`; messages as body and hash."""

    key: SessionKey
    commit_id: str
    at: datetime
    expected: int | None
    updated_at: datetime | None
    insertions: list[tuple[list[tuple[bytes, bytes]], str | None, bool]]
    incarnation: int | None
    fence: int | None
    if_last_message: str | None
    call: str


class _Outcome(msgspec.Struct, array_like=True):
    """A `Committed`; messages as ids, for the process that asked has them."""

    revision: int
    incarnation: int
    updated_at: datetime
    message_count: int
    changed: bool
    placed: list[tuple[list[str], str | None]]
    duplicates: tuple[str, ...]
    replayed: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_form: Final = msgspec.msgpack.Decoder(_Form).decode
_outcome: Final = msgspec.msgpack.Decoder(_Outcome).decode


class PortableCommit:
    """A commit that another process can make, if it is a usual one.

    Args:
        commit: What is to be made.
        apply: Makes it here.
    """

    def __init__(self, commit: Commit, apply: Callable[[apsw.Connection, Commit], Committed]) -> None:
        self._commit = commit
        self._apply = apply

    def encode(self) -> bytes | None:
        """The commit as bytes. It goes without the head to create its session with: that its own process does."""
        commit = self._commit
        if not _is_usual(commit):
            return None
        insertions = [
            ([(stored.body, stored.content_hash) for stored in insertion.messages], insertion.after, insertion.in_order)
            for insertion in commit.insertions
        ]
        return _encode(
            _Form(
                commit.key,
                commit.commit_id,
                commit.at,
                commit.expected,
                commit.updated_at,
                insertions,
                commit.incarnation,
                commit.fence,
                commit.if_last_message,
                commit.call,
            )
        )

    def decode(self, outcome: bytes) -> Committed:
        """What became of it."""
        found = _outcome(outcome)
        stored = [stored for insertion in self._commit.insertions for stored in insertion.messages]
        messages = {each.message.id: each.message for each in reversed(stored)}  # of two with one id the first counts
        return Committed(
            revision=found.revision,
            incarnation=found.incarnation,
            updated_at=found.updated_at,
            message_count=found.message_count,
            changed=found.changed,
            placed=tuple([Insertion(tuple([messages[id_] for id_ in ids]), after) for ids, after in found.placed]),
            duplicates=found.duplicates,
            replayed=found.replayed,
        )

    def again(self, connection: apsw.Connection) -> Committed:
        """Make it here, unless it was made already."""
        return self._apply(connection, msgspec.structs.replace(self._commit, is_first_try=False))


def _is_usual(commit: Commit) -> bool:
    return commit.head is None and not (
        commit.edits
        or commit.removals
        or commit.usage
        or commit.records
        or commit.reuse_deleted
        or commit.history_from
        or commit.replace
    )


def decoded(data: bytes) -> Commit:
    """A commit of another process's."""
    form = _form(data)
    return Commit(
        form.key,
        form.commit_id,
        form.at,
        expected=form.expected,
        updated_at=form.updated_at,
        insertions=tuple([_insertion(*each) for each in form.insertions]),
        incarnation=form.incarnation,
        fence=form.fence,
        if_last_message=form.if_last_message,
        call=form.call,
    )


def _insertion(messages: list[tuple[bytes, bytes]], after: str | None, in_order: bool) -> StoredInsertion:
    return StoredInsertion(
        tuple([StoredMessage(from_body(body), body, hash_) for body, hash_ in messages]), after, in_order
    )


def outcome_of(done: Committed) -> bytes:
    """What became of it, as bytes."""
    placed = [([message.id for message in insertion.messages], insertion.after) for insertion in done.placed]
    return _encode(
        _Outcome(
            done.revision,
            done.incarnation,
            done.updated_at,
            done.message_count,
            done.changed,
            placed,
            done.duplicates,
            done.replayed,
        )
    )
