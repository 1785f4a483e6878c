"""Changing the latest state: by a function that may run again, or in a block that can't."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import TracebackType

from bamboo_sessions.coordination.plan import Written, living
from bamboo_sessions.coordination.saving import correct, plan_save
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.bound import Bound, Handle, OpenEdit, open_edits
from bamboo_sessions.repository.opening import AsyncBlock
from bamboo_sessions.repository.reworking import rework
from bamboo_sessions.repository.terms import Terms, checked_records, terms
from bamboo_sessions.storage.commit import RecordWrite, SessionKey


async def update(
    self: Handle,
    session_id: str,
    fn: Callable[[Session], object],
    *,
    if_revision: int | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> Session:
    """Change the latest state: `fn` gets a copy of it, changes that, and the result is committed.

    `fn` is synchronous and may run again, on a newer state and possibly on another thread, if somebody else was
    faster; it should do nothing else. What it raises ends the update; nothing is written then. Changing title,
    pin, archive or values that a person set raises `metadata_version` by itself.

    Args:
        session_id: Which session.
        fn: The change.
        if_revision: Refuse if the session isn't at this revision.
        records: Adapter state to write in the same commit.
        commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

    Raises:
        SessionNotFoundError, SessionDeletedError, PreconditionFailedError (`if_revision`), InputError.
    """
    on = terms("update", commit_id, if_revision=if_revision, records=records)

    def change(session: Session) -> None:
        result = fn(session)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            message = "The function given to `update` must be synchronous."
            raise InputError(message, hint="Await what you need before, or use `edit`.")

    return await rework(self._bound, session_id, change, on)


def edit(self: Handle, session_id: str, *, records: Sequence[RecordWrite] = (), commit_id: str | None = None) -> Edit:
    """`async with sessions.edit(id) as session:` changes a copy in a block and commits at its end.

    The block can't run again. At its end it is merged like a save, unless a field was changed on both sides: then
    nothing is written and `PreconditionFailedError` is raised. Nothing is written if the block raises. Writing the
    same session by another call from inside the block raises `SessionBusyError` at once.

    Args:
        session_id: Which session.
        records: Adapter state to write in the same commit; a list may be filled in the block.
        commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).
    """
    checked_records(records)
    return Edit(self._bound, self._bound.writable(session_id), terms("edit", commit_id), records)


class Edit(AsyncBlock):
    """The block of `edit`."""

    def __init__(self, bound: Bound, key: SessionKey, on: Terms, records: Sequence[RecordWrite]) -> None:
        self._bound = bound
        self._key = key
        self._on = on
        self._records = records
        self._block = OpenEdit(bound.store, key)
        self._is_entered = False

    async def __aenter__(self) -> Session:
        """The copy to change."""
        if self._is_entered:
            raise InputError("This `edit` block was entered already.", hint="Call `edit` again for another block.")
        self._is_entered = True
        await self._bound.store.save_waiting(self._key)
        is_exact = self._bound.storage.is_exact  # else the block may change what another host changed long ago (L135)
        self._session = self._bound.copy(self._key, await self._bound.store.load(self._key, fresh=not is_exact))
        open_edits.set((*open_edits.get(), self._block))
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, unless the block raised."""
        self._block.is_open = False
        open_edits.set(tuple(edit for edit in open_edits.get() if edit is not self._block))
        if kind is None:
            await self._commit(self._session)

    async def _commit(self, session: Session) -> None:
        plan = plan_save(
            session,
            now=self._bound.clock.now(),
            refuse_conflicts=True,
            records=checked_records(self._records),
            commit_id=self._on.given,
            call=self._on.call,
        )

        def then(written: Written) -> None:
            correct(session, plan, living(self._key, written.after))

        on = self._on
        await self._bound.store.write(self._key, plan, start=plan.base, then=then, call=on.call, commit_id=on.given)
