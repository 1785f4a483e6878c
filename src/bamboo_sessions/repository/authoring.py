"""What people set: title, pin, archive, values, owner. Each raises `metadata_version`; no stale save undoes it (G5).

Changes by authoritative writers go to the latest state, and run again if somebody else was faster. Each is idempotent
(one that changes nothing bumps and writes nothing) and gives back the head as it is now. With `if_metadata_version` it
is refused with `PreconditionFailedError(expected, actual)` if the group has another version. With the `commit_id` of a
commit that was made, nothing is written, and the head of now is the answer. All raise
`SessionNotFoundError` and `SessionDeletedError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.errors import InputError, PreconditionFailedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_name
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.terms import Terms, terms
from bamboo_sessions.storage.commit import Commit
from bamboo_sessions.storage.ownership import OwnerChange


async def rename(
    self: Handle, session_id: str, title: str, *, if_metadata_version: int | None = None, commit_id: str | None = None
) -> SessionHead:
    """Set the title; a person's title beats a generated one from then on."""
    check_title(title)
    return await _set(
        self._bound,
        session_id,
        lambda head: _titled(head, title, generated=False),
        if_metadata_version,
        terms("rename", commit_id),
    )


async def apply_generated_title(
    self: Handle, session_id: str, title: str, *, force: bool = False, commit_id: str | None = None
) -> SessionHead:
    """Set a title that a model made, unless a person set one (L61); `force` sets it anyway."""
    check_title(title)

    def change(head: SessionHead) -> SessionHead:
        by_a_person = head.title is not None and not head.title_generated
        return head if by_a_person and not force else _titled(head, title, generated=True)

    return await _set(self._bound, session_id, change, None, terms("apply_generated_title", commit_id))


async def pin(
    self: Handle,
    session_id: str,
    pinned: bool = True,
    *,
    if_metadata_version: int | None = None,
    commit_id: str | None = None,
) -> SessionHead:
    """Pin, or unpin; clean-ups spare the whole tree of a pinned session."""
    return await _set(
        self._bound,
        session_id,
        lambda head: _replaced(head, pinned=bool(pinned)),
        if_metadata_version,
        terms("pin", commit_id),
    )


async def archive(
    self: Handle,
    session_id: str,
    archived: bool = True,
    *,
    if_metadata_version: int | None = None,
    commit_id: str | None = None,
) -> SessionHead:
    """Archive, or bring back."""
    return await _set(
        self._bound,
        session_id,
        lambda head: _replaced(head, archived=bool(archived)),
        if_metadata_version,
        terms("archive", commit_id),
    )


async def set_value(
    self: Handle,
    session_id: str,
    key: str,
    value: Any,  # noqa: ANN401 - any JSON
    *,
    if_metadata_version: int | None = None,
    commit_id: str | None = None,
) -> SessionHead:
    """Set a metadata value as a person's: from then on the key belongs to the authoritative group.

    `value` is any JSON; `None` stores null. See `remove_value`.
    """
    if not isinstance(key, str):
        message = f"A metadata key must be text, not {key!r}."
        raise InputError(message, hint="Name the value by a text; nothing was changed.")
    stored = json.frozen(value, what=f"The value of {key!r}")

    def change(head: SessionHead) -> SessionHead:
        if key in head.metadata and key in head.authoritative_keys and json.same(head.metadata[key], stored):
            return head
        metadata = json.FrozenDict({**head.metadata, key: stored})
        return _replaced(head, metadata=metadata, authoritative_keys=head.authoritative_keys | {key})

    return await _set(self._bound, session_id, change, if_metadata_version, terms("set_value", commit_id))


async def remove_value(
    self: Handle, session_id: str, key: str, *, if_metadata_version: int | None = None, commit_id: str | None = None
) -> SessionHead:
    """Remove a metadata key; no stale save brings it back if a person had set it."""

    def change(head: SessionHead) -> SessionHead:
        if key not in head.metadata:
            return head
        metadata = json.FrozenDict({k: v for k, v in head.metadata.items() if k != key})
        return _replaced(head, metadata=metadata, authoritative_keys=head.authoritative_keys - {key})

    return await _set(self._bound, session_id, change, if_metadata_version, terms("remove_value", commit_id))


async def set_owner(
    self: Handle,
    session_id: str,
    owner: str | None,
    *,
    if_metadata_version: int | None = None,
    commit_id: str | None = None,
) -> SessionHead:
    """Give a session to another owner, as when a guest signs in; and what is below it that has the same owner.

    All in one transaction, a commit for each session. Copies that were loaded before may still be saved: the owner
    stays the new one.

    Args:
        session_id: Which session; a child alone may be given away, too.
        owner: The new owner; `None`: nobody.
        if_metadata_version: Refuse if the session's authoritative group has another version.
        commit_id: Your name for this change; with that of one that was made, nothing is written (G4).
    """
    if owner is not None:
        check_name(owner, what="owner")
    bound, on = self._bound, terms("set_owner", commit_id)
    key = bound.writable(session_id)
    return await bound.store.set_owner(key, OwnerChange(owner, bound.clock.now(), on.commit_id, if_metadata_version))


async def _set(
    bound: Bound,
    session_id: str,
    change: Callable[[SessionHead], SessionHead],
    if_metadata_version: int | None,
    on: Terms,
) -> SessionHead:
    key = bound.writable(session_id)

    def plan(head: SessionHead) -> Commit | None:
        if if_metadata_version is not None and if_metadata_version != head.metadata_version:
            raise PreconditionFailedError(
                if_metadata_version, head.metadata_version, session_id=session_id, what="metadata version"
            )
        changed = change(head)
        if changed is head:
            return None
        now = bound.clock.now()
        changed = msgspec.structs.replace(changed, metadata_version=head.metadata_version + 1)
        kinds = head_kinds(head, changed)
        return Commit(
            key=key,
            commit_id=on.commit_id,
            at=now,
            expected=head.revision,
            head=changed,
            head_kinds=kinds,
            call=on.call,
            is_first_try=on.given is None,
        )

    return await bound.store.write_head(key, plan, call=on.call, commit_id=on.given)


def _titled(head: SessionHead, title: str, *, generated: bool) -> SessionHead:
    if head.title == title and head.title_generated == generated:
        return head
    return _replaced(head, title=title, title_generated=generated, title_version=head.title_version + 1)


def _replaced(head: SessionHead, **changes: Any) -> SessionHead:  # noqa: ANN401 - fields of SessionHead
    if all(json.same(getattr(head, name), value) for name, value in changes.items()):
        return head
    return msgspec.structs.replace(head, **changes)


def check_title(title: str) -> str:
    """`title`, or `InputError`."""
    if not isinstance(title, str) or not title.strip():
        message = f"A title must be text that isn't empty, not {title!r}."
        raise InputError(message, hint="Pass the title's text; nothing was changed.")
    return title
