"""What other processes changed: looked for on the event loop's timer, once for all who listen, while somebody does.

`PRAGMA data_version` tells in microseconds that anybody committed anything. Then the numbers at the ends of two logs
tell what it was: `commits` has a row for each commit, and a row of `leases` gets a new number with each change. So
whoever waits for one session isn't woken by another's commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeVar

import apsw

from bamboo_sessions.domain.errors import BambooSessionsError, StorageUnavailableError
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import Hear, News
from bamboo_sessions.storage.sqlite.transactions.connection import DATA_VERSION, reading, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import NEWS_POLL_SECONDS, NEWS_ROWS_MAX

T = TypeVar("T")

_ENDS: Final = """
    SELECT (SELECT ifnull(max(position), 0) FROM commits), value FROM meta WHERE name = 'lease_change'"""
_CHANGED: Final = """
    SELECT DISTINCT namespace, session_id FROM commits JOIN sessions ON sessions.key = commits.session
    WHERE position > ? LIMIT ?"""
_LEASED: Final = """
    SELECT namespace, session_id FROM leases JOIN sessions ON sessions.key = leases.session WHERE change > ? LIMIT ?"""


class Ends(NamedTuple):
    """How far somebody has looked: the connection's data version, and the last numbers of the two logs."""

    version: int = -1
    change: int = 0
    lease: int = 0


def version_of(connection: apsw.Connection) -> int:
    """A number that differs once anybody but this connection has committed anything."""
    version: int = value_of(connection, DATA_VERSION)
    return version


def ends(connection: apsw.Connection) -> Ends:
    """The ends as they are now."""
    version = version_of(connection)  # before the rest: what is committed in between is looked for once more
    return Ends(version, *rows_of(connection, _ENDS)[0])


def since(connection: apsw.Connection, seen: Ends) -> tuple[Ends, list[News]]:
    """What was changed since, and the ends now."""
    if version_of(connection) == seen.version:
        return seen, []
    with reading(connection):
        now = ends(connection)
        changed = rows_of(connection, _CHANGED, (seen.change, NEWS_ROWS_MAX)) if now.change != seen.change else []
        leased = rows_of(connection, _LEASED, (seen.lease, NEWS_ROWS_MAX)) if now.lease != seen.lease else []
    if max(len(changed), len(leased)) >= NEWS_ROWS_MAX:
        return now, [News(None, has_commit=True)]
    news = [News(SessionKey(*key), has_commit=True) for key in changed]
    return now, news + [News(SessionKey(*key), has_commit=False) for key in leased]


class ReadOnLoop(Protocol):
    """Reads on the event loop's thread; raises `StorageUnavailableError` if it would have to wait."""

    def __call__(self, work: Callable[[apsw.Connection], T]) -> T: ...


class NewsDesk:
    """Tells those who listen; looks for what others do while there are any. Belongs to the event loop that runs."""

    def __init__(self) -> None:
        self._listeners: dict[object, Hear] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seen = Ends()

    def add(self, hear: Hear, read_on_loop: ReadOnLoop) -> Callable[[], None]:
        """Tell `hear` from now on, until the function that is given back is called; looks by `read_on_loop`."""
        listener = object()
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:  # or the timer died with the loop that it was set in
            self._rest()
            self._loop = loop
            self._seen = _ends_or_none(read_on_loop)
            self._set_timer(loop, read_on_loop)
        self._listeners[listener] = hear

        def stop() -> None:
            self._listeners.pop(listener, None)
            if not self._listeners:
                self._rest()

        return stop

    def tell(self, news: News) -> None:
        """Tell all who listen."""
        for hear in list(self._listeners.values()):
            hear(news)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, read_on_loop: ReadOnLoop) -> None:
        self._timer = loop.call_later(NEWS_POLL_SECONDS, self._look, loop, read_on_loop)

    def _look(self, loop: asyncio.AbstractEventLoop, read_on_loop: ReadOnLoop) -> None:
        self._set_timer(loop, read_on_loop)
        try:
            self._seen, found = read_on_loop(lambda connection: since(connection, self._seen))
        except StorageUnavailableError:  # another process has it just now
            return
        except BambooSessionsError:  # those who read will be told what is wrong
            found = [News(None, has_commit=True)]
        for news in found:
            self.tell(news)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ends_or_none(read_on_loop: ReadOnLoop) -> Ends:
    """As far as nobody needs to be told; if that can't be told now, the first look tells too much."""
    try:
        return read_on_loop(ends)
    except BambooSessionsError:
        return Ends()
