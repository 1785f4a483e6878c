"""The other processes on a file: waiting for one's turn among them, and carrying out one another's requests.

`turns` says whose turn it is, and `slots` where requests wait for another process. Nobody hears of the outcome before
COMMIT has returned there (G1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import apsw

from bamboo_sessions.storage.sqlite.transactions.slots import VERSION, Posted, Slots
from bamboo_sessions.storage.sqlite.transactions.turns import Turn
from bamboo_sessions.storage.sqlite.transactions.worker import Request

CarryOut = Callable[[bytes, apsw.Connection], bytes]
"""Carries out a request of another process's, inside the transaction; its outcome. May raise whatever a request may."""


class Guests(NamedTuple):
    """Requests of another process."""

    posted: Posted
    requests: Sequence[Request]


class Others:
    """Used by one thread at a time.

    Args:
        path: The database.
        number: Tells the engines of this process apart.
        carry_out: What is done with requests of other processes; `None`: nothing.
    """

    def __init__(self, path: str, number: int, carry_out: CarryOut | None = None) -> None:
        self._turn = Turn(path)
        self._number = number
        self._carry_out = carry_out
        self._slots = self._slots_for("")

    def join(self, kind: str) -> None:
        """Do things only for those who say the same `kind`: which file they mean, how durable a commit is."""
        self._slots = self._slots_for(kind)

    def _slots_for(self, kind: str) -> Slots:
        tag = blake2b(f"{VERSION} {kind}".encode(), digest_size=16).digest()
        return Slots(self._turn.file, os.getpid() + self._number, tag)

    # --- waiting

    def take_turn_at_once(self) -> bool:
        """Whether one may write now. Never waits."""
        return self._turn.take_at_once()

    def take_turn(self, requests: Sequence[Request], seconds: float) -> Sequence[Request]:
        """Wait until one may write, for `seconds` at most; those of `requests` that nobody else has made by then.

        If there are none, it may not be this process's turn.
        """
        if self._turn.take_at_once():
            return requests
        is_posted = self._post(requests, seconds)
        self._turn.wait(seconds, lambda: is_posted and not self._slots.is_waiting())
        left = self._not_made(requests) if is_posted else requests
        if left and not self._turn.take_at_once():
            self._turn.wait(seconds, lambda: False)
        return left

    def _post(self, requests: Sequence[Request], seconds: float) -> bool:
        portables = [request.portable for request in requests if request.portable is not None]
        texts = [text for portable in portables if (text := portable.encode()) is not None]
        if len(texts) < len(requests) or not self._slots.post(texts, seconds):
            return False
        for request in requests:
            request.was_posted = True
            request.look_first()
        return True

    def _not_made(self, requests: Sequence[Request]) -> Sequence[Request]:
        outcomes = self._slots.outcomes()
        if len(outcomes) != len(requests):
            return requests
        left = []
        for request, outcome in zip(requests, outcomes, strict=True):
            if outcome is None or request.portable is None:
                left.append(request)
            else:
                request.result = request.portable.decode(outcome)
        return left

    def give_turn(self) -> None:
        """Let the next one write."""
        self._turn.give()

    def close(self) -> None:
        """Give the turn away for good."""
        self._turn.close()

    # --- doing things for others

    def guests(self, bytes_max: int) -> list[Guests]:
        """What other processes wait for, of `bytes_max` at most. To be asked, and done, inside one transaction."""
        if self._carry_out is None:
            return []
        return [Guests(posted, _requests_of(posted, self._carry_out)) for posted in self._slots.waiting(bytes_max)]

    def tell(self, guests: Guests) -> None:
        """Say what became of their requests. Those that were refused are made again by their own process."""
        outcomes = [None if request.error is not None else request.result for request in guests.requests]
        self._slots.tell(guests.posted, outcomes)


def _requests_of(posted: Posted, carry_out: CarryOut) -> list[Request]:
    texts = [text for text in posted.requests if text is not None]
    return [Request(partial(carry_out, text), len(text), None, None) for text in texts]
