"""What is kept beside the messages: the token ledger, and records for adapters."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.limits import RECORD_PAGE_BYTES_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageRecord
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.commit import RecordScope, RecordWrite
from bamboo_sessions.testing.conformance.kit import user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, planted, saved
from bamboo_sessions.testing.faults import FaultyStorage


class KeepingConformance(RepositoryCase):
    """Count tokens; put, get, scan and delete records."""

    async def test_counting_tokens(self, sessions: SessionRepository) -> None:
        """L98: records add up, once each, for a session, its tree, and the namespace."""
        await planted(sessions)
        record = TokenUsageRecord(id="u", input_tokens=3, output_tokens=4)
        for _ in range(2):
            await sessions.append_token_usage_record("child", record)
        await sessions.append_token_usage_record("leaf", TokenUsage(input_tokens=10))
        totals = await sessions.token_usage("child")
        assert (totals.calls, totals.input_tokens, totals.total_tokens) == (1, 3, 7)
        assert (await sessions.token_usage("root", include_children=True)).calls == 2
        assert (await sessions.token_usage()).input_tokens == 13
        with pytest.raises(SessionNotFoundError):
            await sessions.token_usage("unknown")
        with pytest.raises(SessionNotFoundError):
            await sessions.append_token_usage_record("unknown", record)
        with pytest.raises(InputError):
            await sessions.append_token_usage_record("root", TokenUsageRecord(input_tokens=-1))

    async def test_keeping_records(self, sessions: SessionRepository) -> None:
        """Records are put, compared, scanned both ways and deleted, under a session or a shared name."""
        await saved(sessions, user("a"))
        records = sessions.records
        versions = {key: await records.put("k", key, key.encode(), session="s") for key in ("b", "a", "c")}
        assert await records.put("k", "a", b"2", session="s", if_version=versions["a"]) > max(versions.values())
        with pytest.raises(PreconditionFailedError):
            await records.put("k", "a", b"3", session="s", if_absent=True)
        assert [r.key async for r in records.scan("k", session="s")] == ["a", "b", "c"]
        assert [r.value async for r in records.scan("k", session="s", reverse=True, limit=2)] == [b"c", b"b"]
        await records.delete("k", "b", session="s")
        assert await records.get("k", "b", session="s") is None
        await records.put("k", "a", b"shared", shared="user:7")
        record = await records.get("k", "a", shared="user:7")
        assert record is not None
        assert record.value == b"shared"
        with pytest.raises(InputError):
            await records.get("k", "a")
        await sessions.delete("s")
        assert [r async for r in records.scan("k", session="s")] == []
        with pytest.raises(SessionDeletedError):
            await records.put("k", "a", b"", session="s")

    async def test_L121_records_of_another_life(self, sessions: SessionRepository) -> None:
        """Neither a version nor an incarnation of a former life lets anybody write into the next one."""
        first = await saved(sessions, user("a"))
        version = await sessions.records.put("k", "a", b"1", session="s")
        await sessions.delete("s")
        await sessions.create(Session("s"))
        anew = await sessions.records.put("k", "a", b"2", session="s")
        with pytest.raises(PreconditionFailedError) as refused:
            await sessions.records.put("k", "a", b"3", session="s", if_version=version)
        assert refused.value.actual == anew
        with pytest.raises(SessionDeletedError):
            await sessions.records.put("k", "a", b"3", session="s", incarnation=first.incarnation)
        with pytest.raises(SessionDeletedError):
            await sessions.records.delete("k", "a", session="s", incarnation=first.incarnation)
        record = await sessions.records.get("k", "a", session="s")
        assert record is not None
        assert record.value == b"2"

    async def test_records_of_several_scopes(self, sessions: SessionRepository) -> None:
        """`write` is one commit over sessions and shared names, and can be repeated by its commit id."""
        await saved(sessions, user("a"))
        shared = RecordScope("shared", "user:7")
        writes = [
            RecordWrite("k", "a", b"1"),
            RecordWrite("k", "a", b"2", scope=shared),
            RecordWrite("k", "b", None),
            RecordWrite("k", "a", b"3", if_absent="skip"),
        ]
        versions = await sessions.records.write(writes, session="s", commit_id="mine")
        assert versions[2:] == (0, versions[0])
        await sessions.records.delete("k", "a", session="s")
        assert await sessions.records.write(writes, session="s", commit_id="mine") == versions
        assert await sessions.records.get("k", "a", session="s") is None
        assert list(await sessions.records.get_many("k", ["b", "a"], shared="user:7")) == ["a"]
        assert await sessions.records.write([]) == ()
        assert await sessions.records.write([writes[1]]) > versions[1:2]
        for without_scope in (writes, writes[:1]):
            with pytest.raises(InputError):
                await sessions.records.write(without_scope)
        with pytest.raises(InputError):
            await sessions.records.write([writes[1]], shared="user:7", incarnation=1)

    async def test_an_unknown_outcome_of_records_is_settled_by_its_commit_id(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """G4: the error names the commit, and the same call with that id tells what became of it."""
        faults.fail("write_records", after=True)
        with pytest.raises(StorageUnavailableError) as failed:
            await sessions.records.put("k", "a", b"1", shared="app", if_absent=True)
        assert failed.value.commit_id is not None
        again = await sessions.records.put(
            "k", "a", b"1", shared="app", if_absent=True, commit_id=failed.value.commit_id
        )
        record = await sessions.records.get("k", "a", shared="app")
        assert record is not None
        assert (record.value, record.version) == (b"1", again)

    async def test_ways_to_scan(self, sessions: SessionRepository) -> None:
        """Scans go from a key, between borders, backwards, over keys alone, and stop where they are told."""
        records = sessions.records
        for key in "abcde":
            await records.put("k", key, key.encode(), shared="app")
        assert [key async for key in records.scan("k", shared="app", keys_only=True)] == list("abcde")
        assert [r.key async for r in records.scan("k", shared="app", after="b")] == ["c", "d", "e"]
        assert [r.key async for r in records.scan("k", shared="app", start="b", end="d")] == ["b", "c"]
        backwards = records.scan("k", shared="app", start="b", reverse=True, after="d", limit=1, keys_only=True)
        assert [key async for key in backwards] == ["c"]
        for names in ({"after": "\ud800"}, {"start": "\0"}, {"end": "\ud800"}, {"prefix": "\ud800"}, {"kind": ""}):
            with pytest.raises(InputError):
                records.scan(**{"kind": "k", "shared": "app", **names})  # type: ignore[call-overload]
        for wrong in (-1, True, "1"):
            with pytest.raises(InputError):
                records.scan("k", shared="app", limit=wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError):
            await records.write([RecordWrite("k", "a", b"", scope="app")])  # type: ignore[arg-type]
        for kind, key in (("k\ud800", "a"), ("k", "a\0"), ("k", "")):
            with pytest.raises(InputError):
                await records.get(kind, key, shared="app")
            with pytest.raises(InputError):
                await records.get_many(kind, [key], shared="app")
            with pytest.raises(InputError):
                await records.put(kind, key, b"", shared="app")
        with pytest.raises(InputError):
            await records.get("k", "a", shared="\ud800")

    async def test_large_records_are_scanned(self, sessions: SessionRepository) -> None:
        """A scan over more bytes than a page has gives all records."""
        for number in range(3):
            await sessions.records.put("k", str(number), bytes(RECORD_PAGE_BYTES_MAX // 2), shared="app")
        assert [record.key async for record in sessions.records.scan("k", shared="app")] == ["0", "1", "2"]

    async def test_long_scans(self, sessions: SessionRepository) -> None:
        """A scan goes on over as many pages as there are."""
        for number in range(1_005):
            await sessions.records.put("k", f"{number:05}", b"", shared="app")
        keys = [record.key async for record in sessions.records.scan("k", shared="app")]
        assert keys == [f"{number:05}" for number in range(1_005)]
