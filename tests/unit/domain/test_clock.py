from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, from_micros, now, to_micros, utc
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.testing import strategies


@given(strategies.times())
def test_L88_times_are_stored_exactly(moment: datetime) -> None:
    """Every microsecond survives; no float is involved (L88)."""
    assert from_micros(to_micros(moment)) == moment


def test_the_present_is_aware_and_in_utc() -> None:
    """Both ways to ask give an aware time, and it doesn't go back."""
    before, after = now(), SYSTEM_CLOCK.now()
    assert before.tzinfo is after.tzinfo is UTC
    assert before <= after


def test_times_of_other_zones_become_utc() -> None:
    """The moment stays the same."""
    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert utc(moment, what="It") == moment
    assert utc(moment, what="It").tzinfo is UTC


@pytest.mark.parametrize("bad", [datetime(2026, 1, 1), True, None, "2026-01-01"])  # noqa: DTZ001 - naive on purpose
def test_times_without_zone_are_refused(bad: datetime) -> None:
    """The error names what was given."""
    with pytest.raises(InputError, match=r"^It must be"):
        utc(bad, what="It")


def test_times_are_counted_from_1970() -> None:
    """Stored times are microseconds since the beginning of 1970 in UTC, in every release."""
    assert to_micros(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert from_micros(1) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("hours", [-12, 0, 14])
def test_times_at_the_edge_are_refused(year: int, hours: int) -> None:
    """What no other time zone could show, or what has no microsecond after it, is named with the range."""
    with pytest.raises(InputError, match="It must be in the years 2 to 9998"):
        utc(datetime(year, 6, 1, tzinfo=timezone(timedelta(hours=hours))), what="It")


def test_times_of_other_classes_become_plain() -> None:
    """A subclass and a fold leave no trace: equal times are the same value."""

    class Moment(datetime):
        pass

    at = utc(Moment(2026, 1, 1, tzinfo=UTC, fold=1), what="It")
    assert (type(at), at.fold, at) == (datetime, 0, datetime(2026, 1, 1, tzinfo=UTC))
