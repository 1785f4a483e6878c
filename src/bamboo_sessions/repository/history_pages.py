"""Pages of a history, cut at the borders of call groups: the reading around the pure rules of `domain.window`."""

from __future__ import annotations

from collections.abc import Sequence

from bamboo_sessions.domain.errors import InputError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import HistoryPage
from bamboo_sessions.domain.window import end_of_window, first_of_window
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Window, WindowQuery


async def read_page(
    storage: SessionStorage,
    key: SessionKey,
    *,
    after: str | None,
    before: str | None,
    limit: int,
    at_revision: int | None,
) -> HistoryPage:
    """One page; reads a little more than `limit`, and more still while a call group is cut."""
    if at_revision is not None:
        await _check_revision(storage, key, at_revision)
    count = limit + 1
    while True:
        query = WindowQuery(count, after=after, before=before, at_revision=at_revision)
        window = await storage.read_window(key, query)
        if not isinstance(window, Window):
            raise SessionNotFoundError(key.session_id)
        page = _cut_end(window, limit) if after is not None else _cut_front(window, limit)
        if page is not None:
            return page
        count *= 2


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


def _cut_end(window: Window, limit: int) -> HistoryPage | None:
    """The oldest messages of the window; `None` if more have to be read to find where a call group ends."""
    messages = window.messages
    end = end_of_window(messages, limit, has_later=window.has_later)
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
