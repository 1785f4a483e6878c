"""Listings: filters before paging, stable pages, every order, totals."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ORDERS, DeleteQuery, ListQuery, Order
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    SECOND,
    appending,
    change,
    creation,
    head_of,
    key_of,
    snapshot_of,
    user,
)

QUESTION = PendingQuestion("call", "ask", "Go?", id="q", asked_at=START)


async def listed(storage: SessionStorage, **query: Any) -> list[str]:  # noqa: ANN401 - fields of ListQuery
    """The ids of all pages of a listing."""
    ids: list[str] = []
    asked = ListQuery("default", **query)
    while True:
        page = await storage.list_heads(asked)
        assert len(page.heads) <= asked.limit
        ids.extend(head.id for head in page.heads)
        if page.next_cursor is None:
            return ids
        assert len(page.heads) == asked.limit
        asked = msgspec.structs.replace(asked, cursor=page.next_cursor)


async def fill(storage: SessionStorage, *heads: SessionHead) -> None:
    """Create a session for each head, with its own time."""
    for head in heads:
        await storage.commit(creation(head.id, head=head, updated_at=head.updated_at))


class ListingConformance(Conformance):
    """A listing pages through the living sessions that match, without reading their messages."""

    async def test_an_empty_store_lists_nothing(self, storage: SessionStorage) -> None:
        """A listing of nothing is an empty last page with a total of nought."""
        page = await storage.list_heads(ListQuery("default", total=True))
        assert (page.heads, page.next_cursor, page.total) == ((), None, 0)

    async def test_rows_are_heads(self, storage: SessionStorage) -> None:
        """A row is the session's head, as `read_head` gives it, after every kind of commit."""
        await storage.commit(
            creation("s", user("a"), head=head_of(title="T", metadata={"k": 1}, questions=(QUESTION,)))
        )
        await storage.commit(appending("s", user("b")))
        page = await storage.list_heads(ListQuery("default"))
        assert page.heads == ((await snapshot_of(storage)).head,)
        assert page.heads[0].message_count == 2

    async def test_every_filter(self, storage: SessionStorage) -> None:
        """Each filter keeps what it names, `None` means any, and filters add up."""
        await fill(
            storage,
            head_of("plain"),
            head_of("owned", owner="ann"),
            head_of("team", owner="ann/team"),
            head_of("pinned", pinned=True, owner="bob"),
            head_of("archived", archived=True, pinned=True),
            head_of("asking", questions=(QUESTION,), run_state="waiting"),
            head_of("running", run_state={"status": "running", "since": 1}),
            head_of("child", kind="child", parent_session_id="plain", root_session_id="plain"),
            head_of("old", updated_at=START - SECOND),
        )
        everything = {"plain", "owned", "team", "pinned", "archived", "asking", "running", "child", "old"}
        expected: list[tuple[dict[str, Any], set[str]]] = [
            ({}, everything),
            ({"owner": "ann"}, {"owned"}),
            ({"owner": "an"}, set()),
            ({"owner_prefix": "ann"}, {"owned", "team"}),
            ({"owner_prefix": "ann/"}, {"team"}),
            ({"kind": "child"}, {"child"}),
            ({"kind": "root"}, everything - {"child"}),
            ({"pinned": True}, {"pinned", "archived"}),
            ({"pinned": False}, everything - {"pinned", "archived"}),
            ({"archived": True}, {"archived"}),
            ({"pinned": True, "archived": False}, {"pinned"}),
            ({"parent": "plain"}, {"child"}),
            ({"root": "plain"}, {"plain", "child"}),
            ({"has_question": True}, {"asking"}),
            ({"has_question": False}, everything - {"asking"}),
            ({"run_status": "running"}, {"running"}),
            ({"run_status": "waiting", "has_question": True}, {"asking"}),
            ({"updated_before": START}, {"old"}),
            ({"updated_before": START + SECOND}, everything),
        ]
        for filters, ids in expected:
            assert set(await listed(storage, **filters)) == ids, filters
            page = await storage.list_heads(ListQuery("default", limit=1, total=True, **filters))
            assert page.total == len(ids), filters

    async def test_prefixes_are_taken_literally(self, storage: SessionStorage) -> None:
        """No character of an owner's prefix is a wildcard, and case counts."""
        owners = ["a%", "a_", "ab", "A%x", "a%b", "a\\", "é", "éa", "\U0010ffff", "\U0010ffffz"]
        await fill(storage, *(head_of(str(number), owner=owner) for number, owner in enumerate(owners)))
        for prefix in ["a%", "a_", "a", "A", "a\\", "é", "\U0010ffff", "zz"]:
            expected = {str(number) for number, owner in enumerate(owners) if owner.startswith(prefix)}
            assert set(await listed(storage, owner_prefix=prefix)) == expected, prefix

    async def test_filters_follow_changes(self, storage: SessionStorage) -> None:
        """A session leaves and joins a filtered listing with the commit that changes it."""
        await storage.commit(creation(head=head_of(questions=(QUESTION,))))
        state = await snapshot_of(storage)
        await storage.commit(change(state, head=head_of(pinned=True, run_state={"status": "done"})))
        assert await listed(storage, has_question=True) == []
        assert await listed(storage, pinned=True, run_status="done", has_question=False) == ["s"]

    @pytest.mark.parametrize("order", ORDERS)
    async def test_orders(self, storage: SessionStorage, order: Order) -> None:
        """Each order sorts by its time, up or down."""
        for number in (2, 0, 3, 1):
            head = head_of(
                str(number), created_at=START + number * SECOND, updated_at=START + (number * 3 % 4 + 10) * SECOND
            )
            await fill(storage, head)
        by_creation = ["0", "1", "2", "3"]
        by_change = ["0", "3", "2", "1"]
        expected = by_creation if order.endswith("created_at") else by_change
        assert await listed(storage, order=order) == (expected[::-1] if order.startswith("-") else expected)

    @pytest.mark.parametrize("order", ORDERS)
    async def test_equal_times_are_paged_by_id(self, storage: SessionStorage, order: Order) -> None:
        """Sessions of the same microsecond come once each, on pages of any size, in one stable order."""
        await fill(storage, *(head_of(f"{number:02}") for number in (3, 1, 4, 15, 9, 2, 6, 5, 35, 8)))
        everything = await listed(storage, order=order)
        assert sorted(everything, reverse=order.startswith("-")) == everything
        assert len(everything) == 10
        for limit in (1, 3, 5, 10, 11):
            assert await listed(storage, order=order, limit=limit) == everything

    @pytest.mark.parametrize("order", ORDERS)
    async def test_ids_are_ordered_by_code_point(self, storage: SessionStorage, order: Order) -> None:
        """Neither case, accents nor bytes of another encoding decide among equal times, on pages of any size."""
        ids = sorted(chr(n) for n in (0x21, 0x41, 0x61, 0xE9, 0xE000, 0xFFFD, 0x10000, 0x1F600))
        await fill(storage, *map(head_of, ids[::2]), *map(head_of, ids[1::2]))
        expected = ids[::-1] if order.startswith("-") else ids
        for limit in (1, 3, 50):
            assert await listed(storage, order=order, limit=limit) == expected

    async def test_the_last_page_says_so(self, storage: SessionStorage) -> None:
        """A page that is full and the last one has no cursor."""
        await fill(storage, head_of("a"), head_of("b"))
        assert (await storage.list_heads(ListQuery("default", limit=2))).next_cursor is None
        assert (await storage.list_heads(ListQuery("default", limit=1))).next_cursor is not None

    async def test_pages_are_stable_under_changes(self, storage: SessionStorage) -> None:
        """L53: while others create, change and delete sessions, those that stay put come exactly once."""
        await fill(storage, *(head_of(f"{number:02}", updated_at=START + number * SECOND) for number in range(20)))
        asked = ListQuery("default", limit=3)
        seen: list[str] = []
        page_number = 0
        while True:
            page = await storage.list_heads(asked)
            seen.extend(head.id for head in page.heads)
            if page.next_cursor is None:
                break
            asked = msgspec.structs.replace(asked, cursor=page.next_cursor)
            await fill(storage, head_of(f"new{page_number}", updated_at=START + (100 + page_number) * SECOND))
            await storage.commit(appending(seen[0], user(f"m{page_number}"), updated_at=START + 200 * SECOND))
            await storage.delete_tree(key_of(seen[-1]), DeleteQuery(at=START))
            page_number += 1
        assert seen == [f"{number:02}" for number in reversed(range(20))]

    async def test_totals_count_all_that_match(self, storage: SessionStorage) -> None:
        """The total counts every match on every page, and only if it is asked for."""
        await fill(storage, *(head_of(str(number), pinned=number < 3) for number in range(8)))
        first = await storage.list_heads(ListQuery("default", limit=2, pinned=True, total=True))
        assert first.total == 3
        second = await storage.list_heads(
            ListQuery("default", limit=2, pinned=True, total=True, cursor=first.next_cursor)
        )
        assert (second.total, len(second.heads)) == (3, 1)
        assert (await storage.list_heads(ListQuery("default"))).total is None

    async def test_deleted_sessions_are_not_listed(self, storage: SessionStorage) -> None:
        """A tombstone is no row, and counts in no total; a re-created session is one again."""
        await fill(storage, head_of("a"), head_of("b"))
        await storage.delete_tree(key_of("a"), DeleteQuery(at=START))
        page = await storage.list_heads(ListQuery("default", total=True))
        assert ([head.id for head in page.heads], page.total) == (["b"], 1)
        await storage.commit(creation("a", reuse_deleted=True))
        assert set(await listed(storage)) == {"a", "b"}
