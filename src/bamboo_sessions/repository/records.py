"""Records: bytes that adapters keep beside the messages. They are never loaded with a session, and go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, TypeVar, overload

import msgspec

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import InputError, StorageError
from bamboo_sessions.domain.ids import check_name, new_id
from bamboo_sessions.domain.limits import COMMIT_BYTES_MAX, PAGE_MAX, check_limit
from bamboo_sessions.storage.checks import check_record_name, check_record_write, check_scope
from bamboo_sessions.storage.commit import RecordCommit, RecordScope, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Record, RecordQuery, is_full

T = TypeVar("T")

check_write = check_record_write


class Records:
    """The records of one namespace: `(scope, kind, key) → bytes`, each with a version.

    The scope of a call is either a session (`session="chat-42"`) or a shared name (`shared="user:7"`). Kinds, keys and
    shared names are 1 to 512 characters without control characters. Keys are ordered by code point.

    A record gets a higher version with each write, and no version is ever given again, not even after a deletion: what
    is at version 7 is what somebody wrote as version 7. A record of a session goes with the session.

    Each writing call is atomic, durable on return (G1), and safe to repeat with the same `commit_id`: then it answers
    with the outcome of then and writes nothing (G4).
    """

    def __init__(
        self,
        storage: SessionStorage,
        namespace: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        check_usable: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._namespace = namespace
        self._clock = clock
        self._check_usable = check_usable

    # --- reading

    async def get(self, kind: str, key: str, *, session: str | None = None, shared: str | None = None) -> Record | None:
        """One record, or `None`."""
        check_record_name(kind, key)
        return await self._storage.get_record(self._namespace, _scope(session, shared), kind, key)

    async def get_many(
        self, kind: str, keys: Sequence[str], *, session: str | None = None, shared: str | None = None
    ) -> dict[str, Record]:
        """The records with these keys, up to 1,000, as they are at one moment; those that there aren't are left out."""
        check_limit("Keys of one call", len(keys), PAGE_MAX)
        check_record_name(kind, *keys)
        found = await self._storage.get_records(self._namespace, _scope(session, shared), kind, keys)
        return {record.key: record for record in found}

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
    ) -> AsyncIterator[Record]: ...
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
    ) -> AsyncIterator[str]: ...
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
    ) -> AsyncIterator[Record | str]: ...
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
    ) -> AsyncIterator[Record | str]:
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
        for key in (prefix, after, start, end):
            if key:
                check_record_name(kind, key)
        check_name(kind, what="record kind")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise InputError(f"limit must be a whole number, 0 or more, not {limit!r}.", hint="Leave it out for all.")
        scope = _scope(session, shared)
        query = RecordQuery(kind, prefix=prefix, after=after, start=start, end=end, reverse=reverse)
        if keys_only:
            return self._keys(scope, query, limit)
        return self._scanned(scope, query, limit)

    async def _scanned(self, scope: RecordScope, query: RecordQuery, limit: int | None) -> AsyncIterator[Record]:
        async for page in _pages(
            lambda query: self._storage.scan_records(self._namespace, scope, query),
            query,
            limit,
            key_of=lambda record: record.key,
            is_full=is_full,
        ):
            for record in page:
                yield record

    async def _keys(self, scope: RecordScope, query: RecordQuery, limit: int | None) -> AsyncIterator[str]:
        async for page in _pages(
            lambda query: self._storage.scan_record_keys(self._namespace, scope, query),
            query,
            limit,
            key_of=str,
            is_full=lambda page, limit: len(page) >= limit,
        ):
            for key in page:
                yield key

    # --- writing

    async def put(
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
        write = RecordWrite(kind, key, value, if_absent=if_absent, if_version=if_version)
        (version,) = await self.write(
            [write], session=session, shared=shared, incarnation=incarnation, commit_id=commit_id
        )
        return version

    async def delete(
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
        write = RecordWrite(kind, key, None, if_version=if_version)
        await self.write([write], session=session, shared=shared, incarnation=incarnation, commit_id=commit_id)

    async def write(
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
        self._check_usable()
        if not writes:
            return ()
        if incarnation is not None and session is None:
            raise InputError("An incarnation is of a session.", hint="Pass session=… with incarnation=….")
        commit = RecordCommit(
            namespace=self._namespace,
            commit_id=new_id() if commit_id is None else commit_id,
            at=self._clock.now(),
            writes=tuple(writes),
            scope=_scope_of_all(writes) if session is None and shared is None else _scope(session, shared),
            incarnation=incarnation,
        )
        check_limit("The records of one commit", commit.size, COMMIT_BYTES_MAX, "bytes")
        try:
            return await self._storage.write_records(commit)
        except StorageError as exc:
            if exc.outcome_unknown:
                exc.commit_id = commit.commit_id
            raise


def _scope(session: str | None, shared: str | None) -> RecordScope:
    if (session is None) == (shared is None):
        message = "A record belongs either to a session or to a shared name."
        raise InputError(message, hint="Pass exactly one of session=… and shared=….")
    return check_scope(RecordScope("session", session) if session is not None else RecordScope("shared", shared or ""))


def _scope_of_all(writes: Sequence[RecordWrite]) -> RecordScope:
    """A scope for writes that all name one."""
    scope = writes[0].scope
    if scope is None or any(write.scope is None for write in writes):
        return _scope(None, None)
    return scope


async def _pages(
    read: Callable[[RecordQuery], Awaitable[tuple[T, ...]]],
    query: RecordQuery,
    limit: int | None,
    *,
    key_of: Callable[[T], str],
    is_full: Callable[[Sequence[T], int], bool],
) -> AsyncIterator[tuple[T, ...]]:
    """The pages of a scan; `limit` rows in all, or as many as there are."""
    left = limit
    while left is None or left > 0:
        count = PAGE_MAX if left is None else min(left, PAGE_MAX)
        page = await read(msgspec.structs.replace(query, limit=count))
        yield page
        if not is_full(page, count):
            return
        query = msgspec.structs.replace(query, after=key_of(page[-1]))
        left = None if left is None else left - len(page)
