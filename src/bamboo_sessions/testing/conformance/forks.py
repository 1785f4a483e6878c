"""Forks: a new session that begins with another one's history, copied inside storage."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    MessageIdConflictError,
    MessageNotFoundError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.usage import TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.commit import Commit, HistorySource, RecordScope, RecordWrite, RevisionConflict
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, RecordQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.histories import History
from bamboo_sessions.testing.conformance.kit import (
    appending,
    change,
    content,
    creation,
    edited,
    ids_in,
    key_of,
    recording,
    scope_of,
    snapshot_of,
    user,
    users,
)


def forking(revision: int, through: str | None = None, source: str = "s") -> Commit:
    """The commit that makes session `fork`."""
    return creation("fork", history_from=HistorySource(source, revision, through))


class ForksConformance(Conformance):
    """A fork has the history that it was given, and nothing else in common with its source."""

    async def test_a_fork_begins_with_the_history(self, storage: SessionStorage) -> None:
        """All messages come along, with their ids, in their order."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        committed = await storage.commit(forking(1))
        assert (committed.revision, committed.incarnation, committed.message_count) == (1, 1, 3)
        assert list((await snapshot_of(storage, "fork")).messages) == list(users("a", "b", "c"))

    async def test_a_fork_can_end_at_a_message(self, storage: SessionStorage) -> None:
        """With a last message the history is cut behind it."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        await storage.commit(forking(1, "b"))
        assert await ids_in(storage, "fork") == ["a", "b"]

    async def test_a_fork_of_any_revision(self, storage: SessionStorage) -> None:
        """The messages are those of the revision named, edits and removals of later undone."""
        history = History(storage, seed=3)
        await history.run(25)
        for revision in (1, 7, 13, 20, 26):
            await storage.commit(creation(f"fork{revision}", history_from=HistorySource("s", revision, None)))
            fork = await snapshot_of(storage, f"fork{revision}")
            assert list(fork.messages) == list(history.snapshots[revision - 1].messages)
            assert fork.messages_bytes == history.snapshots[revision - 1].messages_bytes

    async def test_a_fork_and_its_source_part(self, storage: SessionStorage) -> None:
        """What happens to one of them later isn't seen in the other, not even a deletion."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(forking(1))
        source = await snapshot_of(storage)
        fork = await snapshot_of(storage, "fork")
        await storage.commit(change(fork, removals=("a",), edits=(to_stored(edited(fork.messages[1], "B")),)))
        assert content(await snapshot_of(storage)) == content(source)
        await storage.delete_tree(key_of("s"), DeleteQuery(at=START))
        assert [message.text for message in (await snapshot_of(storage, "fork")).messages] == ["B"]

    async def test_ids_of_a_fork_are_known(self, storage: SessionStorage) -> None:
        """G4: in the fork the messages that came along are duplicates or conflicts like any other."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(forking(1, "a"))
        assert (await storage.commit(appending("fork", user("a")))).duplicates == ("a",)
        with pytest.raises(MessageIdConflictError):
            await storage.commit(appending("fork", user("other", id="a")))
        assert not (await storage.commit(appending("fork", user("other", id="b")))).duplicates

    async def test_a_fork_can_have_messages_of_its_own(self, storage: SessionStorage) -> None:
        """Messages of the creating commit stand behind the history."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(creation("fork", user("c"), history_from=HistorySource("s", 1, None)))
        assert await ids_in(storage, "fork") == ["a", "b", "c"]

    async def test_messages_of_a_fork_are_known_while_it_is_made(self, storage: SessionStorage) -> None:
        """G4: a message of the creating commit that came along already is a duplicate, or a conflict."""
        await storage.commit(creation("s", *users("a", "b")))
        source = HistorySource("s", 1, "a")
        committed = await storage.commit(creation("fork", *users("a", "b"), history_from=source))
        assert committed.duplicates == ("a",)
        assert await ids_in(storage, "fork") == ["a", "b"]
        with pytest.raises(MessageIdConflictError):
            await storage.commit(creation("other", user("text", id="a"), history_from=source))

    async def test_only_a_new_session_begins_with_a_history(self, storage: SessionStorage) -> None:
        """A blind commit that would make a fork is refused if the session lives."""
        await storage.commit(creation("s", *users("a")))
        await storage.commit(creation("fork"))
        with pytest.raises(RevisionConflict):
            await storage.commit(appending("fork", history_from=HistorySource("s", 1, None)))
        assert await ids_in(storage, "fork") == []

    async def test_L98_a_fork_counts_its_own_tokens(self, storage: SessionStorage) -> None:
        """The ledger stays with the source."""
        await storage.commit(creation("s", usage=(TokenUsageRecord(id="u", at=START, input_tokens=5),)))
        await storage.commit(forking(1))
        assert await storage.usage_totals("default", "fork", include_children=False) == TokenUsageTotals()

    async def test_a_fork_takes_records_along(self, storage: SessionStorage) -> None:
        """The records of its source come with the history, in the same commit: all, those of some kinds, or none."""
        writes = [RecordWrite(kind, key, f"{kind}{key}".encode()) for kind in ("k", "l") for key in ("a", "b")]
        await storage.commit(creation("s", *users("m"), records=tuple(writes)))
        await storage.write_records(recording(RecordWrite("k", "a", b"shared"), scope=RecordScope("shared", "s")))
        for name, kinds, expected in (
            ("all", None, ("k", "l")),
            ("some", ("l", "none"), ("l",)),
            ("none", (), ()),
        ):
            source = HistorySource("s", 1, None, record_kinds=kinds)
            await storage.commit(creation(name, history_from=source))
            for kind in ("k", "l"):
                found = await storage.scan_records("default", scope_of(name), RecordQuery(kind))
                values = {record.key: record.value for record in found}
                keys = ("a", "b") if kind in expected else ()
                assert values == {key: f"{kind}{key}".encode() for key in keys}
        report = await storage.check()
        assert report.ok, report.problems

    async def test_records_of_a_fork_are_its_own(self, storage: SessionStorage) -> None:
        """They have versions of their own, and what happens to either side later isn't seen in the other."""
        writes = (RecordWrite("k", "a", b"1"), RecordWrite("k", "b", b"1"))
        created = await storage.commit(creation("s", records=writes))
        own = (RecordWrite("k", "b", b"own", if_absent=True),)
        source = HistorySource("s", 1, None, record_kinds=None)
        committed = await storage.commit(creation("fork", history_from=source, records=own))
        copied, written = await storage.scan_records("default", scope_of("fork"), RecordQuery("k"))
        assert (copied.value, written.value) == (b"1", b"own")
        assert committed.record_versions == (written.version,)
        assert not {copied.version, written.version} & set(created.record_versions)
        stale = RecordWrite("k", "a", b"2", if_version=created.record_versions[0])
        with pytest.raises(PreconditionFailedError):
            await storage.write_records(recording(stale, scope=scope_of("fork")))
        await storage.write_records(recording(stale, scope=scope_of("s")))
        await storage.delete_tree(key_of("s"), DeleteQuery(at=START))
        assert await storage.get_record("default", scope_of("fork"), "k", "a") == copied

    async def test_a_refused_fork_takes_no_records(self, storage: SessionStorage) -> None:
        """G3: a fork that isn't made has no records either."""
        await storage.commit(creation("s", *users("m"), records=(RecordWrite("k", "a", b"1"),)))
        await storage.commit(creation("fork"))
        source = HistorySource("s", 1, None, record_kinds=None)
        with pytest.raises(RevisionConflict):
            await storage.commit(creation("fork", history_from=source))
        with pytest.raises(MessageNotFoundError):
            await storage.commit(creation("other", history_from=source._replace(through_message_id="unknown")))
        for name in ("fork", "other"):
            assert await storage.scan_records("default", scope_of(name), RecordQuery("k")) == ()

    async def test_a_source_of_a_former_life_is_refused(self, storage: SessionStorage) -> None:
        """G9: the session was deleted and made anew since its revision was read; no empty fork is made of it."""
        await storage.commit(creation("s", *users("a")))
        await storage.delete_tree(key_of("s"), DeleteQuery(at=START))
        await storage.commit(creation("s", *users("b"), reuse_deleted=True))
        with pytest.raises(SessionDeletedError):
            await storage.commit(forking(1))
        assert await storage.read(key_of("fork")) is None

    async def test_a_source_must_live(self, storage: SessionStorage) -> None:
        """A fork of what never was or was deleted, or at a message that wasn't there, isn't made."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(change(await snapshot_of(storage), removals=("b",)))
        await storage.commit(creation("gone"))
        await storage.delete_tree(key_of("gone"), DeleteQuery(at=START))
        refused: list[tuple[Commit, type[BambooSessionsError]]] = [
            (forking(1, source="unknown"), SessionNotFoundError),
            (forking(1, source="gone"), SessionDeletedError),
            (forking(2, "unknown"), MessageNotFoundError),
            (forking(2, "b"), MessageNotFoundError),
        ]
        for commit, error in refused:
            with pytest.raises(error):
                await storage.commit(commit)
        assert await storage.read(key_of("fork")) is None

    async def test_a_fork_is_a_creation(self, storage: SessionStorage) -> None:
        """An id that is taken conflicts; one that was deleted stays deleted."""
        await storage.commit(creation("s", user("a")))
        await storage.commit(forking(1))
        with pytest.raises(RevisionConflict):
            await storage.commit(forking(1))
        await storage.delete_tree(key_of("fork"), DeleteQuery(at=START))
        with pytest.raises(SessionDeletedError):
            await storage.commit(forking(1))
