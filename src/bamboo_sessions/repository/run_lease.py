"""`RunLease`: what a run holds while it runs. It renews itself, and everything written through it is fenced (G12)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

from bamboo_sessions.coordination.leasing import Held
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.errors import BambooSessionsError, InputError, LeaseLostError, StorageError
from bamboo_sessions.domain.lease import Claim
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import Appended, MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage
from bamboo_sessions.domain.working_copy import copy_of, link_of
from bamboo_sessions.repository import rewriting, saving
from bamboo_sessions.repository.appending import append
from bamboo_sessions.repository.bound import Bound, Handle, Right
from bamboo_sessions.storage.commit import RecordWrite, SessionKey


class RunLease:
    """The right to run the agent on a session. Made by `SessionRepository.lease`, held until its block ends.

    `session` is a working copy, loaded after the lease was taken. It, its copies and the calls of this class write with
    the lease's `token`: they are refused with `LeaseLostError`, inside the commit, once a newer lease exists. The calls
    do so whatever copy they are given.

    `lost` is an event: wait for it to stop work whose result can't be saved any more. It is set when the renewal finds
    the lease lost, and when the lease ran out because it could not be renewed. A run that was stopped for a while
    may not notice; its writes are refused all the same.
    """

    def __init__(self, bound: Bound, session: Session, claim: Claim, held: Held) -> None:
        self.token = held.state.token
        self.holder = claim.holder
        self.lost = asyncio.Event()
        self._key = SessionKey(session.namespace, session.id)
        self._bound = Bound(bound.tiers, bound.namespace, Right(self.token, session.incarnation))
        self._sessions = Handle(self._bound)
        self._session = self._fenced(session)
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

    @property
    def session(self) -> Session:
        """The run's working copy. `reload` puts a fresh one in its place."""
        return self._session

    async def reload(self) -> Session:
        """A fresh copy of what is committed now: `session` from then on. The old one keeps what it has unsaved.

        Raises:
            SessionNotFoundError, SessionDeletedError, StorageError.
        """
        state = await self._bound.store.load(self._key, fresh=True)
        self._session = self._fenced(copy_of(self._bound.admitted(self._key, state), self._bound.clock))
        return self._session

    def _fenced(self, session: Session | None) -> Session:
        """The copy to write: one of this session, which writes through this lease from now on."""
        if session is None:
            return self._session
        if self._bound.own(session).id != self._key.session_id:
            message = f"The lease is of session {self._key.session_id!r}, not of {session.id!r}."
            raise InputError(message, hint="Save other sessions through the repository; nothing was written.")
        link_of(session).fence = self.token
        return session

    # --- writing: each call is that of `SessionRepository`, with the lease's token

    async def save(
        self,
        session: Session | None = None,
        *,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> MergeReport:
        """Save `session`, or another copy. Raises `LeaseLostError` also if there is nothing to save."""
        return await saving.save(
            self._sessions,
            self._fenced(session),
            if_revision=if_revision,
            if_last_message=if_last_message,
            records=records,
            commit_id=commit_id,
        )

    async def checkpoint(self, session: Session | None = None, *, commit_id: str | None = None) -> MergeReport:
        """Save what was added to `session`, or to another copy."""
        return await saving.checkpoint(self._sessions, self._fenced(session), commit_id=commit_id)

    async def save_best_effort(self, session: Session | None = None, *, commit_id: str | None = None) -> bool:
        """Save `session`, or another copy, and carry on if storage is down; the retries are fenced, too."""
        return await saving.save_best_effort(self._sessions, self._fenced(session), commit_id=commit_id)

    async def append(
        self,
        *messages: Message,
        in_order: bool = False,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        usage: Sequence[TokenUsage] = (),
        commit_id: str | None = None,
    ) -> Appended:
        """Add messages, records or usage without saving the rest of `session`, which gets them with its next save.

        Atomic, durable on return, idempotent by message ids, cancellation-safe.

        Raises:
            LeaseLostError: A newer lease exists; nothing was written.
            SessionDeletedError, MessageIdConflictError, PreconditionFailedError, InputError, StorageError.
        """
        return await append(
            self._sessions,
            self._key.session_id,
            *messages,
            in_order=in_order,
            if_last_message=if_last_message,
            records=records,
            usage=usage,
            commit_id=commit_id,
        )

    async def remove_last(
        self,
        n: int = 1,
        *,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> tuple[Message, ...]:
        """Remove the last `n` messages of what is committed, and return them, oldest first."""
        return await rewriting.remove_last(
            self._sessions,
            self._key.session_id,
            n,
            if_last_message=if_last_message,
            records=records,
            commit_id=commit_id,
        )

    async def truncate(
        self,
        *,
        after_message_id: str,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Remove all messages of what is committed behind one; a copy of what is left."""
        return await rewriting.truncate(
            self._sessions,
            self._key.session_id,
            after_message_id=after_message_id,
            if_last_message=if_last_message,
            records=records,
            commit_id=commit_id,
        )

    async def replace_history(
        self,
        messages: Iterable[Message],
        *,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Make `messages` the whole history; a copy of it."""
        return await rewriting.replace_history(
            self._sessions,
            self._key.session_id,
            messages,
            if_last_message=if_last_message,
            records=records,
            commit_id=commit_id,
        )

    async def save_as_fork(self, *, new_id: str | None = None, commit_id: str | None = None) -> Session:
        """Keep the work of `session`, saved or not, in an independent session: for a lease that was lost.

        See `SessionRepository.save_as_fork`.
        """
        return await saving.save_as_fork(self._sessions, self._session, new_id=new_id, commit_id=commit_id)

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
