"""The arithmetic of run leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import SessionBusyError
from bamboo_sessions.domain.lease import (
    Claim,
    LeaseState,
    Ticket,
    acquire,
    acquire_or_wait,
    busy,
    info_of,
    may_take,
    renew,
    withdraw,
)
from bamboo_sessions.domain.limits import LEASE_TICKET_SECONDS, LEASE_WAITERS_MAX
from bamboo_sessions.testing.clock import START

SECOND = timedelta(seconds=1)
TTL = 10 * SECOND
TICKET = LEASE_TICKET_SECONDS * SECOND


def claim(name: str) -> Claim:
    """A claim whose id and holder are its name."""
    return Claim(name, name, TTL)


HELD = acquire(LeaseState(), claim("a"), START)


def waiting(*names: str) -> LeaseState:
    """Held by `a` since the start, and these wait since then."""
    state = HELD
    for name in names:
        state = acquire_or_wait("s", state, claim(name), START)
    return state


def queue(state: LeaseState) -> list[str]:
    """Who waits, in order."""
    return [ticket.claim_id for ticket in state.waiting]


def test_a_first_lease() -> None:
    """The first token is 1, and the lease is held for its time, not a moment longer."""
    assert (HELD.token, HELD.claim_id, HELD.holder, HELD.expires_at) == (1, "a", "a", START + TTL)
    assert HELD.is_held(START + TTL - SECOND)
    assert not HELD.is_held(START + TTL)


def test_acquiring_again_is_acquiring_once() -> None:
    """The same claim again keeps its token, so that a lost reply does no harm; it also renews."""
    again = acquire(HELD, claim("a"), START + SECOND)
    assert (again.token, again.expires_at) == (1, START + TTL + SECOND)


def test_nobody_takes_what_is_held() -> None:
    """Another claim changes nothing, and is told who is in the way and until when."""
    assert acquire(HELD, claim("b"), START) is HELD
    error = busy("s", HELD, START)
    assert (error.session_id, error.holder, error.until) == ("s", "a", START + TTL)


def test_an_expired_lease_is_taken_over_with_the_next_token() -> None:
    """From its expiry on anybody may take over; before that, or if it was renewed, nobody."""
    taken = acquire(HELD, claim("b"), START + TTL)
    assert (taken.token, taken.claim_id) == (2, "b")
    renewed = renew(HELD, claim("a"), START + SECOND)
    assert acquire(renewed, claim("b"), START + TTL) is renewed


def test_renewing() -> None:
    """Late is allowed while nobody took over; a clock that went back shortens nothing; a stranger changes nothing."""
    late = renew(HELD, claim("a"), START + 3 * TTL)
    assert (late.token, late.expires_at) == (1, START + 4 * TTL)
    assert renew(HELD, claim("a"), START - TTL) == HELD
    assert renew(HELD, claim("b"), START) is HELD
    taken = acquire(HELD, claim("b"), START + TTL)
    assert renew(taken, claim("a"), START + TTL) is taken


def test_letting_go() -> None:
    """A lease that is given back is free at once; the token stays; a stranger's withdrawal changes nothing."""
    free = withdraw(HELD, "a")
    assert free == LeaseState(token=1)
    assert withdraw(HELD, "b") is HELD
    assert acquire(free, claim("b"), START).token == 2
    assert renew(free, claim("a"), START) is free


def test_the_queue_is_served_in_order_of_arrival() -> None:
    """Whoever came first is next, whoever asks first; asking again keeps the place."""
    state = waiting("b", "c", "d")
    state = acquire_or_wait("s", state, claim("b"), START + SECOND)
    assert queue(state) == ["b", "c", "d"]
    free = withdraw(state, "a")
    assert acquire_or_wait("s", free, claim("c"), START + SECOND).claim_id is None
    taken = acquire_or_wait("s", free, claim("b"), START + SECOND)
    assert (taken.claim_id, taken.token, queue(taken)) == ("b", 2, ["c", "d"])


def test_nobody_overtakes_the_queue() -> None:
    """A free session that somebody waits for is busy for whoever doesn't, and says who is next."""
    free = withdraw(waiting("b"), "a")
    assert acquire(free, claim("x"), START) is free
    assert busy("s", free, START).holder == "b"


