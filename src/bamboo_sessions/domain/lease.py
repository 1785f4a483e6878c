"""Run leases: who may run the agent on a session, until when, and who is next. Pure arithmetic; the clock is handed in.

A lease is asked for by a *claim*. Its id names the claim when it is asked again, so that acquiring twice is acquiring
once. Each new lease gets the next token; tokens never restart, and storage refuses what carries an older one (G12).
Times decide only who may take over, never who may write: a wrong clock ends a run early, it doesn't let two write.

What is asked of storage is data, a `LeaseWish`; engines apply it by `applied`, or mirror that in SQL. A lease or a
ticket that lasts longer than it can was given by a clock that was ahead: it is over (L128).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from bamboo_sessions.domain.errors import SessionBusyError
from bamboo_sessions.domain.limits import LEASE_TICKET_SECONDS, LEASE_WAITERS_MAX
from bamboo_sessions.domain.values import Value

_TICKET: timedelta = timedelta(seconds=LEASE_TICKET_SECONDS)


class Claim(msgspec.Struct, frozen=True):
    """Somebody who wants to run: an id of its own, a name for people to read, and how long a lease is to last."""

    id: str
    holder: str
    ttl: timedelta


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """A place in the queue; it is kept while its owner refreshes it."""

    claim_id: str
    holder: str
    expires_at: datetime


class LeaseState(msgspec.Struct, frozen=True):
    """The leases of one session.

    Args:
        token: The newest token that was ever given, over all lives of the id; 0: none.
        claim_id, holder, expires_at: Of the lease, held or run out; `None` if it was given back.
        ttl: What it lasts for from its last renewal, which was at `expires_at - ttl`.
        waiting: Who waits, in the order of arrival.
    """

    token: int = 0
    claim_id: str | None = None
    holder: str | None = None
    expires_at: datetime | None = None
    ttl: timedelta = timedelta(0)
    waiting: tuple[Ticket, ...] = ()

    def is_held(self, now: datetime) -> bool:
        """Whether somebody holds the session at `now`: not if it was renewed later than that, by a wrong clock."""
        return self.expires_at is not None and now < self.expires_at <= now + self.ttl

    def has(self, claim_id: str) -> bool:
        """Whether the claim has the lease, or waits for it."""
        return self.claim_id == claim_id or any(ticket.claim_id == claim_id for ticket in self.waiting)


class LeaseView(NamedTuple):
    """The leases of a session, and the time that they are meant by: compare them with no other clock (L136)."""

    state: LeaseState
    now: datetime


class LeaseWish(msgspec.Struct, frozen=True):
    """What somebody wants of the leases of a session.

    Args:
        action: `acquire` it if it is free, or hold on to it; `wait`: acquire it, else keep a place in the queue;
            `renew` it; `withdraw`: let go of whatever the claim has; `release` the lease with `token`, whoever has it.
        claim: Who wants that; `None` for `release`.
        token: Of the lease that is released.
    """

    action: Literal["acquire", "wait", "renew", "withdraw", "release"]
    claim: Claim | None = None
    token: int = 0


def applied(state: LeaseState, wish: LeaseWish, now: datetime) -> LeaseState:
    """The leases after a wish; the very same if it can't be met, or changes nothing. Never raises."""
    if wish.claim is None:
        return release(state, wish.token)
    match wish.action:
        case "acquire":
            return acquire(state, wish.claim, now)
        case "wait":
            return acquire_or_wait(state, wish.claim, now)
        case "renew":
            return renew(state, wish.claim, now)
        case _:
            return withdraw(state, wish.claim.id)


class LeaseInfo(Value, frozen=True, kw_only=True):
    """Who runs the agent on a session.

    Args:
        session_id: Which session.
        holder: The name that the run gave, or was given.
        token: Its fencing token.
        expires_at: When others may take over unless it is renewed before; aware UTC.
        waiting: How many wait for it.
    """

    session_id: str
    holder: str
    token: int
    expires_at: datetime
    waiting: int = 0


