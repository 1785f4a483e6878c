"""Writing sessions: one primitive for each intent. There is no "write this snapshot as it is"."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType

import msgspec

from bamboo_sessions.coordination.committing import Planned, living
from bamboo_sessions.coordination.saving import SavePlan, check_commit_size
from bamboo_sessions.domain.errors import (
    InputError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import ForkOrigin, SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import Message, to_stored
from bamboo_sessions.domain.question import changed_since
from bamboo_sessions.domain.report import Appended, MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.domain.working_copy import copy_of, freeze, link_of
from bamboo_sessions.repository.bound import Bound, OpenEdit, open_edits
from bamboo_sessions.repository.lifecycle import fork_head
from bamboo_sessions.repository.records import check_write
from bamboo_sessions.storage.commit import Commit, RecordWrite, RevisionConflict, SessionKey, State, StoredInsertion


class Writing(Bound):
    """Saving working copies, appending, and changing the latest state."""

    async def create(self, session: Session) -> Session:
        """Persist a new session; the one way to use the id of a deleted one again (G9).

        Atomic, durable on return, cancellation-safe. The same object comes back, up to date. After an unknown outcome
        the call can be repeated with the same object: it is looked up first whether that made the session (G4).

        Raises:
            SessionExistsError: A session of this id lives.
            SessionDeletedError: `session` is a copy of a deleted one; or an ancestor of it was deleted.
        """
        self._writable_copy(session)
        await self._store.merge_save(session, creating=True)
        return session

    async def save(
        self, session: Session, *, if_revision: int | None = None, records: Sequence[RecordWrite] = ()
    ) -> MergeReport:
        """Persist a working copy: a three-way merge with what is committed now.

        Atomic, durable on return (G1), idempotent (G4), cancellation-safe (G10). Costs as much as the change;
        without a change nothing is written. Afterwards the copy is up to date with what others had committed, and what
        was added to it while this ran is still in it.

        Args:
            session: The copy.
            if_revision: Refuse instead of merging if the session isn't at this revision.
            records: Adapter state to write in the same commit.

        Raises:
            SessionDeletedError: The session was deleted (G9).
            MessageIdConflictError: A message id is taken by other content.
            PreconditionFailedError: `if_revision` was given and passed.
            LeaseLostError: The copy is of a run lease, and a newer one exists (G12).
            InputError, StorageError: The copy can't be stored, or storage failed; nothing is half-written.
        """
        self._writable_copy(session)
        return await self._store.merge_save(session, if_revision=if_revision, records=tuple(map(check_write, records)))

    async def checkpoint(self, session: Session) -> MergeReport:
        """A save that adds only: removals and edits done to the copy are held back, and stay pending in it."""
        self._writable_copy(session)
        return await self._store.merge_save(session, additions_only=True)

    async def save_best_effort(self, session: Session) -> bool:
        """As `save`, and carry on if storage is down: whether the work is durable now.

        `False`: a failure that may pass; the work is kept in memory, visible to `load`, and retried in the background.
        A retry that is refused for good is told by `flush` and `aclose`.

        Raises:
            StorageError: One that isn't retryable, or the bound on waiting work is reached.
        """
        self._writable_copy(session)
        return await self._tiers.tolerant.save(session)

    async def save_as_fork(self, session: Session, *, new_id: str | None = None) -> Session:
        """Keep a working copy, with all that wasn't saved of it, as an independent root session.

        For work that was refused, as that of a run whose lease was lost, or of a deleted session: nothing of it is
        lost, and nothing is merged into what others made. As with `fork`, pin, archive, run state and token usage stay
        behind; of the questions those come along that the copy itself had asked. The copy stays as it is.

        Atomic, durable on return, cancellation-safe.

        Args:
            session: The copy.
            new_id: The new session's id; a UUIDv7 by default.

        Raises:
            SessionExistsError, SessionDeletedError: The new id is taken, or was deleted.
            LimitExceededError: The whole conversation is larger than one commit may be.
        """
        draft = freeze(self._own(session))
        key = self._writable(new_id if new_id is not None else _fresh_id())
        now = self._clock.now()
        origin = ForkOrigin(session.id, session.revision)
        head = fork_head(draft.head, key.session_id, origin, at=now, keep_summary=True)
        base = link_of(session).base
        known = base.head.questions if base is not None else ()
        asked = tuple(question for question in changed_since(known, draft.head.questions) if question.is_open)
        commit = Commit(
            key=key,
            commit_id=_fresh_id(),
            at=now,
            expected=0,
            head=msgspec.structs.replace(head, questions=asked),
            insertions=(StoredInsertion(tuple(map(to_stored, draft.messages)), None),),
            replace=True,
        )
        check_commit_size(commit)
        try:
            await self._store.append(commit)
        except RevisionConflict:
            raise SessionExistsError(key.session_id) from None
        return self._copy(key, await self._store.load(key))

    async def append(
        self,
        session_id: str,
        *messages: Message,
        create: bool = False,
        model: str | None = None,
        if_revision: int | None = None,
        incarnation: int | None = None,
        records: Sequence[RecordWrite] = (),
    ) -> Appended:
        """Add messages without loading the session. Never conflicts; a tool's result joins its call.

        Atomic, durable on return, idempotent by message ids (G4), cancellation-safe.

        Args:
            session_id: Which session.
            messages: At least one.
            create: Make the session if there never was one.
            model: The model of a session made so.
            if_revision: Refuse if the session isn't at this revision.
            incarnation: The life of the session that is meant; another one is refused as deleted.
            records: Adapter state to write in the same commit.

        Raises:
            SessionNotFoundError: There is none, and `create` is false.
            SessionDeletedError: It was deleted, also with `create`.
            MessageIdConflictError: A message id is taken by other content.
            PreconditionFailedError: `if_revision` was given and passed.
        """
        key = self._writable(session_id)
        commit = Commit(
            key=key,
            commit_id=new_id(),
            at=self._clock.now(),
            expected=if_revision,
            initial_head=self._new_head(key, model) if create else None,
            records=tuple(map(check_write, records)),
            incarnation=incarnation,
        )
        return await self._append(commit, messages)

    async def _append_fenced(
        self, session: Session, messages: Sequence[Message], records: Sequence[RecordWrite]
    ) -> Appended:
        """Add messages to the session that `session` is a copy of, by the rights of that copy.

        What `append` does, for the life that the copy is of, and through the run lease that it writes through (G12).
        """
        commit = Commit(
            key=self._writable_copy(session),
            commit_id=new_id(),
            at=self._clock.now(),
            records=tuple(map(check_write, records)),
            incarnation=session.incarnation,
            fence=link_of(session).fence,
        )
        return await self._append(commit, messages)

    async def _append(self, commit: Commit, messages: Sequence[Message]) -> Appended:
        """Add `messages` by `commit`."""
        session_id = commit.key.session_id
        if not messages:
            message = f"Nothing to append to session {session_id!r}."
            raise InputError(message, hint="Pass at least one Message.")
        insertion = StoredInsertion(tuple(to_stored(message) for message in messages), None)
        commit = msgspec.structs.replace(commit, insertions=(insertion,))
        check_commit_size(commit)
        try:
            committed = await self._store.append(commit)
        except RevisionConflict as exc:
            raise PreconditionFailedError(exc.expected, exc.actual, session_id=session_id) from None
        return Appended(
            revision=committed.revision, message_count=committed.message_count, duplicates=committed.duplicates
        )

    def _new_head(self, key: SessionKey, model: str | None) -> SessionHead:
        return freeze(Session(key.session_id, model, namespace=key.namespace, clock=self._clock)).head

    async def update(
        self, session_id: str, fn: Callable[[Session], object], *, if_revision: int | None = None
    ) -> Session:
        """Change the latest state: `fn` gets a copy of it, changes that, and the result is committed.

        `fn` is synchronous and may run again, on a newer state and possibly on another thread, if somebody else was
        faster; it should do nothing else. What it raises ends the update; nothing is written then. Changing title,
        pin, archive or values that a person set raises `metadata_version` by itself.

        Raises:
            SessionNotFoundError, SessionDeletedError, PreconditionFailedError (`if_revision`), InputError.
        """

        def change(session: Session) -> None:
            result = fn(session)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                message = "The function given to `update` must be synchronous."
                raise InputError(message, hint="Await what you need before, or use `edit`.")

        return await self._rework(session_id, change, if_revision=if_revision)

    def edit(self, session_id: str) -> Edit:
        """`async with sessions.edit(id) as session:` changes a copy in a block and commits at its end.

        The block can't run again. At its end it is merged like a save, unless a field was changed on both sides: then
        nothing is written and `PreconditionFailedError` is raised. Nothing is written if the block raises. Writing the
        same session by another call from inside the block raises `SessionBusyError` at once.
        """
        key = self._writable(session_id)
        return Edit(OpenEdit(self._store, key), lambda: self._load_for_edit(key), self._commit_edit)

    async def _load_for_edit(self, key: SessionKey) -> Session:
        state = await self._store.load(key)
        if state is None:
            raise SessionNotFoundError(key.session_id)
        if isinstance(state, Tombstone):
            raise SessionDeletedError(key.session_id)
        return copy_of(state, self._clock)

    async def _commit_edit(self, session: Session) -> None:
        key = self._key(session.id)
        plan = SavePlan(session, now=self._clock.now(), refuse_conflicts=True)

        def planner(state: State) -> Planned | None:
            commit = plan(state)
            return None if commit is None else Planned(commit, plan.result)

        await self._store.write(
            key,
            planner,
            start=link_of(session).base,
            then=lambda written: plan.finish(session, living(key, written.after), written.committed),
        )


_fresh_id = new_id


class Edit:
    """The block of `edit`."""

    def __init__(
        self,
        block: OpenEdit,
        load: Callable[[], Awaitable[Session]],
        commit: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._block = block
        self._load = load
        self._commit = commit
        self._is_entered = False

    async def __aenter__(self) -> Session:
        """The copy to change."""
        if self._is_entered:
            raise InputError("This `edit` block was entered already.", hint="Call `edit` again for another block.")
        self._is_entered = True
        self._session = await self._load()
        self._token = open_edits.set((*open_edits.get(), self._block))
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, unless the block raised."""
        self._block.is_open = False
        with suppress(ValueError):  # the block is left in another context than it was entered in
            open_edits.reset(self._token)
        if kind is None:
            await self._commit(self._session)
