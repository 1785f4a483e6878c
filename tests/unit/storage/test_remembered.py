"""What the reference engine remembers of calls is bounded by time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.storage.memory.remembered import Remembered


def test_what_is_a_day_old_is_forgotten_when_something_is_added() -> None:
    """Until then everything is known; afterwards only what is younger (G4, G13)."""
    remembered: Remembered[str, int] = Remembered()
    remembered.add("a", 1, EPOCH)
    remembered.add("b", 2, EPOCH + timedelta(hours=24))
    assert (remembered.get("a"), len(remembered)) == (1, 2)
    remembered.add("c", 3, EPOCH + timedelta(hours=25))
    assert (remembered.get("a"), remembered.get("b"), len(remembered)) == (None, 2, 2)


@pytest.mark.parametrize("hours", [0, 1])
def test_the_first_outcome_stays(hours: int) -> None:
    """Whoever asks again gets the outcome of then."""
    remembered: Remembered[str, int] = Remembered()
    remembered.add("a", 1, EPOCH)
    remembered.add("a", 2, EPOCH + timedelta(hours=hours))
    assert remembered.get("a") == 1


def test_what_a_clock_that_was_ahead_has_dated_keeps_nothing() -> None:
    """An entry of next year is forgotten, too, or everything behind it would stay for ever."""
    remembered: Remembered[str, int] = Remembered()
    remembered.add("a", 1, EPOCH + timedelta(days=365))
    remembered.add("b", 2, EPOCH)
    assert "a" not in remembered
