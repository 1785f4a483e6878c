"""The twin of `Records`. Written by `python -m tests.sync.generate`; don't edit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, overload

from bamboo_sessions.domain.limits import PAGE_DEFAULT
from bamboo_sessions.repository.records import Records
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.query import Record
from bamboo_sessions.sync.blocks import iterated
from bamboo_sessions.sync.portal import Portal


class SyncRecords:
    """The records of one namespace: `(scope, kind, key) → bytes`, each with a version.

    The scope of a call is either a session (`session="chat-42"`) or a shared name (`shared="user:7"`). Kinds, keys and
    shared names are 1 to 512 characters without control characters. Keys are ordered by code point.

    A record gets a higher version with each write, and no version is ever given again, not even after a deletion: what
    is at version 7 is what somebody wrote as version 7. A record of a session goes with the session.

    Each writing call is atomic, durable on return (G1), and safe to repeat with the same `commit_id`: then it answers
    with the outcome of then and writes nothing (G4).
    """

    def __init__(self, inner: Records, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    def get(self, kind: str, key: str, *, session: str | None = None, shared: str | None = None) -> Record | None:
        """One record, or `None`."""
        return self._portal.call(self._inner.get(kind, key, session=session, shared=shared))

    def get_many(
        self, kind: str, keys: Sequence[str], *, session: str | None = None, shared: str | None = None
    ) -> dict[str, Record]:
        """The records with these keys, up to 1,000, as they are at one moment; those that there aren't are left out."""
        return self._portal.call(self._inner.get_many(kind, keys, session=session, shared=shared))

    @overload
    def scan(
        self,
        kind: str,
        prefix: str = "",
        *,
        session: str | None = None,
        shared: str | None = None,
        after: str | None = None,
        start: str | None = None,
        end: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: Literal[False] = False,
    ) -> Iterator[Record]: ...
    @overload
    def scan(
        self,
        kind: str,
        prefix: str = "",
        *,
        session: str | None = None,
        shared: str | None = None,
        after: str | None = None,
        start: str | None = None,
        end: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: Literal[True],
    ) -> Iterator[str]: ...
    @overload
    def scan(
        self,
        kind: str,
        prefix: str = "",
        *,
        session: str | None = None,
        shared: str | None = None,
        after: str | None = None,
        start: str | None = None,
        end: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> Iterator[Record | str]: ...

    def scan(
        self,
        kind: str,
        prefix: str = "",
        *,
        session: str | None = None,
        shared: str | None = None,
        after: str | None = None,
        start: str | None = None,
        end: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> Iterator[Record | str]:
        """Records in the order of their keys, or backwards. Read page by page: each page is of one moment.

        Args:
            kind: Of this kind.
            prefix: What their keys begin with.
            session, shared: The scope.
            after: Go on behind this key, in the direction of the scan; it needn't exist.
            start, end: The keys from `start` on and below `end`, whatever the direction. `None`: no such border.
            reverse: From the highest key down.
            limit: How many at most; `None`: all.
            keys_only: Give the keys alone; no value is read.
        """
        return iterated(
            self._portal,
            self._inner.scan(
                kind,
                prefix,
                session=session,
                shared=shared,
                after=after,
                start=start,
                end=end,
                reverse=reverse,
                limit=limit,
                keys_only=keys_only,
            ),
            ahead=PAGE_DEFAULT,
        )

    def put(
        self,
        kind: str,
        key: str,
        value: bytes,
        *,
        session: str | None = None,
        shared: str | None = None,
        incarnation: int | None = None,
        if_absent: bool | Literal["skip"] = False,
        if_version: int | None = None,
        commit_id: str | None = None,
    ) -> int:
        """Write one record; its version now.

        Args:
            kind, key: Its name.
            value: Up to 64 MiB.
            session, shared: The scope.
            incarnation: The life of `session` that is meant; another is refused as deleted. `None`: whichever lives.
            if_absent: `True`: only insert. `"skip"`: insert, or keep what is there and answer with its version.
            if_version: Only replace this version.
            commit_id: Your name for this write, 1 to 128 characters, to repeat it with; made up by default.

        Raises:
            PreconditionFailedError: It has another version.
            SessionNotFoundError, SessionDeletedError: The scope is a session that doesn't live.
            InputError, StorageError.
        """
        return self._portal.call(
            self._inner.put(
                kind,
                key,
                value,
                session=session,
                shared=shared,
                incarnation=incarnation,
                if_absent=if_absent,
                if_version=if_version,
                commit_id=commit_id,
            )
        )

    def delete(
        self,
        kind: str,
        key: str,
        *,
        session: str | None = None,
        shared: str | None = None,
        incarnation: int | None = None,
        if_version: int | None = None,
        commit_id: str | None = None,
    ) -> None:
        """Delete one record; nothing happens if there is none. As `put` otherwise."""
        return self._portal.call(
            self._inner.delete(
                kind,
                key,
                session=session,
                shared=shared,
                incarnation=incarnation,
                if_version=if_version,
                commit_id=commit_id,
            )
        )

    def write(
        self,
        writes: Sequence[RecordWrite],
        *,
        session: str | None = None,
        shared: str | None = None,
        incarnation: int | None = None,
        commit_id: str | None = None,
    ) -> tuple[int, ...]:
        """Write many records as one unit: all or none. The version of each after it; 0: it is deleted.

        They are written in their order, and later ones see what earlier ones did. To write records together with a
        change of a session, hand them to `save`, `append`, `update` and the like as `records=`.

        Args:
            writes: Up to 100,000, and up to 512 MiB. Each may name a scope of its own, `RecordScope("shared", name)` or
                `RecordScope("session", id)`; sessions have to live.
            session, shared: The scope of those that name none; needn't be given if all do.
            incarnation: The life of `session` that is meant.
            commit_id: Your name for this write, to repeat it with; made up by default.

        Raises:
            PreconditionFailedError: A record isn't as its write expects; nothing was written.
            SessionNotFoundError, SessionDeletedError: A session in scope doesn't live.
            InputError, StorageError.
        """
        return self._portal.call(
            self._inner.write(writes, session=session, shared=shared, incarnation=incarnation, commit_id=commit_id)
        )
