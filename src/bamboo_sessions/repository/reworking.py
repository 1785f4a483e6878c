"""Changing the latest state by a function that may run again: what updates, rewrites and answers have in common."""

from __future__ import annotations

from collections.abc import Callable

from bamboo_sessions.coordination.fencing import check_fence
from bamboo_sessions.coordination.plan import Planned, Written
from bamboo_sessions.coordination.saving import plan_save
from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_of, link_of
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.repository.terms import Terms
from bamboo_sessions.storage.commit import SessionKey, State


async def rework(bound: Bound, session_id: str, change: Callable[[Session], None], on: Terms) -> Session:
    """Run `change` on a copy of the newest state and commit what it did; again on a newer state if need be."""
    key = bound.writable(session_id)
    return bound.copy(key, (await reworked(bound, key, change, on)).after)


async def reworked(bound: Bound, key: SessionKey, change: Callable[[Session], None], on: Terms) -> Written:
    """As `rework`; what became of it."""

    def plan(state: State) -> Planned:
        snapshot = bound.admitted(key, state)
        check_revision(key, on, snapshot.revision)
        session = copy_of(snapshot, bound.clock)
        link_of(session).fence = bound.fence
        change(session)
        save = plan_save(
            session,
            now=bound.clock.now(),
            records=on.records,
            commit_id=on.given,
            if_last_message=on.if_last_message,
            call=on.call,
        )
        return save(snapshot)

    written = await bound.store.write(key, plan, then=lambda written: written, call=on.call, commit_id=on.given)
    if written.committed is None:
        await check_fence(bound.storage, key, bound.fence)
    return written


def check_revision(key: SessionKey, on: Terms, revision: int) -> None:
    """Raise `PreconditionFailedError` if the session isn't at the revision that was asked for."""
    if on.if_revision is not None and on.if_revision != revision:
        raise PreconditionFailedError(on.if_revision, revision, session_id=key.session_id)
