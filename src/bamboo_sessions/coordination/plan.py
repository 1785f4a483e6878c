"""Plans: pure functions from what is committed now to the commit that should follow, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from bamboo_sessions.domain.errors import SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import Merged
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey, State


class HeadOnly(msgspec.Struct, frozen=True):
    """A session at one revision without its messages: what a plan of its head is made on."""

    head: SessionHead

    @property
    def revision(self) -> int:
        """The revision of the commit that made it."""
        return self.head.revision


Seen: TypeAlias = State | HeadOnly
"""What is committed, or as much of it as a plan looks at."""


class Planned(msgspec.Struct, frozen=True):
    """What a plan came to.

    Args:
        commit: The commit that should follow; `None`: there is nothing to do.
        result: What the session is after it; `None`: what the commit adds to the state before.
        merged: For a save: the merge that it is made of.
    """

    commit: Commit | None
    result: Snapshot | None = None
    merged: Merged | None = None


UNCHANGED = Planned(None)
"""There is nothing to do."""

Plan = Callable[[State], Planned]
"""Plans a change on top of a state. May run again, and on the storage's own thread."""

HeadPlan = Callable[[SessionHead], Commit | None]
"""Likewise, for a change of a living session that looks at its head alone; `None`: nothing to do."""


class Written(msgspec.Struct, frozen=True):
    """What became of a plan.

    Args:
        after: What is committed now.
        committed: The commit, if one was made; `replayed` if that was an earlier call with the same commit id.
        planned: What the plan came to when it ran last; `None` of a call that was made before, or of a save that only
            added messages, all of them (see `express`).
    """

    after: Seen
    committed: Committed | None = None
    planned: Planned | None = None


def living(key: SessionKey, state: Seen) -> Snapshot:
    """The snapshot in `state`; raises `SessionNotFoundError` or `SessionDeletedError`."""
    if isinstance(state, Snapshot):
        return state
    if state is None:
        raise SessionNotFoundError(key.session_id)
    raise SessionDeletedError(key.session_id)


def living_head(key: SessionKey, state: Seen) -> SessionHead:
    """The head in `state`; raises likewise."""
    return state.head if isinstance(state, HeadOnly) else living(key, state).head
