"""Reading: whole sessions, deltas, heads and windows agree with one another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bamboo_sessions.domain.errors import InvalidMessageError, MessageNotFoundError
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.storage.commit import HistorySource
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, Window, WindowQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.histories import History
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    change,
    content,
    creation,
    edited,
    head_of,
    insertion,
    key_of,
    snapshot_of,
    user,
    users,
)

LETTERS = ("a", "b", "c", "d", "e")


async def window_of(storage: SessionStorage, count: int, **query: int | str | None) -> Window:
    """A window of session `s`."""
    window = await storage.read_window(KEY, WindowQuery(count, **query))  # type: ignore[arg-type]
    assert isinstance(window, Window)
    return window


def ids_of(window: Window) -> list[str]:
    """The ids of its messages."""
    return [message.id for message in window.messages]


class ReadingConformance(Conformance):
    """Every way to read shows the same committed state."""

    async def test_nothing_is_none(self, storage: SessionStorage) -> None:
        """G8: what never was is `None`, whichever way it is asked for."""
        assert await storage.read(KEY) is None
        assert await storage.read_head(KEY) is None
        assert await storage.read_window(KEY, WindowQuery(5)) is None
        assert await storage.usage_totals("default", "s", include_children=True) is None

    async def test_deleted_is_a_tombstone(self, storage: SessionStorage) -> None:
        """What was deleted is a tombstone, whichever way it is asked for."""
        await storage.commit(creation("s", user("a")))
        known = await snapshot_of(storage)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        tombstone = Tombstone("s", 2, 0)
        assert await storage.read(KEY) == tombstone
        assert await storage.read_head(KEY) == tombstone
        assert await storage.read_window(KEY, WindowQuery(5)) == tombstone
        assert await storage.read_newer(KEY, known) == tombstone
        assert await storage.usage_totals("default", "s", include_children=True) == tombstone

    async def test_a_head_is_the_session_without_messages(self, storage: SessionStorage) -> None:
        """`read_head` gives the very head of `read`."""
        await storage.commit(creation("s", user("a"), head=head_of(title="T", metadata={"k": 1})))
        assert await storage.read_head(KEY) == (await snapshot_of(storage)).head

    async def test_reading_newer_is_reading(self, storage: SessionStorage) -> None:
        """From any older snapshot, the delta leads to the same state as reading all of it."""
        for seed in range(4):
            history = History(storage, seed, session_id=f"s{seed}")
            await history.run(40)
            newest = history.snapshots[-1]
            for known in history.snapshots:
                state = await storage.read_newer(history.key, known)
                assert isinstance(state, Snapshot)
                assert content(state) == content(newest)
                assert state.messages_bytes == newest.messages_bytes

    async def test_nothing_newer_is_the_known(self, storage: SessionStorage) -> None:
        """If nothing was committed since, the very snapshot comes back."""
        await storage.commit(creation("s", user("a")))
        known = await snapshot_of(storage)
        assert await storage.read_newer(KEY, known) is known

    async def test_newer_than_a_former_life(self, storage: SessionStorage) -> None:
        """A snapshot of a former incarnation gives nothing to the new one."""
        await storage.commit(creation("s", *users("a", "b")))
        known = await snapshot_of(storage)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        await storage.commit(creation("s", user("other", id="a"), reuse_deleted=True))
        state = await storage.read_newer(KEY, known)
        assert isinstance(state, Snapshot)
        assert content(state) == content(await snapshot_of(storage))
        assert [message.text for message in state.messages] == ["other"]

    async def test_snapshots_stay_as_they_were(self, storage: SessionStorage) -> None:
        """A snapshot that somebody holds isn't changed by later commits."""
        await storage.commit(creation("s", user("a")))
        held = await snapshot_of(storage)
        before = content(held)
        await storage.commit(appending("s", user("b")))
        await storage.commit(change(await snapshot_of(storage), removals=("a",), head=head_of(title="T")))
        assert content(held) == before
        assert [message.id for message in held.messages] == ["a"]

    # --- windows

    async def test_the_newest_window(self, storage: SessionStorage) -> None:
        """Without an anchor the newest messages come, and what lies before them is told."""
        await storage.commit(creation("s", *users(*LETTERS)))
        window = await window_of(storage, 2)
        assert ids_of(window) == ["d", "e"]
        assert (window.has_earlier, window.has_later) == (True, False)
        assert (window.message_count, window.revision) == (5, 1)
        window = await window_of(storage, 5)
        assert ids_of(window) == list(LETTERS)
        assert (window.has_earlier, window.has_later) == (False, False)

    async def test_windows_before_and_after(self, storage: SessionStorage) -> None:
        """`before` gives the nearest messages in front, `after` the nearest behind; the anchor isn't among them."""
        await storage.commit(creation("s", *users(*LETTERS)))
        before = await window_of(storage, 2, before="d")
        assert ids_of(before) == ["b", "c"]
        assert (before.has_earlier, before.has_later) == (True, True)
        after = await window_of(storage, 2, after="b")
        assert ids_of(after) == ["c", "d"]
        assert (after.has_earlier, after.has_later) == (True, True)
        assert ids_of(await window_of(storage, 9, before="b")) == ["a"]
        assert ids_of(await window_of(storage, 9, after="d")) == ["e"]

    async def test_windows_at_the_ends(self, storage: SessionStorage) -> None:
        """In front of the first and behind the last message there is nothing, and the rest is on the other side."""
        await storage.commit(creation("s", *users("a", "b")))
        front = await window_of(storage, 3, before="a")
        assert (ids_of(front), front.has_earlier, front.has_later) == ([], False, True)
        end = await window_of(storage, 3, after="b")
        assert (ids_of(end), end.has_earlier, end.has_later) == ([], True, False)

    async def test_a_window_of_an_empty_session(self, storage: SessionStorage) -> None:
        """An empty history has an empty window."""
        await storage.commit(creation())
        window = await window_of(storage, 3)
        assert (ids_of(window), window.has_earlier, window.has_later) == ([], False, False)
        assert window.message_count == 0

    async def test_a_removed_anchor_keeps_its_place(self, storage: SessionStorage) -> None:
        """Paging goes on from where a removed message stood."""
        await storage.commit(creation("s", *users(*LETTERS)))
        await storage.commit(change(await snapshot_of(storage), removals=("b", "c")))
        assert ids_of(await window_of(storage, 2, after="b")) == ["d", "e"]
        assert ids_of(await window_of(storage, 2, before="c")) == ["a"]
        window = await window_of(storage, 9)
        assert (ids_of(window), window.message_count) == (["a", "d", "e"], 3)

    async def test_an_anchor_that_never_was(self, storage: SessionStorage) -> None:
        """An unknown anchor raises `MessageNotFoundError`."""
        await storage.commit(creation("s", *users(*LETTERS)))
        for query in (WindowQuery(2, after="x"), WindowQuery(2, before="x"), WindowQuery(2, after="x", at_revision=1)):
            with pytest.raises(MessageNotFoundError) as refused:
                await storage.read_window(KEY, query)
            assert refused.value.message_id == "x"

    async def test_every_revision_can_be_read(self, storage: SessionStorage) -> None:
        """`at_revision` shows the messages exactly as they were after that commit."""
        for seed in range(3):
            history = History(storage, seed, session_id=f"s{seed}")
            await history.run(30)
            for revision, snapshot in enumerate(history.snapshots, start=1):
                window = await storage.read_window(history.key, WindowQuery(1_000, at_revision=revision))
                assert isinstance(window, Window)
                assert list(window.messages) == list(snapshot.messages)
                assert (window.message_count, window.revision) == (len(snapshot.messages), revision)

    async def test_an_anchor_stands_where_it_stood_then(self, storage: SessionStorage) -> None:
        """At an old revision an anchor has its place of then, wherever a rewriting of the history put it since."""
        await storage.commit(creation("s", *users(*LETTERS)))
        state = await snapshot_of(storage)
        await storage.commit(
            change(state, removals=LETTERS, insertions=(insertion(users(*reversed(LETTERS))),), replace=True)
        )
        assert ids_of(await window_of(storage, 9, before="b", at_revision=1)) == ["a"]
        assert ids_of(await window_of(storage, 9, after="b", at_revision=1)) == ["c", "d", "e"]
        assert ids_of(await window_of(storage, 9, before="b")) == ["e", "d", "c"]
        assert ids_of(await window_of(storage, 9, after="b", at_revision=2)) == ["a"]

    async def test_pages_make_up_the_history(self, storage: SessionStorage) -> None:
        """Paging through a random history in either direction, now or at any revision, gives all of it once."""
        history = History(storage, seed=11)
        await history.run(40)
        for revision in (None, 10, 25):
            expected = list(history.snapshots[-1 if revision is None else revision - 1].messages)
            for count in (1, 3, 7):
                assert await self._paged_back(storage, count, revision) == expected
                first = await self._first(storage, revision)
                if first:
                    assert first + await self._paged_on(storage, count, revision, first) == expected

    async def _paged_back(self, storage: SessionStorage, count: int, revision: int | None) -> list[object]:
        pages: list[object] = []
        before: str | None = None
        while True:
            window = await window_of(storage, count, before=before, at_revision=revision)
            pages[:0] = window.messages
            if not window.has_earlier:
                return pages
            before = window.messages[0].id

    async def _first(self, storage: SessionStorage, revision: int | None) -> list[object]:
        window = await window_of(storage, 1_000, at_revision=revision)
        return list(window.messages[:1])

    async def _paged_on(
        self, storage: SessionStorage, count: int, revision: int | None, first: Sequence[object]
    ) -> list[object]:
        pages: list[object] = []
        (message,) = first
        after: str = message.id  # type: ignore[attr-defined]
        while True:
            window = await window_of(storage, count, after=after, at_revision=revision)
            pages.extend(window.messages)
            if not window.has_later:
                return pages
            after = window.messages[-1].id

    # --- without knowing the session

    async def test_a_message_is_found_without_its_session(self, storage: SessionStorage) -> None:
        """A living message of a living session is found by its id, as it reads now."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        await storage.commit(creation("t", user("d")))
        changed = edited(user("b"), "B")
        await storage.commit(change(await snapshot_of(storage), removals=("c",), edits=(to_stored(changed),)))
        assert await storage.find_message("default", "a") == ("s", user("a"))
        assert await storage.find_message("default", "b") == ("s", changed)
        assert await storage.find_message("default", "c") is None
        assert await storage.find_message("default", "never") is None
        assert await storage.find_message("default", "d") == ("t", user("d"))
        await storage.delete_tree(key_of("t"), DeleteQuery(at=START))
        assert await storage.find_message("default", "d") is None

    async def test_of_several_sessions_the_first_has_the_message(self, storage: SessionStorage) -> None:
        """A fork has the messages of its original: they are found there, as long as it has them."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(creation("fork", history_from=HistorySource("s", 1, None)))
        assert await storage.find_message("default", "b") == ("s", user("b"))
        await storage.commit(change(await snapshot_of(storage), removals=("b",)))
        assert await storage.find_message("default", "b") == ("fork", user("b"))

    async def test_a_message_id_that_cannot_be(self, storage: SessionStorage) -> None:
        """What can't be the id of a message is refused, not looked for."""
        for message_id in ("", "\ud800", "a\0", "x" * 513):
            with pytest.raises(InvalidMessageError):
                await storage.find_message("default", message_id)
