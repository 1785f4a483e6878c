"""Run leases: one agent run at a time on a session (G12). The arithmetic is in `domain.lease`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Final, Literal, get_args

import msgspec

from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.leasing import Held
from bamboo_sessions.domain.errors import (
    InputError,
    LeaseLostError,
    SessionBusyError,
    SessionError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_name, new_id
from bamboo_sessions.domain.lease import Claim, LeaseInfo, info_of
from bamboo_sessions.domain.limits import LEASE_MS_MIN, LEASE_SECONDS_DEFAULT, LEASE_SECONDS_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.appending import first_head
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.lifecycle import fork
from bamboo_sessions.repository.opening import AsyncBlock
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.storage.commit import Commit, RevisionConflict, SessionKey

_log: Final = logging.getLogger("bamboo_sessions")

OnBusy = Literal["reject", "wait", "fork"]


class LeaseRequest(msgspec.Struct, frozen=True):
    """What was asked of `lease`."""

    key: SessionKey
    holder: str
    ttl: timedelta
    on_busy: OnBusy
    timeout_seconds: float | None
    head: SessionHead | None  # of the session, if it is to be made


def lease(
    self: Handle,
    session_id: str,
    *,
    ttl: float | timedelta = LEASE_SECONDS_DEFAULT,
    holder: str | None = None,
    on_busy: OnBusy = "reject",
    timeout: float | None = None,
    create: bool | Session = False,
    model: str | None = None,
) -> LeaseBlock:
    """`async with sessions.lease(id) as lease:` runs an agent on a session while nobody else does.

    The lease is renewed in the background and given back at the end of the block, also if that raises or is
    cancelled. If this process dies, others may take over when `ttl` has passed. Then what is still written through
    the lease is refused with `LeaseLostError`, inside the commit (G12). People's changes aren't fenced; they merge.
    Taking, renewing and giving back are no commits. A lease isn't re-entrant.

    Args:
        session_id: Which session.
        ttl: How long the lease outlives its last renewal: seconds (0.1 to 86,400), or a `timedelta`.
        holder: A name for people who ask who runs it; by default the host's and the process id.
        on_busy: If somebody runs it: `"reject"`; `"wait"` for one's turn, in the order of arrival over all
            processes; or `"fork"`: go on in a fork of what is committed, with a lease on that.
        timeout: With `"wait"`: for how many seconds at most, 0 or more; `None`: for ever.
        create: Make the session if there never was one. A `Session` of this id says how, as with `append`.
        model: The model of a session made with `create=True`.

    Raises (at the beginning of the block):
        SessionBusyError: Somebody runs it (`holder`, `until`), or waits ahead; or the `timeout` has passed.
        SessionNotFoundError: There is none, and `create` is false.
        SessionDeletedError: It was deleted, also with `create`.
        InputError: An argument is out of its range.
    """
    if on_busy not in get_args(OnBusy):
        message = f"{on_busy!r} is no way to deal with a busy session."
        raise InputError(message, hint="Use 'reject', 'wait' or 'fork'.")
    key = self._bound.writable(session_id)
    wish = LeaseRequest(
        key=key,
        holder=check_name(holder, what="holder of a lease") if holder is not None else _this_process(),
        ttl=_checked_ttl(ttl),
        on_busy=on_busy,
        timeout_seconds=_checked_timeout(timeout),
        head=first_head(self._bound, key, create, model),
    )
    return LeaseBlock(self._bound, wish)


async def lease_of(self: Handle, session_id: str) -> LeaseInfo | None:
    """Who runs the agent on a session now; `None` if nobody does, or there is no such session."""
    view = await self._bound.storage.read_lease(self._bound.key(session_id))
    return None if view is None else info_of(session_id, *view)


async def release_lease(self: Handle, session_id: str, *, token: int) -> None:
    """End the lease of a run that died, before it runs out. Idempotent, and no commit.

    The run itself isn't stopped: should it be alive, it goes on until its next renewal or save. What it then still
    writes is refused once somebody else has a lease (G12).

    Args:
        session_id: Which session.
        token: The lease's, as `lease_of` tells it.

    Raises:
        LeaseLostError: Somebody else has got a lease since; it is left alone (`holder`, `newer_token`).
        InputError: There never was a lease with this token.
        SessionNotFoundError, SessionDeletedError, StorageError.
    """
    if isinstance(token, bool) or not isinstance(token, int) or token < 1:
        message = f"The token of a lease is a number from 1 on, not {token!r}."
        raise InputError(message, hint="lease_of(id) tells the token of who runs the session.")
    state = await self._bound.tiers.leasing.release(self._bound.key(session_id), token)
    if state.token > token:
        raise LeaseLostError(session_id, token=token, newer_token=state.token, holder=state.holder)
    if state.token < token:
        message = f"Session {session_id!r} never had a lease {token}; its newest was {state.token}."
        raise InputError(message, hint="lease_of(id) tells the token of who runs the session. Nothing was changed.")


# --- beginning and end of the block


async def _begun(bound: Bound, wish: LeaseRequest) -> tuple[RunLease, Claim]:
    """The lease that was wished for, and the claim that it is held by."""
    try:
        return await _held(bound, wish)
    except SessionBusyError:
        if wish.on_busy != "fork":
            raise
    forked = await fork(Handle(bound), wish.key.session_id)
    return await _held(bound, msgspec.structs.replace(wish, key=bound.key(forked.id)))


async def _held(bound: Bound, wish: LeaseRequest) -> tuple[RunLease, Claim]:
    claim = Claim(new_id(), wish.holder, wish.ttl)
    await bound.tiers.tolerant.settle(wish.key)  # else it might be the work of an older lease by then
    try:
        held = await _taken(bound, wish, claim)
        session = bound.copy(wish.key, await bound.store.load(wish.key, fresh=True))
    except BaseException:
        await bound.tiers.leasing.give_back(wish.key, claim)
        raise
    return RunLease(bound, session, claim, held), claim


async def _taken(bound: Bound, wish: LeaseRequest, claim: Claim) -> Held:
    try:
        return await _waited(bound, wish, claim)
    except SessionNotFoundError:
        if wish.head is None:
            raise
    creation = Commit(key=wish.key, commit_id=new_id(), at=bound.clock.now(), expected=0, head=wish.head)
    with suppress(RevisionConflict):  # somebody else has just made it
        await bound.store.append(creation)
    return await _waited(bound, wish, claim)


async def _waited(bound: Bound, wish: LeaseRequest, claim: Claim) -> Held:
    if wish.on_busy == "wait":
        return await bound.tiers.leasing.wait(wish.key, claim, wish.timeout_seconds)
    return await bound.tiers.leasing.take(wish.key, claim)


async def _given_back(bound: Bound, lease: RunLease, claim: Claim) -> None:
    """Let go, after what still waits to become durable under the lease."""
    key = bound.key(lease.session.id)
    await bound.tiers.leasing.give_back(key, claim, first=lambda: bound.tiers.tolerant.settle(key))


class LeaseBlock(AsyncBlock):
    """The block of `lease`."""

    def __init__(self, bound: Bound, wish: LeaseRequest) -> None:
        self._bound = bound
        self._wish = wish
        self._is_entered = False

    async def __aenter__(self) -> RunLease:
        """The lease, held and renewed from now on."""
        if self._is_entered:
            raise InputError("This `lease` block was entered already.", hint="Call `lease` again for another block.")
        self._bound.store.tasks.check_usable()
        self._is_entered = True
        self._lease, self._claim = await _begun(self._bound, self._wish)
        self._renewing = asyncio.get_running_loop().create_task(self._keep_renewing())
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back, whatever happened in the block."""
        self._renewing.cancel()
        try:
            await _given_back(self._bound, self._lease, self._claim)
        finally:
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def _keep_renewing(self) -> None:
        seconds = self._wish.ttl.total_seconds()
        backoff = Backoff(first_seconds=seconds / 30, longest_seconds=seconds / 6)
        failures = 0
        while not self._lease.is_lost:
            if failures:
                await backoff.pause(failures - 1)
            else:
                await asyncio.sleep(seconds / 3)
            failures = 0 if await self._renewed() else failures + 1

    async def _renewed(self) -> bool:
        lease = self._lease
        try:
            await lease.renew()
        except (LeaseLostError, SessionError) as exc:  # which has set `lost`
            _log.warning("session %r: run lease %d is lost: %s", lease.session.id, lease.token, exc)
        except Exception as exc:  # noqa: BLE001 - whatever a storage raises may pass, until the lease has run out
            if lease.is_lost:
                _log.warning("session %r: run lease %d ran out: %s", lease.session.id, lease.token, exc)
            return False
        return True


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _checked_ttl(ttl: float | timedelta) -> timedelta:
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = float("nan")
    if not LEASE_MS_MIN / 1000 <= seconds <= LEASE_SECONDS_MAX:
        message = f"A run lease lasts {LEASE_MS_MIN / 1000} to {LEASE_SECONDS_MAX:,} seconds, not {ttl!r}."
        raise InputError(message, hint="It is renewed in the background: 30 seconds fit runs of any length.")
    return timedelta(seconds=seconds)


def _checked_timeout(seconds: float | None) -> float | None:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and seconds >= 0):
        message = f"The timeout of a lease is 0 seconds or more, or None, not {seconds!r}."
        raise InputError(message, hint="None waits for ever.")
    return seconds
