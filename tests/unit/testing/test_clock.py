"""A clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bamboo_sessions import InputError
from bamboo_sessions.testing import ManualClock


def test_it_stands_still() -> None:
    """Nobody but the test moves it."""
    clock = ManualClock()
    assert clock.now() == clock.now()
    assert clock.now().tzinfo is UTC


def test_it_is_moved_and_set() -> None:
    """It goes on, and back, and anywhere, always in UTC."""
    clock = ManualClock(datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert clock.move(timedelta(hours=1)) == clock.now() == datetime(2026, 5, 1, 11, tzinfo=UTC)
    clock.move(-timedelta(hours=2))
    assert clock.now() == datetime(2026, 5, 1, 9, tzinfo=UTC)
    clock.set(datetime(2027, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2027, 1, 1, tzinfo=UTC)


def test_times_have_a_zone() -> None:
    """A time without a zone is a mistake."""
    with pytest.raises(InputError):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
