"""Giving a session and what is below it to another owner: what goes along, and the commits that do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.storage.commit import Commit, SessionKey

SET_OWNER: Final = "set_owner"


class OwnerChange(msgspec.Struct, frozen=True):
    """Another owner for a session, and for all below it that have the owner that it has until then.

    Args:
        owner: The new one; `None`: nobody.
        at: When, by the caller's clock.
        commit_id: Of the change of the session itself, made by the caller's side; the same id again changes nothing
            (G4).
        if_metadata_version: The `metadata_version` that the session must have; else `PreconditionFailedError`.
    """

    owner: str | None
    at: datetime
    commit_id: str
    if_metadata_version: int | None = None

    def repeated(self, key: SessionKey) -> Commit:
        """What to commit if the id is known: its outcome is given again, or the id is refused as another call's."""
        return Commit(key=key, commit_id=self.commit_id, at=self.at, call=SET_OWNER)


def commits_of(change: OwnerChange, tree: Sequence[SessionHead]) -> Iterator[Commit]:
    """The commits of a change; none if the session has that owner.

    Args:
        change: What is asked for.
        tree: The session, and all that live below it.

    Raises:
        PreconditionFailedError: The session has another `metadata_version`.
    """
    first = tree[0]
    expected, actual = change.if_metadata_version, first.metadata_version
    if expected is not None and expected != actual:
        raise PreconditionFailedError(expected, actual, session_id=first.id, what="metadata version")
    if first.owner == change.owner:
        return
    for head in tree:
        if head.owner == first.owner:
            yield Commit(
                key=SessionKey(head.namespace, head.id),
                commit_id=change.commit_id if head is first else new_id(),
                at=change.at,
                expected=head.revision,
                head=msgspec.structs.replace(head, owner=change.owner, metadata_version=head.metadata_version + 1),
                head_kinds=("authoritative",),
                call=SET_OWNER,
            )
