"""Jittered exponential back-off: those who collided shouldn't collide again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Waits between attempts.

    Args:
        first_seconds: The longest first wait; each further one is twice as long.
        longest_seconds: The longest of all.
        chance: A number in [0, 1), each time it is called; tests hand in their own.
        sleep: How to wait; tests hand in their own.
    """

    first_seconds: float
    longest_seconds: float
    chance: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = msgspec.field(default=asyncio.sleep)

    def seconds(self, attempt: int) -> float:
        """The wait after attempt 0, 1, 2 …: between half of the longest for that attempt and all of it."""
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt, 60))
        return longest * (0.5 + self.chance() / 2)

    async def pause(self, attempt: int) -> None:
        """Wait after attempt number `attempt`, counted from 0."""
        await self.sleep(self.seconds(attempt))
