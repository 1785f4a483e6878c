"""The terms that a call writes on: its commit id, what must hold, what is written along. Checked at the door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.ids import check_commit_id, check_message_id, new_id
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.storage.checks import check_record_writes
from bamboo_sessions.storage.commit import RecordWrite, SessionKey


class Terms(NamedTuple):
    """On what terms a call writes.

    Args:
        call: Which call it is; a commit id belongs to one call only.
        commit_id: The name of what it commits.
        given: The same if the caller named it. Then an earlier call may have made the commit, and what became of it
            then is the answer (G4, L118).
        if_revision: Refused if the session is at another revision.
        if_last_message: Refused if the history ends with another message; `""`: if it has any.
        records: Adapter state to write in the same commit.
    """

    call: str
    commit_id: str
    given: str | None = None
    if_revision: int | None = None
    if_last_message: str | None = None
    records: tuple[RecordWrite, ...] = ()


def terms(
    call: str,
    commit_id: str | None = None,
    *,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
) -> Terms:
    """The terms of a call; raises `InputError` for what can't be meant."""
    if if_last_message:
        check_message_id(if_last_message)
    if if_revision is not None and (isinstance(if_revision, bool) or not isinstance(if_revision, int)):
        message = f"if_revision must be a whole number, not {if_revision!r}."
        raise InputError(message, hint="Pass the `revision` of what was loaded; nothing was written.")
    return Terms(
        call,
        new_id() if commit_id is None else check_commit_id(commit_id),
        given=commit_id,
        if_revision=if_revision,
        if_last_message=if_last_message,
        records=checked_records(records) if records else (),
    )


def checked_records(records: Sequence[RecordWrite]) -> tuple[RecordWrite, ...]:
    """`records`, if each is a write that can be stored."""
    for write in records:
        if not isinstance(write, RecordWrite):
            message = f"records= takes RecordWrites, not {type(write).__name__}."
            raise InputError(message, hint="Use RecordWrite(kind, key, value); nothing was written.")
    check_record_writes(records)
    return tuple(records)


async def made_before(bound: Bound, key: SessionKey, on: Terms) -> int | None:
    """The revision that an earlier call with this commit id made; `None` if the caller named none, or none did."""
    return await bound.storage.find_commit(key, on.commit_id) if on.given is not None else None
