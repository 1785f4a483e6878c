"""The twin of `RunLease`. Written by `python -m tests.sync.generate`; don't edit it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import Appended, MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.sync.handles import SyncLease


class SyncRunLease(SyncLease):
    """The right to run the agent on a session. Made by `SyncSessionRepository.lease`, held until its block ends.

    `session` is a working copy, loaded after the lease was taken. It, its copies and the calls of this class write
    with the lease's `token`: they are refused with `LeaseLostError`, inside the commit, once a newer lease exists.
    It is renewed in the background, whatever the block is busy with.

    `lost.wait()` in another thread, or `is_lost` now and then, tells when to stop work whose result can't be saved
    any more.
    """

    @property
    def expires_at(self) -> datetime:
        """When others may take over unless it is renewed before, by storage's clock; aware UTC."""
        return self._inner.expires_at

    @property
    def is_lost(self) -> bool:
        """Whether it is known that the lease can't be counted on any more. The next save tells for sure."""
        return self._inner.is_lost

    @property
    def session(self) -> Session:
        """The run's working copy. `reload` puts a fresh one in its place."""
        return self._inner.session

    def reload(self) -> Session:
        """A fresh copy of what is committed now: `session` from then on. The old one keeps what it has unsaved.

        Raises:
            SessionNotFoundError, SessionDeletedError, StorageError.
        """
        return self._portal.call(self._inner.reload())

    def save(
        self,
        session: Session | None = None,
        *,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> MergeReport:
        """Save `session`, or another copy. Raises `LeaseLostError` also if there is nothing to save."""
        return self._portal.call(
            self._inner.save(
                session, if_revision=if_revision, if_last_message=if_last_message, records=records, commit_id=commit_id
            )
        )

    def checkpoint(self, session: Session | None = None, *, commit_id: str | None = None) -> MergeReport:
        """Save what was added to `session`, or to another copy."""
        return self._portal.call(self._inner.checkpoint(session, commit_id=commit_id))

    def save_best_effort(self, session: Session | None = None, *, commit_id: str | None = None) -> bool:
        """Save `session`, or another copy, and carry on if storage is down; the retries are fenced, too."""
        return self._portal.call(self._inner.save_best_effort(session, commit_id=commit_id))

    def append(
        self,
        *messages: Message,
        in_order: bool = False,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        usage: Sequence[TokenUsage] = (),
        commit_id: str | None = None,
    ) -> Appended:
        """Add messages, records or usage without saving the rest of `session`, which gets them with its next save.

        Atomic, durable on return, idempotent by message ids, safe to interrupt.

        Raises:
            LeaseLostError: A newer lease exists; nothing was written.
            SessionDeletedError, MessageIdConflictError, PreconditionFailedError, InputError, StorageError.
        """
        return self._portal.call(
            self._inner.append(
                *messages,
                in_order=in_order,
                if_last_message=if_last_message,
                records=records,
                usage=usage,
                commit_id=commit_id,
            )
        )

    def remove_last(
        self,
        n: int = 1,
        *,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> tuple[Message, ...]:
        """Remove the last `n` messages of what is committed, and return them, oldest first."""
        return self._portal.call(
            self._inner.remove_last(n, if_last_message=if_last_message, records=records, commit_id=commit_id)
        )

    def truncate(
        self,
        *,
        after_message_id: str,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Remove all messages of what is committed behind one; a copy of what is left."""
        return self._portal.call(
            self._inner.truncate(
                after_message_id=after_message_id, if_last_message=if_last_message, records=records, commit_id=commit_id
            )
        )

    def replace_history(
        self,
        messages: Iterable[Message],
        *,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Make `messages` the whole history; a copy of it."""
        return self._portal.call(
            self._inner.replace_history(messages, if_last_message=if_last_message, records=records, commit_id=commit_id)
        )

    def save_as_fork(self, *, new_id: str | None = None, commit_id: str | None = None) -> Session:
        """Keep the work of `session`, saved or not, in an independent session: for a lease that was lost.

        See `SyncSessionRepository.save_as_fork`.
        """
        return self._portal.call(self._inner.save_as_fork(new_id=new_id, commit_id=commit_id))

    def renew(self) -> datetime:
        """Hold on for another `ttl` from now; happens by itself three times in that. Until when it is held then.

        Raises:
            LeaseLostError: Somebody took over.
            SessionDeletedError: The session was deleted.
            StorageError: It could not be renewed; trying again can help.
        """
        return self._portal.call(self._inner.renew())
