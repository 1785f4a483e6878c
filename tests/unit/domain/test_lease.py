"""The arithmetic of run leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.lease import (
    Claim,
    LeaseState,
    LeaseWish,
    Ticket,
    acquire,
    acquire_or_wait,
    applied,
    busy,
    crowded,
    info_of,
    may_take,
    release,
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
        state = acquire_or_wait(state, claim(name), START)
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
    """Late is allowed while nobody took over; it counts from when it was made; a stranger changes nothing."""
    late = renew(HELD, claim("a"), START + 3 * TTL)
    assert (late.token, late.expires_at) == (1, START + 4 * TTL)
    assert renew(HELD, claim("a"), START - TTL).expires_at == START
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
    state = acquire_or_wait(state, claim("b"), START + SECOND)
    assert queue(state) == ["b", "c", "d"]
    free = withdraw(state, "a")
    assert acquire_or_wait(free, claim("c"), START + SECOND).claim_id is None
    taken = acquire_or_wait(free, claim("b"), START + SECOND)
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
    refreshed = acquire_or_wait(free, claim("c"), later)
    assert refreshed.claim_id is None
    assert not may_take(refreshed, "c", later)
    assert may_take(refreshed, "c", START + TICKET)
    late = acquire_or_wait(refreshed, claim("b"), START + TICKET)
    assert queue(late) == ["c", "b"]


def test_a_cancelled_waiter_is_gone() -> None:
    """Withdrawing takes the ticket out, wherever it is."""
    assert queue(withdraw(waiting("b", "c", "d"), "c")) == ["b", "d"]


def test_the_queue_is_bounded() -> None:
    """One waiter above the limit is refused; one who waits already may refresh."""
    tickets = tuple(Ticket(str(number), "x", START + TICKET) for number in range(LEASE_WAITERS_MAX))
    full = LeaseState(1, "a", "a", START + TTL, TTL, tickets)
    assert acquire_or_wait(full, claim("b"), START) is full
    assert not full.has("b")
    assert "100 runs wait for it already" in str(crowded("s", full))
    assert len(acquire_or_wait(full, claim("7"), START).waiting) == LEASE_WAITERS_MAX


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


def test_L128_a_lease_of_a_clock_that_was_ahead_is_over() -> None:
    """A lease, or a ticket, that would last longer than it can blocks nobody; renewed by a right clock it is held."""
    ahead = START + timedelta(days=3650)
    state = renew(HELD, claim("a"), ahead)
    assert state.is_held(ahead)
    assert not state.is_held(START + SECOND)
    assert info_of("s", state, START) is None
    taken = acquire(state, claim("b"), START)
    assert (taken.token, taken.claim_id) == (2, "b")
    assert renew(state, claim("a"), START) == HELD
    waited = acquire_or_wait(msgspec.structs.replace(HELD, expires_at=ahead), claim("dead"), ahead - SECOND)
    assert queue(waited) == ["dead"]
    assert acquire(withdraw(waited, "a"), claim("c"), START).claim_id == "c"


def test_releasing() -> None:
    """Only the lease with that token ends, whoever has it and however often; the queue stays."""
    state = waiting("b")
    free = release(state, 1)
    assert (free.claim_id, free.token, queue(free)) == (None, 1, ["b"])
    assert release(free, 1) is free
    for token in (0, 2):
        assert release(state, token) is state


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (LeaseWish("acquire", claim("a")), renew(HELD, claim("a"), START + SECOND)),
        (LeaseWish("wait", claim("b")), acquire_or_wait(HELD, claim("b"), START + SECOND)),
        (LeaseWish("renew", claim("a")), renew(HELD, claim("a"), START + SECOND)),
        (LeaseWish("withdraw", claim("a")), LeaseState(token=1)),
        (LeaseWish("release", token=1), LeaseState(token=1)),
    ],
)
def test_a_wish_is_one_of_the_operations(wish: LeaseWish, expected: LeaseState) -> None:
    """Wishes as data do what the functions do."""
    assert applied(HELD, wish, START + SECOND) == expected


OPERATIONS: list[Callable[[LeaseState, Claim, timedelta], LeaseState]] = [
    lambda state, claim, at: acquire(state, claim, START + at),
    lambda state, claim, at: acquire_or_wait(state, claim, START + at),
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
    state = msgspec.structs.replace(HELD, expires_at=START + timedelta(seconds=10, microseconds=5), ttl=TTL + SECOND)
    end = (START + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f"a runs it, until {end} unless" in str(busy("s", state, START))
    waiting = msgspec.structs.replace(state, waiting=(Ticket("b", "b", START + 32 * SECOND),))
    refusal = busy("s", waiting, START + 30 * SECOND)
    assert "b is the next to run it" in str(refusal)
    assert (refusal.holder, refusal.until) == ("b", None)