def info_of(session_id: str, state: LeaseState, now: datetime) -> LeaseInfo | None:
    """Who holds the session at `now`, or `None`."""
    if state.expires_at is None or not state.is_held(now):
        return None
    return LeaseInfo(
        session_id=session_id,
        holder=state.holder or "",
        token=state.token,
        expires_at=state.expires_at,
        waiting=len(_alive(state.waiting, now)),
    )


def may_take(state: LeaseState, claim_id: str, now: datetime) -> bool:
    """Whether the claim has the lease, or could take it now: nobody holds it, and nobody waits ahead."""
    if state.claim_id == claim_id:
        return True
    if state.is_held(now):
        return False
    queue = _alive(state.waiting, now)
    return not queue or queue[0].claim_id == claim_id


def acquire(state: LeaseState, claim: Claim, now: datetime) -> LeaseState:
    """Take the lease if that may be; else everything stays. The claim has it if its id is in the result."""
    if state.claim_id == claim.id:
        return renew(state, claim, now)
    if not may_take(state, claim.id, now):
        return state
    return LeaseState(
        token=state.token + 1,
        claim_id=claim.id,
        holder=claim.holder,
        expires_at=now + claim.ttl,
        ttl=claim.ttl,
        waiting=_without(_alive(state.waiting, now), claim.id),
    )


def acquire_or_wait(state: LeaseState, claim: Claim, now: datetime) -> LeaseState:
    """Take the lease if that may be, else a place in the queue, or keep the one that the claim has.

    If too many wait already, everything stays, and the claim has nothing.
    """
    taken = acquire(state, claim, now)
    if taken.claim_id == claim.id:
        return taken
    queue = _alive(state.waiting, now)
    ticket = Ticket(claim.id, claim.holder, now + _TICKET)
    if any(waiting.claim_id == claim.id for waiting in queue):
        queue = tuple(ticket if waiting.claim_id == claim.id else waiting for waiting in queue)
    elif len(queue) >= LEASE_WAITERS_MAX:
        return state
    else:
        queue = (*queue, ticket)
    return msgspec.structs.replace(state, waiting=queue)


def renew(state: LeaseState, claim: Claim, now: datetime) -> LeaseState:
    """Hold on for another `ttl`, also if the lease had run out and nobody took over; else everything stays."""
    if state.claim_id != claim.id or state.expires_at is None:
        return state
    return msgspec.structs.replace(state, expires_at=now + claim.ttl, ttl=claim.ttl)


def withdraw(state: LeaseState, claim_id: str) -> LeaseState:
    """Let go of whatever the claim has: the lease, a place in the queue, or nothing."""
    waiting = _without(state.waiting, claim_id)
    if state.claim_id == claim_id:
        return LeaseState(token=state.token, waiting=waiting)
    return state if len(waiting) == len(state.waiting) else msgspec.structs.replace(state, waiting=waiting)


def release(state: LeaseState, token: int) -> LeaseState:
    """End the lease with this token; else everything stays."""
    if state.claim_id is None or state.token != token:
        return state
    return withdraw(state, state.claim_id)


def busy(session_id: str, state: LeaseState, now: datetime) -> SessionBusyError:
    """The refusal of whoever can't have the lease now: it says who has it, and until when."""
    queue = _alive(state.waiting, now)
    if state.is_held(now) and state.expires_at is not None:
        until = state.expires_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        reason = f"{state.holder} runs it, until {until} unless that is renewed"
        return SessionBusyError(session_id, reason=reason, holder=state.holder, until=state.expires_at)
    first = queue[0].holder if queue else None
    return SessionBusyError(session_id, reason=f"{first} is the next to run it", holder=first)


def crowded(session_id: str, state: LeaseState) -> SessionBusyError:
    """The refusal of whoever can't even wait."""
    return SessionBusyError(session_id, reason=f"{len(state.waiting)} runs wait for it already")


def _alive(waiting: tuple[Ticket, ...], now: datetime) -> tuple[Ticket, ...]:
    """The tickets whose owners still ask."""
    return tuple(ticket for ticket in waiting if now < ticket.expires_at <= now + _TICKET)


def _without(waiting: tuple[Ticket, ...], claim_id: str) -> tuple[Ticket, ...]:
    return tuple(ticket for ticket in waiting if ticket.claim_id != claim_id)
