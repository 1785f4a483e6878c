"""Listing sessions: filters before paging, keyset cursors, and never a message read (L53, L92)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypedDict, Unpack

import msgspec

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_name
from bamboo_sessions.domain.limits import PAGE_DEFAULT
from bamboo_sessions.domain.report import SessionPage
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.reading import shown_head
from bamboo_sessions.storage.query import (
    ORDERS,
    Cursor,
    HeadPage,
    ListQuery,
    Order,
    check_page_limit,
    cursor_behind,
    decode_cursor,
    encode_cursor,
    in_order,
    is_ahead,
    is_behind,
    matches,
)


class SessionFilters(TypedDict, total=False):
    """Which sessions to list; one that is left out, or `None`, means any.

    `owner` is exact, `owner_prefix` how an owner begins; `parent` lists the children of a session, `root` the members
    of a tree; the others are as in `SessionHead`.
    """

    owner: str | None
    owner_prefix: str | None
    kind: str | None
    pinned: bool | None
    archived: bool | None
    parent: str | None
    root: str | None
    has_question: bool | None
    run_status: str | None


async def list_sessions(
    self: Handle,
    *,
    limit: int = PAGE_DEFAULT,
    cursor: str | None = None,
    order: Order = "-updated_at",
    total: bool = False,
    **filters: Unpack[SessionFilters],
) -> SessionPage:
    """A page of sessions without their messages, each as `load` shows it. Filters apply before paging.

    Work of tolerant saves that isn't durable yet counts, also in filters and orders.

    Args:
        limit: Rows at most, 1 to 1000. While work waits, a page may have fewer, and be followed by another.
        cursor: `next_cursor` of the page before.
        order: `-updated_at` (newest first), `updated_at`, `-created_at` or `created_at`.
        total: Count all that match, too; that reads them all.
        filters: See `SessionFilters`.

    Raises:
        InputError: A wrong limit, order or cursor.
        StorageCorruptError: A session of the page can't be read. It is named; leaving it out would be wrong (G8).
    """
    _check_order(order)
    _check_filters(filters)
    query = ListQuery(
        self._bound.namespace,
        limit=check_page_limit(limit),
        cursor=decode_cursor(cursor, order) if cursor is not None else None,
        order=order,
        total=total,
        **filters,
    )
    page = await _shown_page(self._bound, query)
    next_cursor = encode_cursor(page.next_cursor) if page.next_cursor else None
    return SessionPage(sessions=page.heads, next_cursor=next_cursor, total=page.total)


async def iter_sessions(
    self: Handle, *, page_size: int = PAGE_DEFAULT, order: Order = "-updated_at", **filters: Unpack[SessionFilters]
) -> AsyncIterator[SessionHead]:
    """All sessions that match, each once, page by page; holds no lock and no connection between pages (L91).

    Sessions that are saved meanwhile aren't missed, whichever way that moves them: those that moved ahead of the walk
    come at its end. So orders by `updated_at` keep the ids in memory that came already. Takes the filters and orders
    of `list_sessions`; `page_size` is 1 to 1000. Raises `InputError`.
    """
    _check_order(order)
    _check_filters(filters)
    query = ListQuery(self._bound.namespace, limit=check_page_limit(page_size), order=order, **filters)
    if "created" in order:
        async for head in _walk(self._bound, query):
            yield head
        return
    seen: set[str] = set()
    begun: Cursor | None = None
    while True:
        first: SessionHead | None = None
        async with aclosing(_walk(self._bound, query)) as heads:
            async for head in heads:
                if begun is not None and not is_ahead(head, begun):
                    break  # from here on the walk before this one has seen all
                first = first or head
                if head.id not in seen:
                    seen.add(head.id)
                    yield head
        if first is None or order == "updated_at":
            return
        begun = cursor_behind(first, order)


async def _walk(bound: Bound, query: ListQuery) -> AsyncGenerator[SessionHead]:
    """Page by page, as far as there are pages at that time."""
    while True:
        page = await _shown_page(bound, query)
        for head in page.heads:
            yield head
        if page.next_cursor is None:
            return
        query = msgspec.structs.replace(query, cursor=page.next_cursor)


async def _shown_page(bound: Bound, query: ListQuery) -> HeadPage:
    """A page of what `load` shows: of sessions whose work waits, other rows than storage has, at other places."""
    page = await bound.storage.list_heads(query)
    waiting = bound.store.waiting.heads(query.namespace)
    if not waiting:
        return page
    theirs = [head for head, _ in waiting if matches(head, query) and _is_within(head, query.cursor, page.next_cursor)]
    known = {head.id for head, _ in waiting}
    heads = in_order((*(head for head in page.heads if head.id not in known), *theirs), query.order)
    next_cursor = page.next_cursor
    if len(heads) > query.limit:
        heads = heads[: query.limit]
        next_cursor = cursor_behind(heads[-1], query.order)
    shown = [await shown_head(bound, head) for head in heads]
    total = page.total
    if total is not None:
        total += sum(matches(head, query) for head, _ in waiting)
        total -= sum(matches(head, query) for _, head in waiting if head is not None)
    return HeadPage(tuple(head for head in shown if head is not None), next_cursor, total)


def _is_within(head: SessionHead, after: Cursor | None, through: Cursor | None) -> bool:
    """Whether `head` belongs to the page between these two cursors; `None`: where the listing begins, or ends."""
    return (after is None or is_behind(head, after)) and (through is None or not is_behind(head, through))


def _check_filters(filters: SessionFilters) -> None:
    for name, value in filters.items():
        if isinstance(value, str) and name != "run_status":
            check_name(value, what=name.replace("_", " "))


def _check_order(order: str) -> None:
    if order not in ORDERS:
        message = f"{order!r} is no order of a listing."
        raise InputError(message, hint="Use one of: " + ", ".join(ORDERS) + ".")
