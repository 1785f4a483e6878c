"""The change feed: what was committed, from a position on, without a gap (G11).

A subscriber pulls: each page is read from storage when the consumer asks for more, so nothing is queued for anybody,
and a slow consumer costs nothing. Whoever has read all waits for the signal that there may be more, which is given
after a commit can be read (L55); waiting begins before reading, so nothing falls in between (L56).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.errors import PositionExpiredError, SubscriberTooSlowError
from bamboo_sessions.domain.limits import FEED_PAGE_ROWS_MAX
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.storage.query import FeedPage


def changes(self: Handle, *, after: str | None = None, live: bool = True) -> AsyncGenerator[SessionChange, None]:
    """The commits of this namespace behind a position, in commit order, each once (G11); then those to come.

    Each change can be read before it is told: a `load` afterwards gives its revision or a newer one. Keep
    `change.position` together with what you made of the change, and resume from there. Any number of
    subscribers; bounded memory for each. End early with `contextlib.aclosing`, or by cancelling.

    Args:
        after: A position of a change, or from `feed_position`. `None`: from the oldest commit that is kept.
        live: Go on waiting for new commits; `False`: end when all there are were told.

    Raises:
        InputError: `after` is no position; raised at once, all others by the iteration.
        PositionExpiredError: There would be a gap: `after` is older than what is kept, of another epoch, or of a
            commit that was lost when the store was restored.
        SubscriberTooSlowError: What wasn't read yet was pruned meanwhile.
        StorageError: Storage failed, or the repository was closed. Resuming is safe.
    """
    if after is not None:
        self._bound.tiers.storage.check_position(after)
    return _changes(self._bound, after, live=live)


async def _changes(bound: Bound, after: str | None, *, live: bool) -> AsyncGenerator[SessionChange, None]:
    position, was_following = after, False
    while True:
        with bound.store.signal.feed(bound.namespace) as watch:
            page = await _page(bound, position, was_following=was_following)
            position, was_following = page.through, True
            is_over = page.is_end and not page.changes
            if is_over and (live or page.look_again_in is not None):
                await watch.wait(timeout_seconds=page.look_again_in)
        for change in page.changes:
            yield change
        if page.is_end and page.look_again_in is None and not live:
            return
        await asyncio.sleep(0)  # reading may have suspended nowhere; others run between two pages


async def _page(bound: Bound, position: str | None, *, was_following: bool) -> FeedPage:
    try:
        return await bound.storage.read_changes(bound.namespace, position, FEED_PAGE_ROWS_MAX)
    except PositionExpiredError as exc:
        if was_following and exc.reason == "pruned":
            raise SubscriberTooSlowError(exc.position, oldest=exc.oldest) from exc
        raise


async def feed_position(self: Handle) -> str:
    """The position behind the newest commit: take it, read the state, then follow `changes(after=…)`."""
    return await self._bound.storage.feed_position()
