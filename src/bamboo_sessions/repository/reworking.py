"""Changing the latest state by a function that may run again: what updates, rewrites and answers have in common."""

from __future__ import annotations

from collections.abc import Callable

from bamboo_sessions.coordination.committing import Planned
from bamboo_sessions.coordination.saving import SavePlan
from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_of, link_of
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.repository.terms import Outcome, Terms, write_once
from bamboo_sessions.storage.commit import SessionKey, State


async def rework(bound: Bound, session_id: str, change: Callable[[Session], None], on: Terms) -> Session:
    """Run `change` on a copy of the newest state and commit what it did; again on a newer state if need be."""
    key = bound.writable(session_id)
    return bound.copy(key, (await reworked(bound, key, change, on)).now)


async def reworked(bound: Bound, key: SessionKey, change: Callable[[Session], None], on: Terms) -> Outcome:
    """As `rework`; what became of it."""

    def planner(state: State) -> Planned | None:
        snapshot = bound.admitted(key, state)
        check_revision(key, on, snapshot.revision)
        session = copy_of(snapshot, bound.clock)
        if bound.right is not None:
            link_of(session).fence = bound.right.token
        change(session)
        plan = SavePlan(
            session,
            now=bound.clock.now(),
            records=on.records,
            commit_id=on.commit_id,
            if_last_message=on.if_last_message,
        )
        commit = plan(snapshot)
        return None if commit is None else Planned(commit, plan.result)

    return await write_once(bound, key, planner, on)


def check_revision(key: SessionKey, on: Terms, revision: int) -> None:
    """Raise `PreconditionFailedError` if the session isn't at the revision that was asked for."""
    if on.if_revision is not None and on.if_revision != revision:
        raise PreconditionFailedError(on.if_revision, revision, session_id=key.session_id)
