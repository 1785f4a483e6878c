"""`RunLease`: what a run holds while it runs. It renews itself, and everything written through it is fenced (G12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from bamboo_sessions.coordination.leasing import Held
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.errors import BambooSessionsError, LeaseLostError, StorageError
from bamboo_sessions.domain.lease import Claim
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import Appended, MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository import saving
from bamboo_sessions.repository.appending import append_fenced
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.storage.commit import RecordWrite, SessionKey


class RunLease:
    """The right to run the agent on a session. Made by `SessionRepository.lease`, held until its block ends.

    `session` is a working copy, loaded after the lease was taken. It, its copies and the calls of this class write with
    the lease's `token`: they are refused with `LeaseLostError`, inside the commit, once a newer lease exists.

    `lost` is an event: wait for it to stop work whose result can't be saved any more. It is set when the renewal finds
    the lease lost, and when the lease ran out because it could not be renewed. A run that was stopped for a while
    may not notice; its writes are refused all the same.
    """

    def __init__(self, bound: Bound, session: Session, claim: Claim, held: Held) -> None:
        self.session = session
        self.token = held.state.token
        self.holder = claim.holder
        self.lost = asyncio.Event()
        self._bound = bound
        self._key = SessionKey(session.namespace, session.id)
        self._claim = claim
        self._expires_at = held.state.expires_at or EPOCH
        self._since = held.since

    def __repr__(self) -> str:
        return f"<RunLease {self.token} of session {self.session.id!r}{', lost' if self.is_lost else ''}>"

    @property
    def expires_at(self) -> datetime:
        """When others may take over unless it is renewed before, by storage's clock; aware UTC."""
        return self._expires_at

    @property
    def is_lost(self) -> bool:
        """Whether it is known that the lease can't be counted on any more. The next save tells for sure."""
        return self.lost.is_set()

    # --- writing

    async def save(self, *, if_revision: int | None = None, records: Sequence[RecordWrite] = ()) -> MergeReport:
        """`SessionRepository.save` of `session`. Raises `LeaseLostError` also if there is nothing to save."""
        return await saving.save(Handle(self._bound), self.session, if_revision=if_revision, records=records)

    async def checkpoint(self) -> MergeReport:
        """`SessionRepository.checkpoint` of `session`."""
        return await saving.checkpoint(Handle(self._bound), self.session)

    async def save_best_effort(self) -> bool:
        """`SessionRepository.save_best_effort` of `session`; its retries are fenced, too."""
        return await saving.save_best_effort(Handle(self._bound), self.session)

    async def append(self, *messages: Message, records: Sequence[RecordWrite] = ()) -> Appended:
        """Add messages without saving the rest of `session`, which gets them with its next save.

        Atomic, durable on return, idempotent by message ids, cancellation-safe.

        Raises:
            LeaseLostError: A newer lease exists; nothing was written.
            SessionDeletedError, MessageIdConflictError, InputError, StorageError.
        """
        return await append_fenced(self._bound, self.session, messages, records)

    async def save_as_fork(self, *, new_id: str | None = None) -> Session:
        """Keep the work of `session`, saved or not, in an independent session: for a lease that was lost.

        See `SessionRepository.save_as_fork`.
        """
        return await saving.save_as_fork(Handle(self._bound), self.session, new_id=new_id)

    # --- renewing

    async def renew(self) -> datetime:
        """Hold on for another `ttl` from now; happens by itself three times in that. Until when it is held then.

        Raises:
            LeaseLostError: Somebody took over.
            SessionDeletedError: The session was deleted.
            StorageError: It could not be renewed; trying again can help.
        """
        try:
            state, since = await self._bound.tiers.leasing.renew(self._key, self._claim)
        except Exception as exc:
            is_refused = isinstance(exc, BambooSessionsError) and not isinstance(exc, StorageError)
            if is_refused or self._has_run_out():
                self.lost.set()
            raise
        if state.claim_id != self._claim.id or state.expires_at is None:
            self.lost.set()
            newer = state.token if state.token > self.token else None
            raise LeaseLostError(self.session.id, token=self.token, newer_token=newer, holder=state.holder)
        self._expires_at, self._since = state.expires_at, since
        return state.expires_at

    def _has_run_out(self) -> bool:
        """Whether its time has passed since the last renewal, by the monotonic clock: no other one is to be trusted."""
        return asyncio.get_running_loop().time() >= self._since + self._claim.ttl.total_seconds()
