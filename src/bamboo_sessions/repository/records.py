"""Records: bytes that adapters keep beside the messages. They are never loaded with a session, and go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.ids import check_name, check_session_id
from bamboo_sessions.domain.limits import PAGE_MAX, RECORD_BYTES_MAX, check_limit
from bamboo_sessions.storage.commit import RecordScope, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Record, RecordQuery


class Records:
    """The records of one namespace: `(scope, kind, key) → bytes`, each with a version counted from 1.

    The scope of every call is either a session (`session="chat-42"`) or a shared name (`shared="user:7"`).
    """

    def __init__(self, storage: SessionStorage, namespace: str) -> None:
        self._storage = storage
        self._namespace = namespace

    async def get(self, kind: str, key: str, *, session: str | None = None, shared: str | None = None) -> Record | None:
        """One record, or `None`."""
        return await self._storage.get_record(self._namespace, _scope(session, shared), kind, key)

    async def put(
        self,
        kind: str,
        key: str,
        value: bytes,
        *,
        session: str | None = None,
        shared: str | None = None,
        if_absent: bool = False,
        if_version: int | None = None,
    ) -> int:
        """Write one record; its version now. Atomic, durable on return.

        Args:
            kind, key: Names, 1 to 512 characters.
            value: Up to 64 MiB.
            session, shared: The scope.
            if_absent: Only insert.
            if_version: Only replace this version.

        Raises:
            PreconditionFailedError: It has another version.
            SessionNotFoundError, SessionDeletedError: The scope is a session that doesn't live.
        """
        write = check_write(RecordWrite(kind, key, value, if_absent=if_absent, if_version=if_version))
        (version,) = await self._storage.write_records(self._namespace, _scope(session, shared), (write,))
        return version

    async def delete(
        self,
        kind: str,
        key: str,
        *,
        session: str | None = None,
        shared: str | None = None,
        if_version: int | None = None,
    ) -> None:
        """Delete one record; nothing happens if there is none. Raises `PreconditionFailedError` with `if_version`."""
        write = check_write(RecordWrite(kind, key, None, if_version=if_version))
        await self._storage.write_records(self._namespace, _scope(session, shared), (write,))

    async def scan(
        self,
        kind: str,
        prefix: str = "",
        *,
        session: str | None = None,
        shared: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[Record]:
        """Records whose keys begin with `prefix`, in the order of the keys or backwards; `limit` of them, or all."""
        scope = _scope(session, shared)
        after: str | None = None
        left = limit
        while left is None or left > 0:
            count = PAGE_MAX if left is None else min(left, PAGE_MAX)
            query = RecordQuery(kind, prefix=prefix, after=after, limit=count, reverse=reverse)
            page = await self._storage.scan_records(self._namespace, scope, query)
            for record in page:
                yield record
            if len(page) < count:
                return
            after = page[-1].key
            left = None if left is None else left - len(page)


def check_write(write: RecordWrite) -> RecordWrite:
    """`write` if it can be stored, else `InputError`. A value of `None` deletes."""
    check_name(write.kind, what="record kind")
    check_name(write.key, what="record key")
    value: object = write.value
    if value is not None:
        if not isinstance(value, bytes):
            message = f"A record's value must be bytes, not {type(value).__name__}."
            raise InputError(message, hint="Encode it first.")
        check_limit(f"Record {write.kind}/{write.key}", len(value), RECORD_BYTES_MAX, "bytes")
    return write


def _scope(session: str | None, shared: str | None) -> RecordScope:
    if (session is None) == (shared is None):
        message = "A record belongs either to a session or to a shared name."
        raise InputError(message, hint="Pass exactly one of session=… and shared=….")
    if session is not None:
        return RecordScope("session", check_session_id(session))
    return RecordScope("shared", check_name(shared or "", what="shared scope"))
