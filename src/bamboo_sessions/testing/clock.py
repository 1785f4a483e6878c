"""A clock that stands still until it is moved: tests move time, they never wait for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from bamboo_sessions.domain.clock import utc

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of a `ManualClock` that nobody set."""


class ManualClock:
    """A `Clock` for tests.

    Args:
        at: The time to stand at; aware.
    """

    def __init__(self, at: datetime = START) -> None:
        self._now = utc(at, what="ManualClock.at")

    def now(self) -> datetime:
        """The time that the clock stands at, aware, in UTC."""
        return self._now

    def move(self, by: timedelta) -> datetime:
        """Move on (or back, as real clocks do now and then); the time afterwards."""
        self._now += by
        return self._now

    def set(self, to: datetime) -> None:
        """Stand at another time; aware."""
        self._now = utc(to, what="ManualClock.set")
