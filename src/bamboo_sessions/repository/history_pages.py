"""Pages of a history, cut at the borders of call groups: the reading around the pure rules of `domain.window`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from bamboo_sessions.domain.errors import InputError, MessageNotFoundError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import HistoryPage
from bamboo_sessions.domain.snapshot import Draft, Tombstone
from bamboo_sessions.domain.window import end_of_window, first_of_window
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Window, WindowQuery


class PageQuery(NamedTuple):
    """Which page: behind `after`, or in front of `before`, or the newest; at most `limit` messages; at a revision."""

    after: str | None
    before: str | None
    limit: int
    at_revision: int | None


ReadWindow = Callable[[SessionKey, WindowQuery], Awaitable[Window | Tombstone | None]]


async def read_stored_page(storage: SessionStorage, key: SessionKey, page: PageQuery) -> HistoryPage:
    """A page of what is committed."""
    if page.at_revision is not None:
        await _check_revision(storage, key, page.at_revision)
    return await read_page(storage.read_window, key, page)


async def read_page(read: ReadWindow, key: SessionKey, page: PageQuery) -> HistoryPage:
    """One page; reads a little more than its limit, and more still while a call group is cut."""
    count = page.limit + 1
    while True:
        query = WindowQuery(count, after=page.after, before=page.before, at_revision=page.at_revision)
        window = await read(key, query)
        if not isinstance(window, Window):
            raise SessionNotFoundError(key.session_id)
        if page.after is not None:
            cut = _cut_end(window, page.limit, is_full=len(window.messages) == count)
        else:
            cut = _cut_front(window, page.limit)
        if cut is not None:
            return cut
        count *= 2


def window_reader(draft: Draft) -> ReadWindow:
    """Reads windows of a state that is in memory."""

    async def read(key: SessionKey, query: WindowQuery) -> Window:
        messages = draft.messages
        first = _place(key, messages, query.after) + 1 if query.after is not None else 0
        last = _place(key, messages, query.before) if query.before is not None else len(messages)
        if query.after is not None:
            last = min(last, first + query.count)
        else:
            first = max(first, last - query.count)
        return Window(
            messages=tuple(messages[first:last]),
            has_earlier=first > 0,
            has_later=last < len(messages),
            message_count=len(messages),
            revision=draft.head.revision,
        )

    return read


def _place(key: SessionKey, messages: FrozenMessages, message_id: str) -> int:
    index = messages.index_of(message_id)
    if index is None:
        raise MessageNotFoundError(key.session_id, message_id)
    return index


async def _check_revision(storage: SessionStorage, key: SessionKey, at_revision: int) -> None:
    head = await storage.read_head(key)
    if not isinstance(head, SessionHead):
        raise SessionNotFoundError(key.session_id)
    if not head.incarnation <= at_revision <= head.revision:
        message = (
            f"Session {key.session_id!r} has revisions {head.incarnation} to {head.revision} in this life, "
            f"not {at_revision!r}."
        )
        raise InputError(message, hint="Leave at_revision out to read the newest.")


def _cut_front(window: Window, limit: int) -> HistoryPage | None:
    """The newest messages of the window; `None` if more have to be read to find where a call group begins."""
    messages = window.messages
    if not window.has_earlier and len(messages) <= limit:
        return _page(window, messages, earlier=False, later=window.has_later)
    start = first_of_window(messages, limit, has_earlier=window.has_earlier)
    if start is None:
        return None
    return _page(window, messages[start:], earlier=window.has_earlier or start > 0, later=window.has_later)


def _cut_end(window: Window, limit: int, *, is_full: bool) -> HistoryPage | None:
    """The oldest messages of the window; `None` if more have to be read to find where a call group ends.

    A window that isn't full ends where the page was to end, so that there is nothing more to read.
    """
    messages = window.messages
    end = end_of_window(messages, limit, has_later=window.has_later and is_full)
    if end is None:
        return None
    later = window.has_later or end < len(messages)
    return _page(window, messages[:end], earlier=window.has_earlier, later=later)


def _page(window: Window, messages: Sequence[Message], *, earlier: bool, later: bool) -> HistoryPage:
    return HistoryPage(
        messages=tuple(messages),
        has_earlier=earlier,
        has_later=later,
        message_count=window.message_count,
        revision=window.revision,
    )
