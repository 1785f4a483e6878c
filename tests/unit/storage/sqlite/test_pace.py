"""How quick the disk has been of late: when the event loop may wait for it."""

from __future__ import annotations

import pytest

from bamboo_sessions.storage.sqlite.transactions.pace import Pace
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOOP_STALL_SECONDS,
    LOOP_STALLS_APART,
    LOOP_SYNC_SECONDS_MAX,
)

QUICK = LOOP_SYNC_SECONDS_MAX / 2


def test_nobody_knows_at_first() -> None:
    """Before the first sync the event loop waits for none."""
    assert not Pace().is_quick


def test_the_average_decides() -> None:
    """Syncs that are slow one after another send commits away, one that is a little slow doesn't."""
    pace = Pace()
    pace.learn(QUICK)
    assert pace.is_quick
    pace.learn(3 * QUICK)
    assert pace.is_quick
    for _ in range(20):
        pace.learn(3 * QUICK)
    assert not pace.is_quick
    for _ in range(20):
        pace.learn(QUICK)
    assert pace.is_quick


@pytest.mark.parametrize("seconds", [LOOP_STALL_SECONDS * 1.01, 0.3, 5.0])
def test_a_stall_is_felt_once(seconds: float) -> None:
    """However quick the disk is in between, the loop waits for no second stall within a multiple of the first."""
    clock = [1000.0]
    pace = Pace(now=lambda: clock[0])
    pace.learn(QUICK)
    for _ in range(3):
        pace.learn(seconds)
        for _ in range(200):
            pace.learn(QUICK)
        clock[0] += seconds * LOOP_STALLS_APART * 0.99
        assert not pace.is_quick
    clock[0] += seconds
    assert pace.is_quick
