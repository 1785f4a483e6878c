"""Histories in pages, model views and listings."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.errors import InputError, MessageNotFoundError, SessionNotFoundError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.query import Order
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import SECOND, call, result, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, saved
from bamboo_sessions.testing.faults import FaultyStorage

TURNS = (
    user("q1"),
    call("c1", "1", "2"),
    result("r1", "1"),
    result("r2", "2"),
    user("q2"),
    call("c2", "3"),
    result("r3", "3"),
    user("q3"),
)


class PagesConformance(RepositoryCase):
    """Reading a part never reads the rest, and never cuts a tool pair."""

    async def test_a_page(self, sessions: SessionRepository) -> None:
        """The newest messages come first, with what lies on either side, the count and the revision."""
        await saved(sessions, *users(*"abcdef"))
        page = await sessions.history("s", limit=2)
        assert [m.id for m in page.messages] == ["e", "f"]
        assert (page.has_earlier, page.has_later, page.message_count, page.revision) == (True, False, 6, 1)
        page = await sessions.history("s", before="e", limit=2)
        assert [m.id for m in page.messages] == ["c", "d"]
        assert (page.has_earlier, page.has_later) == (True, True)
        page = await sessions.history("s", after="d", limit=9)
        assert [m.id for m in page.messages] == ["e", "f"]
        assert (page.has_earlier, page.has_later) == (True, False)
        page = await sessions.history("s", after="d", limit=2)
        assert [m.id for m in page.messages] == ["e", "f"]
        assert (page.has_earlier, page.has_later) == (True, False)

    async def test_a_copy_shows_its_model_view(self, sessions: SessionRepository) -> None:
        """At any limit it is that of the repository, and unsaved messages are in it."""
        session = await saved(sessions, *TURNS)
        for limit in (None, *range(1, 10)):
            assert session.model_view(limit=limit) == await sessions.model_view("s", limit=limit)
        session.add_message(user("new"))
        assert [message.id for message in session.model_view(limit=1)] == ["new"]
        for limit in (0, -1, True, "1"):
            with pytest.raises(InputError, match="limit"):
                session.model_view(limit=limit)  # type: ignore[arg-type]

    async def test_L54_tool_pairs_are_whole(self, sessions: SessionRepository) -> None:
        """A page of any size, in either direction, neither begins nor ends inside a tool pair."""
        await saved(sessions, *TURNS)
        everything = [m.id for m in TURNS]
        for limit in range(1, 9):
            page = await sessions.history("s", limit=limit)
            pages = [m.id for m in page.messages]
            while page.has_earlier:
                page = await sessions.history("s", before=page.messages[0].id, limit=limit)
                assert page.messages[0].role != "tool"
                pages = [m.id for m in page.messages] + pages
            assert pages == everything
            pages = ["q1"]
            page = await sessions.history("s", after="q1", limit=limit)
            while True:
                pages += [m.id for m in page.messages]
                if not page.has_later:
                    break
                assert everything[everything.index(pages[-1]) + 1][0] != "r"
                page = await sessions.history("s", after=pages[-1], limit=limit)
            assert pages == everything

    async def test_a_result_without_a_call_is_paged(self, sessions: SessionRepository) -> None:
        """A history that begins with a result without a call is shown as a whole where it fits on a page."""
        await saved(sessions, result("orphan", "9"), *TURNS)
        page = await sessions.history("s")
        assert [m.id for m in page.messages] == ["orphan", *(m.id for m in TURNS)]
        assert (page.has_earlier, page.has_later) == (False, False)

    async def test_anchors(self, sessions: SessionRepository) -> None:
        """A removed anchor pages from its place, an unknown one is an error."""
        await saved(sessions, *users(*"abcd"))
        session = await sessions.get("s")
        del session.messages[1]
        await sessions.save(session)
        assert [m.id for m in (await sessions.history("s", after="b")).messages] == ["c", "d"]
        with pytest.raises(MessageNotFoundError):
            await sessions.history("s", after="unknown")

    async def test_at_a_revision(self, sessions: SessionRepository) -> None:
        """Any revision of this life can be read; others are a mistake."""
        for number in range(4):
            await sessions.append("s", user(str(number)), create=True)
        for revision in range(1, 5):
            page = await sessions.history("s", at_revision=revision)
            assert len(page.messages) == page.message_count == page.revision == revision
        for wrong in (0, 5, -1):
            with pytest.raises(InputError):
                await sessions.history("s", at_revision=wrong)

    async def test_limits(self, sessions: SessionRepository) -> None:
        """L53: a page has 1 to 1000 messages; there must be a session."""
        await saved(sessions, user("a"))
        for wrong in (0, -1, 1_001):
            with pytest.raises(InputError):
                await sessions.history("s", limit=wrong)
        with pytest.raises(SessionNotFoundError):
            await sessions.history("unknown")

    async def test_a_model_view(self, sessions: SessionRepository) -> None:
        """L93: no events, no calls without results, no results without calls; a limit cuts at tool pairs."""
        tick = Message(role="event", content="tick", id="tick")
        await saved(sessions, *TURNS[:2], tick, *TURNS[2:], result("orphan", "9"), call("open", "7"))
        assert [m.id for m in await sessions.model_view("s")] == [m.id for m in TURNS]
        newest = await sessions.model_view("s", limit=3)
        assert newest[0].role != "tool"
        with pytest.raises(SessionNotFoundError):
            await sessions.model_view("unknown")

    # --- listings

    async def test_listing(self, sessions: SessionRepository, faults: FaultyStorage, clock: ManualClock) -> None:
        """L92: pages of heads in order, by cursor, without reading a message."""
        for number in range(7):
            await saved(sessions, user("a"), id=str(number))
            clock.move(SECOND)
        faults.calls.clear()
        page = await sessions.list_sessions(limit=3, total=True)
        assert [head.id for head in page.sessions] == ["6", "5", "4"]
        assert (page.total, page.sessions[0].message_count) == (7, 1)
        page = await sessions.list_sessions(limit=3, cursor=page.next_cursor)
        assert ([head.id for head in page.sessions], page.total) == (["3", "2", "1"], None)
        page = await sessions.list_sessions(limit=3, cursor=page.next_cursor)
        assert ([head.id for head in page.sessions], page.next_cursor) == (["0"], None)
        assert set(faults.calls) == {"list_heads"}
        assert [head.id async for head in sessions.iter_sessions(page_size=2)] == list("6543210")

    @pytest.mark.parametrize("order", ["-updated_at", "updated_at", "-created_at", "created_at"])
    async def test_a_walk_misses_nothing_that_is_saved_meanwhile(
        self, order: Order, sessions: SessionRepository, clock: ManualClock
    ) -> None:
        """Whatever is saved while somebody walks, each session comes, and comes once; also one that is new."""
        for number in range(7):
            await saved(sessions, user("a"), id=str(number))
            clock.move(SECOND)
        came: list[str] = []
        async for head in sessions.iter_sessions(page_size=2, order=order):
            came.append(head.id)
            if len(came) < 9:
                await sessions.append(str(len(came) % 7), user(f"later {len(came)}"))
                clock.move(SECOND)
        assert sorted(came) == list("0123456")

    async def test_listing_by_filter(self, sessions: SessionRepository) -> None:
        """Filters reach the storage."""
        for id_ in "abc":
            await saved(sessions, user("m"), id=id_)
        await sessions.pin("b")
        await sessions.archive("c")
        assert [head.id for head in (await sessions.list_sessions(pinned=True)).sessions] == ["b"]
        assert [head.id async for head in sessions.iter_sessions(archived=False, order="created_at")] == ["a", "b"]

    async def test_wrong_listings(self, sessions: SessionRepository) -> None:
        """A wrong limit, order or cursor is a mistake, and so is a cursor of another order."""
        for id_ in "abc":
            await saved(sessions, id=id_)
        cursor = (await sessions.list_sessions(limit=1)).next_cursor
        for wrong in ({"limit": 0}, {"limit": 1_001}, {"order": "title"}, {"cursor": "nonsense"}, {"cursor": ""}):
            with pytest.raises(InputError):
                await sessions.list_sessions(**wrong)
        with pytest.raises(InputError):
            await sessions.list_sessions(cursor=cursor, order="created_at")