def test_a_waiter_that_died_is_passed_over() -> None:
    """A ticket that isn't refreshed ends; those behind it move up, and a waiter that wakes late queues again."""
    free = withdraw(waiting("b", "c"), "a")
    later = START + TICKET - SECOND
    refreshed = acquire_or_wait("s", free, claim("c"), later)
    assert refreshed.claim_id is None
    assert not may_take(refreshed, "c", later)
    assert may_take(refreshed, "c", START + TICKET)
    late = acquire_or_wait("s", refreshed, claim("b"), START + TICKET)
    assert queue(late) == ["c", "b"]


def test_a_cancelled_waiter_is_gone() -> None:
    """Withdrawing takes the ticket out, wherever it is."""
    assert queue(withdraw(waiting("b", "c", "d"), "c")) == ["b", "d"]


def test_the_queue_is_bounded() -> None:
    """One waiter above the limit is refused; one who waits already may refresh."""
    tickets = tuple(Ticket(str(number), "x", START + TICKET) for number in range(LEASE_WAITERS_MAX))
    full = LeaseState(1, "a", "a", START + TTL, tickets)
    with pytest.raises(SessionBusyError, match="wait for it already"):
        acquire_or_wait("s", full, claim("b"), START)
    assert len(acquire_or_wait("s", full, claim("7"), START).waiting) == LEASE_WAITERS_MAX


def test_who_holds_it() -> None:
    """The info names holder, token, expiry and how many wait; there is none once the lease is over."""
    info = info_of("s", waiting("b", "c"), START)
    assert info is not None
    assert (info.session_id, info.holder, info.token, info.expires_at, info.waiting) == ("s", "a", 1, START + TTL, 2)
    later = info_of("s", waiting("b"), START + TICKET)
    assert later is not None
    assert later.waiting == 0
    assert info_of("s", HELD, START + TTL) is None
    assert info_of("s", LeaseState(token=4), START) is None


OPERATIONS: list[Callable[[LeaseState, Claim, timedelta], LeaseState]] = [
    lambda state, claim, at: acquire(state, claim, START + at),
    lambda state, claim, at: acquire_or_wait("s", state, claim, START + at),
    lambda state, claim, at: renew(state, claim, START + at),
    lambda state, claim, _: withdraw(state, claim.id),
]


@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.sampled_from("abcd"), st.integers(-2, 4))))
def test_whatever_happens(steps: list[tuple[Callable[[LeaseState, Claim, timedelta], LeaseState], str, int]]) -> None:
    """G12: tokens never go down, each new holder gets the next one, and nobody loses a lease that is held.

    Nobody waits twice, or for what he has; also with a clock that jumps back.
    """
    state, at = LeaseState(), 0
    for operation, name, seconds in steps:
        at += seconds
        before, state = state, operation(state, claim(name), at * SECOND)
        if state.claim_id is not None and state.claim_id != before.claim_id:
            assert state.token == before.token + 1
            assert state.claim_id == name
            assert not before.is_held(START + at * SECOND)
        else:
            assert state.token == before.token
        if before.claim_id not in {None, state.claim_id, name}:
            assert not before.is_held(START + at * SECOND)
        assert len(set(queue(state))) == len(state.waiting)
        assert state.claim_id not in queue(state)


def test_the_holder_may_take_what_it_has() -> None:
    """A claim that has the lease may go on, whoever waits; another may not."""
    assert may_take(HELD, "a", START)
    assert not may_take(HELD, "b", START)


def test_a_refusal_says_until_when() -> None:
    """Who is refused reads the end in whole seconds UTC; of a lease that has run out, who is next."""
    state = msgspec.structs.replace(HELD, expires_at=START + timedelta(seconds=10, microseconds=5))
    end = (START + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f"a runs it, until {end} unless" in str(busy("s", state, START))
    waiting = msgspec.structs.replace(state, waiting=(Ticket("b", "b", START + 60 * SECOND),))
    refusal = busy("s", waiting, START + 30 * SECOND)
    assert "b is the next to run it" in str(refusal)
    assert (refusal.holder, refusal.until) == ("b", None)
