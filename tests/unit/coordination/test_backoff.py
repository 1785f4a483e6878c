"""Waits between attempts."""

from __future__ import annotations

import pytest

from bamboo_sessions.coordination.backoff import Backoff


def _longest(chance: float) -> list[float]:
    backoff = Backoff(first_seconds=1, longest_seconds=10, chance=lambda: chance)
    return [backoff.seconds(attempt) for attempt in range(6)]


def test_waits_double_up_to_the_longest() -> None:
    """Each wait is at most twice the one before, and never above the longest."""
    assert _longest(chance=1.0) == [1, 2, 4, 8, 10, 10]


def test_chance_takes_off_half_at_most() -> None:
    """Those who collided wait differently long: between half of the longest wait and all of it."""
    assert _longest(chance=0.0) == [0.5, 1, 2, 4, 5, 5]


def test_many_attempts_stay_at_the_longest() -> None:
    """A count of attempts that never ends overflows nothing."""
    backoff = Backoff(first_seconds=1, longest_seconds=10, chance=lambda: 1.0)
    assert backoff.seconds(1_000_000) == 10


@pytest.mark.anyio
async def test_it_waits_as_long_as_it_says() -> None:
    """A pause hands its seconds to the clock that it was given."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    backoff = Backoff(first_seconds=1, longest_seconds=10, chance=lambda: 1.0, sleep=sleep)
    await backoff.pause(0)
    await backoff.pause(2)
    assert waited == [1, 4]
