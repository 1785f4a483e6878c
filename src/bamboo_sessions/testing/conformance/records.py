"""Records: bytes beside a session, or under a shared name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.limits import RECORD_PAGE_BYTES_MAX
from bamboo_sessions.storage.commit import Committed, RecordScope, RecordWrite, RevisionConflict
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, Record, RecordQuery
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    SECOND,
    appending,
    creation,
    ids_in,
    key_of,
    recording,
    scope_of,
    snapshot_of,
    user,
)

SHARED = RecordScope("shared", "app")
SESSION = scope_of("s")


async def put(
    storage: SessionStorage,
    *writes: RecordWrite,
    scope: RecordScope = SHARED,
    **fields: Any,  # noqa: ANN401 - fields of RecordCommit
) -> tuple[int, ...]:
    """Write records."""
    return await storage.write_records(recording(*writes, scope=scope, **fields))


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
        """A record keeps its bytes, empty ones too, and gets a higher version with each write."""
        assert await storage.get_record("default", SHARED, "k", "a") is None
        data = bytes(range(256)) * 4
        (first,) = await put(storage, RecordWrite("k", "a", data))
        assert await storage.get_record("default", SHARED, "k", "a") == Record("a", data, first)
        (second,) = await put(storage, RecordWrite("k", "a", b""))
        assert await storage.get_record("default", SHARED, "k", "a") == Record("a", b"", second)
        assert second > first > 0

    async def test_several_records_at_once(self, storage: SessionStorage) -> None:
        """Records are read together, in the order asked for, less those that there aren't."""
        versions = await put(storage, RecordWrite("k", "a", b"1"), RecordWrite("k", "b", b"2"))
        found = await storage.get_records("default", SHARED, "k", ["b", "none", "a"])
        assert found == (Record("b", b"2", versions[1]), Record("a", b"1", versions[0]))

    async def test_a_deleted_record_is_gone(self, storage: SessionStorage) -> None:
        """Deleting gives version 0, also if there was none."""
        await put(storage, RecordWrite("k", "a", b"1"))
        assert await put(storage, RecordWrite("k", "a", None), RecordWrite("k", "b", None)) == (0, 0)
        assert await value_of(storage, "a") is None

    async def test_L121_no_version_is_met_again(self, storage: SessionStorage) -> None:
        """A record that was deleted and written anew isn't taken for the one that somebody has read."""
        (seen,) = await put(storage, RecordWrite("k", "a", b"A"))
        await put(storage, RecordWrite("k", "a", None))
        (anew,) = await put(storage, RecordWrite("k", "a", b"B"))
        for stale in (b"x", None):
            with pytest.raises(PreconditionFailedError) as refused:
                await put(storage, RecordWrite("k", "a", stale, if_version=seen))
            assert (refused.value.expected, refused.value.actual) == (seen, anew)
        assert await value_of(storage, "a") == b"B"

    async def test_L121_no_version_is_met_again_in_another_life(self, storage: SessionStorage) -> None:
        """Nor are the versions of a session's records given again to those of its next life."""
        await storage.commit(creation())
        (seen,) = await put(storage, RecordWrite("k", "a", b"A"), scope=SESSION)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        await storage.commit(creation(records=(RecordWrite("k", "a", b"B"),), reuse_deleted=True))
        with pytest.raises(PreconditionFailedError):
            await put(storage, RecordWrite("k", "a", b"x", if_version=seen), scope=SESSION)
        assert await value_of(storage, "a", SESSION) == b"B"

    async def test_L121_a_writer_of_a_former_life_is_refused(self, storage: SessionStorage) -> None:
        """Whoever names the life of the session that is meant doesn't write into another one."""
        first = (await storage.commit(creation())).incarnation
        await put(storage, RecordWrite("k", "a", b"1"), scope=SESSION, incarnation=first)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        second = (await storage.commit(creation(reuse_deleted=True))).incarnation
        with pytest.raises(SessionDeletedError):
            await put(storage, RecordWrite("k", "a", b"2"), scope=SESSION, incarnation=first)
        assert await value_of(storage, "a", SESSION) is None
        await put(storage, RecordWrite("k", "a", b"3"), scope=SESSION, incarnation=second)
        assert await value_of(storage, "a", SESSION) == b"3"

    async def test_insert_if_absent(self, storage: SessionStorage) -> None:
        """`if_absent` writes only where there is nothing."""
        write = RecordWrite("k", "a", b"1", if_absent=True)
        (version,) = await put(storage, write)
        with pytest.raises(PreconditionFailedError) as refused:
            await put(storage, write)
        assert (refused.value.expected, refused.value.actual) == (0, version)

    async def test_insert_or_keep(self, storage: SessionStorage) -> None:
        """`if_absent="skip"` writes where there is nothing, and else keeps what is there and tells its version."""
        write = RecordWrite("k", "a", b"1", if_absent="skip")
        (version,) = await put(storage, write)
        again = await put(storage, RecordWrite("k", "a", b"2", if_absent="skip"), RecordWrite("k", "b", b"3"))
        assert again[0] == version
        assert [await value_of(storage, key) for key in "ab"] == [b"1", b"3"]

    async def test_compare_and_put(self, storage: SessionStorage) -> None:
        """`if_version` writes and deletes only what has that version now."""
        (first,) = await put(storage, RecordWrite("k", "a", b"1"))
        (second,) = await put(storage, RecordWrite("k", "a", b"2", if_version=first))
        for stale in (b"x", None):
            with pytest.raises(PreconditionFailedError) as refused:
                await put(storage, RecordWrite("k", "a", stale, if_version=first))
            assert (refused.value.expected, refused.value.actual) == (first, second)
        assert await value_of(storage, "a") == b"2"
        assert await put(storage, RecordWrite("k", "a", None, if_version=second)) == (0,)
        with pytest.raises(PreconditionFailedError):
            await put(storage, RecordWrite("k", "a", b"3", if_version=second))

    async def test_L121_writes_of_a_commit_see_one_another(self, storage: SessionStorage) -> None:
        """Of two insertions of one record in one commit the second is refused; a deletion makes room for one."""
        twice = (RecordWrite("k", "a", b"1", if_absent=True), RecordWrite("k", "a", b"2", if_absent=True))
        with pytest.raises(PreconditionFailedError):
            await put(storage, *twice)
        assert await value_of(storage, "a") is None
        await storage.commit(creation())
        with pytest.raises(PreconditionFailedError):
            await storage.commit(appending("s", records=twice))
        written = await put(storage, RecordWrite("k", "a", b"1"), RecordWrite("k", "a", None), twice[1])
        assert written[1] == 0
        assert await storage.get_record("default", SHARED, "k", "a") == Record("a", b"2", written[2])
        kept = await put(storage, RecordWrite("k", "b", b"1"), RecordWrite("k", "b", b"2", if_absent="skip"))
        assert kept[0] == kept[1]
        assert await put(storage, RecordWrite("k", "b", b"3"), RecordWrite("k", "b", None))
        assert await value_of(storage, "b") is None

    async def test_a_replay_of_records(self, storage: SessionStorage) -> None:
        """G4: the same commit id again gives the versions of then and writes nothing, whatever came since."""
        commit = recording(RecordWrite("k", "a", b"1", if_absent=True), RecordWrite("k", "b", None), scope=SHARED)
        versions = await storage.write_records(commit)
        await put(storage, RecordWrite("k", "a", b"2"))
        assert await storage.write_records(commit) == versions
        assert await value_of(storage, "a") == b"2"

    async def test_a_pruned_write_of_records_is_forgotten(
        self, storage: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """Commit ids of records are kept as long as those of sessions: until the log is pruned."""
        write = RecordWrite("k", "a", b"1")
        (first,) = await put(storage, write, commit_id="mine")
        await storage.prune_changes(SECOND)
        assert await put(storage, write, commit_id="mine") == (first,)
        storage_clock.move(2 * SECOND)
        await storage.prune_changes(SECOND)
        assert await put(storage, write, commit_id="mine") > (first,)

    async def test_L121_a_refused_write_has_no_commit_id(self, storage: SessionStorage) -> None:
        """What was refused didn't happen: the same commit id can succeed later."""
        write = RecordWrite("k", "a", b"2", if_absent=True)
        await put(storage, RecordWrite("k", "a", b"1"))
        with pytest.raises(PreconditionFailedError):
            await put(storage, write, commit_id="mine")
        await put(storage, RecordWrite("k", "a", None))
        await put(storage, write, commit_id="mine")
        assert await value_of(storage, "a") == b"2"

    async def test_several_scopes_are_one_unit(self, storage: SessionStorage) -> None:
        """One commit writes records of sessions and of shared names; if one is refused, none is written."""
        await storage.commit(creation("s"))
        await storage.commit(creation("t"))
        scopes = [SESSION, scope_of("t"), SHARED, RecordScope("shared", "user:7")]
        writes = [RecordWrite("k", "a", scope.name.encode(), scope=scope) for scope in scopes]
        taken = RecordWrite("k", "b", b"", if_absent=True, scope=scopes[-1])
        await put(storage, taken)
        with pytest.raises(PreconditionFailedError):
            await put(storage, *writes, taken)
        assert [await value_of(storage, "a", scope) for scope in scopes] == [None] * 4
        versions = await put(storage, *writes)
        assert len(set(versions)) == 4
        assert [await value_of(storage, "a", scope) for scope in scopes] == [b"s", b"t", b"app", b"user:7"]

    async def test_every_session_in_scope_must_live(self, storage: SessionStorage) -> None:
        """A commit that names a session which isn't there, or was deleted, is refused as a whole."""
        await storage.commit(creation("s"))
        await storage.commit(creation("gone"))
        await storage.delete_tree(key_of("gone"), DeleteQuery(at=START))
        for name, error in (("unknown", SessionNotFoundError), ("gone", SessionDeletedError)):
            writes = (RecordWrite("k", "a", b"1"), RecordWrite("k", "a", b"2", scope=scope_of(name)))
            with pytest.raises(error):
                await put(storage, *writes, scope=SESSION)
            with pytest.raises(error):
                await storage.commit(appending("s", user("m"), records=writes))
        assert await value_of(storage, "a", SESSION) is None
        assert await ids_in(storage) == []

    async def test_what_cannot_be_a_record(self, storage: SessionStorage) -> None:
        """Names with surrogates or control characters, and values that are no bytes, are refused by name."""
        await storage.commit(creation("s"))
        refused = [
            RecordWrite("k\ud800", "a", b""),
            RecordWrite("k", "a\0", b""),
            RecordWrite("", "a", b""),
            RecordWrite("k", "a" * 513, b""),
            RecordWrite("k", "a", "text"),  # type: ignore[arg-type]
            RecordWrite("k", "a", b"", scope=RecordScope("shared", "\ud800")),
            RecordWrite("k", "a", b"", scope=RecordScope("session", "a\0")),
            RecordWrite("k", "a", b"", scope=RecordScope("other", "a")),  # type: ignore[arg-type]
            RecordWrite("k", "a", b"", if_absent=True, if_version=3),
            RecordWrite("k", "a", b"", if_absent="maybe"),  # type: ignore[arg-type]
        ]
        for write in refused:
            with pytest.raises(InputError):
                await put(storage, RecordWrite("k", "b", b""), write)
            with pytest.raises(InputError):
                await storage.commit(appending("s", records=(RecordWrite("k", "b", b""), write)))
        for commit_id in ("", "\ud800", "x" * 129):
            with pytest.raises(InputError):
                await put(storage, RecordWrite("k", "b", b""), commit_id=commit_id)
        assert await value_of(storage, "b") is None
        assert await value_of(storage, "b", SESSION) is None

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
                assert record is not None
                assert record.value == f"{kind}{number}".encode()
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
        assert await keys_of(storage, start="ab", end="é") == ["ab", "abc", "b"]
        assert await keys_of(storage, start="ab", end="é", reverse=True) == ["b", "abc", "ab"]
        assert await keys_of(storage, prefix="a", start="aa", end="abb") == ["ab"]
        assert await keys_of(storage, start="b", end="a") == []
        assert await keys_of(storage, start="ab", after="a") == ["ab", "abc", "b", "é", "\U0001f600"]
        (record,) = await storage.scan_records("default", SHARED, RecordQuery("k", prefix="é"))
        assert (record.key, record.value) == ("é", "é".encode())
        backwards = RecordQuery("k", prefix="a", reverse=True, limit=2)
        assert await storage.scan_record_keys("default", SHARED, backwards) == ("abc", "ab")

    async def test_a_page_is_bounded_in_bytes(self, storage: SessionStorage) -> None:
        """A page of large records ends early, and the next one goes on behind it."""
        half = RECORD_PAGE_BYTES_MAX // 2
        await put(storage, *(RecordWrite("k", key, bytes(half)) for key in "abc"))
        assert await keys_of(storage) == ["a", "b"]
        assert await keys_of(storage, after="b") == ["c"]
        assert await storage.scan_record_keys("default", SHARED, RecordQuery("k")) == ("a", "b", "c")

    async def test_keys_are_ordered_by_code_point(self, storage: SessionStorage) -> None:
        """Neither case, accents nor bytes of another encoding decide, but the code points."""
        keys = sorted(chr(n) for n in (0x21, 0x41, 0x61, 0x7F + 0x22, 0xE9, 0xFFFD, 0xE000, 0xFFFF, 0x10000, 0x10FFFF))
        await put(storage, *(RecordWrite("k", key, b"") for key in reversed(keys)))
        assert await keys_of(storage) == keys
        for border in keys:
            assert await keys_of(storage, start=border) == [key for key in keys if key >= border]
            assert await keys_of(storage, end=border) == [key for key in keys if key < border]

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
        await put(storage, RecordWrite("k", "a", b"3", if_absent=True), scope=SESSION)

    async def test_records_alone_make_no_revision(self, storage: SessionStorage) -> None:
        """Records written outside a commit leave the session's revision as it is."""
        await storage.commit(creation())
        await put(storage, RecordWrite("k", "a", b""), scope=SESSION)
        assert (await snapshot_of(storage)).revision == 1

    async def test_records_of_a_commit(self, storage: SessionStorage) -> None:
        """A commit writes records, deletes and compares them, tells their versions, and is a revision by that alone."""
        created = await storage.commit(creation(records=(RecordWrite("k", "a", b"1"), RecordWrite("k", "b", b"1"))))
        writes = (
            RecordWrite("k", "a", b"2", if_version=created.record_versions[0]),
            RecordWrite("k", "b", None),
            RecordWrite("k", "c", b"3", scope=SHARED),
        )
        committed = await storage.commit(appending("s", records=writes))
        assert (committed.changed, committed.revision, committed.record_versions[1]) == (True, 2, 0)
        record = Record("a", b"2", committed.record_versions[0])
        assert await storage.get_record("default", SESSION, "k", "a") == record
        assert await value_of(storage, "b", SESSION) is None
        assert await value_of(storage, "c") == b"3"

    async def test_records_that_change_nothing_make_no_commit(self, storage: SessionStorage) -> None:
        """L42: what keeps a record, or deletes one that isn't there, is no revision."""
        created = await storage.commit(creation(records=(RecordWrite("k", "a", b"1"),)))
        nothing = (RecordWrite("k", "a", b"2", if_absent="skip"), RecordWrite("k", "b", None))
        committed = await storage.commit(appending("s", records=nothing))
        assert (committed.changed, committed.revision) == (False, 1)
        assert committed.record_versions == (*created.record_versions, 0)

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
        """A commit sent again doesn't touch the records a second time, and tells the versions of then."""
        commit = creation(records=(RecordWrite("k", "a", b"1", if_absent=True),))
        first = await storage.commit(commit)
        await put(storage, RecordWrite("k", "a", b"2"), scope=SESSION)
        again = await storage.commit(commit)
        assert again.replayed
        assert again.record_versions == first.record_versions
        assert await value_of(storage, "a", SESSION) == b"2"

    async def test_blind_records_never_conflict(self, storage: SessionStorage) -> None:
        """Sixteen writers of one session, each with records of its own and no revision: all are written."""
        await storage.commit(creation())

        async def writer(number: int) -> list[Committed]:
            return [
                await storage.commit(appending("s", records=(RecordWrite("k", f"{number}/{step}", b"v"),)))
                for step in range(5)
            ]

        made = [each for one in await asyncio.gather(*map(writer, range(16))) for each in one]
        assert len({each.revision for each in made}) == 80
        assert len({each.record_versions for each in made}) == 80
        assert len(await storage.scan_record_keys("default", SESSION, RecordQuery("k", limit=100))) == 80
