"""Records: bytes beside a session, or under a shared name."""

from __future__ import annotations

from typing import Any

import pytest

from bamboo_sessions.domain.errors import PreconditionFailedError, SessionDeletedError, SessionNotFoundError
from bamboo_sessions.storage.commit import RecordScope, RecordWrite, RevisionConflict
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, Record, RecordQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    creation,
    ids_in,
    scope_of,
    snapshot_of,
    user,
)

SHARED = RecordScope("shared", "app")
SESSION = scope_of("s")


async def put(storage: SessionStorage, *writes: RecordWrite, scope: RecordScope = SHARED) -> tuple[int, ...]:
    """Write records."""
    return await storage.write_records("default", scope, writes)


async def value_of(storage: SessionStorage, key: str, scope: RecordScope = SHARED) -> bytes | None:
    """The bytes of a record of kind `k`."""
    record = await storage.get_record("default", scope, "k", key)
    return record.value if record else None


async def keys_of(storage: SessionStorage, **query: Any) -> list[str]:  # noqa: ANN401 - fields of RecordQuery
    """The keys of a scan over kind `k`."""
    return [record.key for record in await storage.scan_records("default", SHARED, RecordQuery("k", **query))]


class RecordsConformance(Conformance):
    """Records are written as a unit, compared if asked, and scanned in the order of their keys."""

    async def test_a_record_comes_back(self, storage: SessionStorage) -> None:
        """A record keeps its bytes, empty ones too, and counts its versions from 1."""
        assert await storage.get_record("default", SHARED, "k", "a") is None
        data = bytes(range(256)) * 4
        assert await put(storage, RecordWrite("k", "a", data)) == (1,)
        assert await put(storage, RecordWrite("k", "a", b"")) == (2,)
        assert await storage.get_record("default", SHARED, "k", "a") == Record("a", b"", 2)

    async def test_a_deleted_record_is_gone(self, storage: SessionStorage) -> None:
        """Deleting gives version 0, also if there was none; the next write begins at 1 again."""
        await put(storage, RecordWrite("k", "a", b"1"))
        assert await put(storage, RecordWrite("k", "a", None), RecordWrite("k", "b", None)) == (0, 0)
        assert await value_of(storage, "a") is None
        assert await put(storage, RecordWrite("k", "a", b"2")) == (1,)

    async def test_insert_if_absent(self, storage: SessionStorage) -> None:
        """`if_absent` writes only where there is nothing."""
        write = RecordWrite("k", "a", b"1", if_absent=True)
        assert await put(storage, write) == (1,)
        with pytest.raises(PreconditionFailedError) as refused:
            await put(storage, write)
        assert (refused.value.expected, refused.value.actual) == (0, 1)

    async def test_compare_and_put(self, storage: SessionStorage) -> None:
        """`if_version` writes and deletes only what has that version now."""
        await put(storage, RecordWrite("k", "a", b"1"))
        assert await put(storage, RecordWrite("k", "a", b"2", if_version=1)) == (2,)
        for stale in (b"x", None):
            with pytest.raises(PreconditionFailedError) as refused:
                await put(storage, RecordWrite("k", "a", stale, if_version=1))
            assert (refused.value.expected, refused.value.actual) == (1, 2)
        assert await value_of(storage, "a") == b"2"
        assert await put(storage, RecordWrite("k", "a", None, if_version=2)) == (0,)
        with pytest.raises(PreconditionFailedError):
            await put(storage, RecordWrite("k", "a", b"3", if_version=2))

    async def test_writes_are_one_unit(self, storage: SessionStorage) -> None:
        """If one of several writes is refused, none of them happened."""
        await put(storage, RecordWrite("k", "b", b"old"))
        with pytest.raises(PreconditionFailedError):
            await put(
                storage,
                RecordWrite("k", "a", b"new"),
                RecordWrite("k", "b", b"new", if_absent=True),
                RecordWrite("k", "c", b"new"),
            )
        assert [await value_of(storage, key) for key in "abc"] == [None, b"old", None]

    async def test_kinds_and_scopes_are_apart(self, storage: SessionStorage) -> None:
        """The same key under another kind, name, or type of scope is another record."""
        await storage.commit(creation("app"))
        scopes = [SHARED, RecordScope("shared", "other"), scope_of("app")]
        for number, scope in enumerate(scopes):
            for kind in ("k", "l"):
                await put(storage, RecordWrite(kind, "a", f"{kind}{number}".encode()), scope=scope)
        for number, scope in enumerate(scopes):
            for kind in ("k", "l"):
                record = await storage.get_record("default", scope, kind, "a")
                assert record == Record("a", f"{kind}{number}".encode(), 1)
            assert len(await storage.scan_records("default", scope, RecordQuery("k"))) == 1

    async def test_scans(self, storage: SessionStorage) -> None:
        """Scans go by prefix, in the order of the keys or backwards, from behind a key, so many at most."""
        keys = ["a", "ab", "abc", "b", "é", "\U0001f600"]
        await put(storage, *(RecordWrite("k", key, key.encode()) for key in reversed(keys)))
        assert await keys_of(storage) == keys
        assert await keys_of(storage, reverse=True) == keys[::-1]
        assert await keys_of(storage, prefix="a") == ["a", "ab", "abc"]
        assert await keys_of(storage, prefix="a", reverse=True) == ["abc", "ab", "a"]
        assert await keys_of(storage, after="ab") == ["abc", "b", "é", "\U0001f600"]
        assert await keys_of(storage, after="ab", reverse=True) == ["a"]
        assert await keys_of(storage, after="a", prefix="a", limit=1) == ["ab"]
        assert await keys_of(storage, limit=2, reverse=True) == ["\U0001f600", "é"]
        assert await keys_of(storage, prefix="x") == []
        records = await storage.scan_records("default", SHARED, RecordQuery("k", prefix="é"))
        assert records == (Record("é", "é".encode(), 1),)

    async def test_key_prefixes_are_taken_literally(self, storage: SessionStorage) -> None:
        """No character of a prefix is a wildcard, and case counts."""
        keys = ["a%", "a%b", "a_", "ab", "A%", "a\\x", "\U0010ffff", "\U0010ffff\U0010ffff"]
        await put(storage, *(RecordWrite("k", key, b"") for key in keys))
        for prefix in ["", "a", "a%", "a_", "a\\", "A", "\U0010ffff"]:
            assert await keys_of(storage, prefix=prefix) == sorted(k for k in keys if k.startswith(prefix)), prefix

    # --- with sessions

    async def test_a_session_scope_must_live(self, storage: SessionStorage) -> None:
        """Records of a session that isn't there, or was deleted, aren't written."""
        with pytest.raises(SessionNotFoundError):
            await put(storage, RecordWrite("k", "a", b""), scope=SESSION)
        await storage.commit(creation())
        await put(storage, RecordWrite("k", "a", b""), scope=SESSION)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        with pytest.raises(SessionDeletedError):
            await put(storage, RecordWrite("k", "a", b""), scope=SESSION)

    async def test_records_go_with_their_session(self, storage: SessionStorage) -> None:
        """A deletion takes the session's records along, not those under a shared name; a new life has none."""
        await storage.commit(creation("s"))
        await put(storage, RecordWrite("k", "a", b"1"), scope=SESSION)
        shared = RecordScope("shared", "s")
        await put(storage, RecordWrite("k", "a", b"2"), scope=shared)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        assert await value_of(storage, "a", SESSION) is None
        assert await value_of(storage, "a", shared) == b"2"
        await storage.commit(creation("s", reuse_deleted=True))
        assert await storage.scan_records("default", SESSION, RecordQuery("k")) == ()
        assert await put(storage, RecordWrite("k", "a", b"3", if_absent=True), scope=SESSION) == (1,)

    async def test_records_alone_make_no_revision(self, storage: SessionStorage) -> None:
        """Records written outside a commit leave the session's revision as it is."""
        await storage.commit(creation())
        await put(storage, RecordWrite("k", "a", b""), scope=SESSION)
        assert (await snapshot_of(storage)).revision == 1

    async def test_records_of_a_commit(self, storage: SessionStorage) -> None:
        """A commit writes its session's records, deletes and compares them, and is a revision by that alone."""
        await storage.commit(creation(records=(RecordWrite("k", "a", b"1"), RecordWrite("k", "b", b"1"))))
        writes = (RecordWrite("k", "a", b"2", if_version=1), RecordWrite("k", "b", None))
        committed = await storage.commit(appending("s", records=writes))
        assert (committed.changed, committed.revision) == (True, 2)
        assert await storage.get_record("default", SESSION, "k", "a") == Record("a", b"2", 2)
        assert await value_of(storage, "b", SESSION) is None

    async def test_records_and_messages_are_one_commit(self, storage: SessionStorage) -> None:
        """G3: a refused record keeps the messages out, and a refused commit the records."""
        await storage.commit(creation())
        with pytest.raises(PreconditionFailedError):
            await storage.commit(appending("s", user("a"), records=(RecordWrite("k", "a", b"", if_version=3),)))
        with pytest.raises(RevisionConflict):
            await storage.commit(appending("s", user("a"), expected=9, records=(RecordWrite("k", "a", b""),)))
        assert await ids_in(storage) == []
        assert await value_of(storage, "a", SESSION) is None
        assert (await snapshot_of(storage)).revision == 1

    async def test_a_replay_writes_no_record_again(self, storage: SessionStorage) -> None:
        """A commit sent again doesn't touch the records a second time."""
        commit = creation(records=(RecordWrite("k", "a", b"1", if_absent=True),))
        await storage.commit(commit)
        assert (await storage.commit(commit)).replayed
        assert await storage.get_record("default", SESSION, "k", "a") == Record("a", b"1", 1)
