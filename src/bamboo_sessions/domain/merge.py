"""The merge of a save: what was loaded, what was made of it, what is committed now → what is committed next.

Pure and synchronous. `POLICY` names the rule of every field of a session; `merge` follows it. If nothing was
committed in between, the result is the working copy as it is, and finding that costs as much as the change.

The history has rules of its own (see `merge_history`): only recorded removals remove, additions of others stay,
a tool's result joins its call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages
from bamboo_sessions.domain.limits import CLOCK_AHEAD_SECONDS_MAX
from bamboo_sessions.domain.merge_history import HistoryDelta, merge_history
from bamboo_sessions.domain.question import united
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.snapshot import Draft, Snapshot


class Policy(Enum):
    """How a field of the head is merged."""

    FIXED = "fixed at creation; a difference is an error"
    AUTHORITATIVE = "one group: the side with the higher metadata_version; ties go to what is committed"
    REGISTER = "three-way; changed on both sides → the saver's, reported"
    SUMMARY = "a register that is dropped when the message that it covers isn't live"
    MAP = "key by key, like registers; keys that a person set belong to the authoritative group"
    QUESTIONS = "united by id; a state only goes forward"
    CLOCK = "set by the commit"


POLICY: Final[Mapping[str, Policy]] = {
    "id": Policy.FIXED,
    "namespace": Policy.FIXED,
    "owner": Policy.FIXED,
    "kind": Policy.FIXED,
    "parent_session_id": Policy.FIXED,
    "root_session_id": Policy.FIXED,
    "spawn_depth": Policy.FIXED,
    "forked_from": Policy.FIXED,
    "created_at": Policy.FIXED,
    "incarnation": Policy.FIXED,
    "title": Policy.AUTHORITATIVE,
    "title_version": Policy.AUTHORITATIVE,
    "title_generated": Policy.AUTHORITATIVE,
    "pinned": Policy.AUTHORITATIVE,
    "archived": Policy.AUTHORITATIVE,
    "metadata_version": Policy.AUTHORITATIVE,
    "authoritative_keys": Policy.AUTHORITATIVE,
    "model": Policy.REGISTER,
    "provider": Policy.REGISTER,
    "reasoning_effort": Policy.REGISTER,
    "workspace": Policy.REGISTER,
    "token_usage": Policy.REGISTER,
    "run_state": Policy.REGISTER,
    "summary": Policy.SUMMARY,
    "metadata": Policy.MAP,
    "questions": Policy.QUESTIONS,
    "revision": Policy.CLOCK,
    "updated_at": Policy.CLOCK,
    "message_count": Policy.CLOCK,
}
"""The policy of every field of `SessionHead`."""


def fields_of(policy: Policy) -> tuple[str, ...]:
    """The fields that follow `policy`."""
    return tuple(name for name, its in POLICY.items() if its is policy)


GROUP: Final = fields_of(Policy.AUTHORITATIVE)
_REGISTERS: Final = (*fields_of(Policy.REGISTER), *fields_of(Policy.SUMMARY))
_CLOCKS: Final = frozenset(fields_of(Policy.CLOCK))
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Merged:
    """The result R, what of it is new compared with the committed state, and what the saver should know."""

    head: SessionHead
    messages: FrozenMessages
    delta: HistoryDelta
    changed: bool
    head_changed: bool
    conflicts: tuple[MergeConflict, ...] = ()
    authoritative_ignored: tuple[str, ...] = ()


def merge(
    base: Snapshot | None,
    mine: Draft,
    durable: Snapshot | None,
    *,
    now: datetime,
    additions_only: bool = False,
) -> Merged:
    """Merge `mine`, a draft made from `base`, into `durable`.

    Args:
        base: What the copy was loaded as; `None` for a copy built by hand.
        mine: The copy at the moment of the call.
        durable: What is committed now; `None` if nothing is.
        now: The present time, for the bound on hand-set times.
        additions_only: Hold back removals and edits (a checkpoint).

    Raises:
        InputError: `mine` contradicts a field that is fixed at creation.
    """
    base_messages = base.messages if base else NO_MESSAGES
    durable_messages = durable.messages if durable else NO_MESSAGES
    delta = merge_history(
        base_messages, mine.messages, durable_messages, replaced=mine.replaced, additions_only=additions_only
    )
    conflicts = [*delta.conflicts]
    ignored: tuple[str, ...] = ()
    if durable is None:
        head = mine.head
    elif base is not None and durable.revision == base.revision:
        head = _with_group_version(base.head, mine.head)
    else:
        _check_identity(mine.head, durable.head, has_base=base is not None)
        head, ignored = _merge_heads(base.head if base else None, mine.head, durable.head, conflicts)
    head = _without_stale_summary(head, durable.head if durable else None, delta)
    head_changed = durable is None or _differs(head, durable.head)
    by_hand = base is not None and mine.head.updated_at != base.head.updated_at and not head_changed
    changed = head_changed or not delta.is_empty or (by_hand and mine.head.updated_at > base.head.updated_at)
    if durable is not None:
        head = _clocked(head, mine.head, durable.head, len(delta.messages), now)
    else:
        head = msgspec.structs.replace(
            head, updated_at=_bounded(head.updated_at, now), message_count=len(delta.messages)
        )
    return Merged(head, delta.messages, delta, changed, head_changed, tuple(conflicts), ignored)


def rebase(saved: Snapshot, mine: Draft, committed: Snapshot) -> tuple[SessionHead, FrozenMessages]:
    """What a copy that went on changing while it was saved looks like on top of the result (L100).

    `saved` is what was sent, `mine` the copy now, `committed` the result. Authoritative changes made meanwhile stay
    in the copy unless somebody else's came in; the next save decides about them.
    """
    delta = merge_history(saved.messages, mine.messages, committed.messages, replaced=mine.replaced)
    conflicts: list[MergeConflict] = []
    if group_changed(saved.head, committed.head) or not group_changed(saved.head, mine.head):
        head, _ = _merge_heads(saved.head, mine.head, committed.head, conflicts)
    else:
        version = max(mine.head.metadata_version, committed.head.metadata_version)
        mine_head = msgspec.structs.replace(mine.head, metadata_version=version + 1)
        head, _ = _merge_heads(saved.head, mine_head, committed.head, conflicts)
        head = msgspec.structs.replace(head, metadata_version=version)
    return msgspec.structs.replace(
        head,
        revision=committed.head.revision,
        updated_at=committed.head.updated_at,
        message_count=committed.head.message_count,
    ), delta.messages


def group_changed(one: SessionHead, other: SessionHead) -> bool:
    """Whether the authoritative groups differ: fields, or values of keys that a person set."""
    if one is other:
        return False
    if any(getattr(one, name) != getattr(other, name) for name in GROUP):
        return True
    return any(
        not json.same(one.metadata.get(key), other.metadata.get(key)) or (key in one.metadata) != (key in other.metadata)
        for key in one.authoritative_keys
    )


def with_raised_version(before: SessionHead, after: SessionHead) -> SessionHead:
    """`after`, with a `metadata_version` above that of `before` if their authoritative groups differ."""
    if after.metadata_version > before.metadata_version or not group_changed(before, after):
        return after
    return msgspec.structs.replace(after, metadata_version=before.metadata_version + 1)


def _with_group_version(base: SessionHead, mine: SessionHead) -> SessionHead:
    """The copy's head when nothing happened in between; the group's version never stays behind its content (L09)."""
    head = mine
    if base.authoritative_keys != mine.authoritative_keys or any(k not in mine.metadata for k in mine.authoritative_keys):
        kept = frozenset(key for key in mine.authoritative_keys if key in mine.metadata)
        head = msgspec.structs.replace(mine, authoritative_keys=kept)
    return with_raised_version(base, head)


def _check_identity(mine: SessionHead, durable: SessionHead, *, has_base: bool) -> None:
    """A copy built by hand may leave fixed fields at their defaults; it may not contradict them."""
    defaults: dict[str, Any] = {"owner": None, "kind": "root", "parent_session_id": None, "spawn_depth": 0}
    defaults["root_session_id"] = mine.id
    for name in ("id", "namespace", "owner", "kind", "parent_session_id", "root_session_id", "spawn_depth"):
        value, fixed = getattr(mine, name), getattr(durable, name)
        left_out = not has_base and name in defaults and value == defaults[name]
        if value != fixed and not left_out:
            message = f"Session {mine.id!r}: {name} is fixed at creation as {fixed!r} and can't become {value!r}."
            raise InputError(message, hint="Load the session, or use another id.")


def _merge_heads(
    base: SessionHead | None, mine: SessionHead, durable: SessionHead, conflicts: list[MergeConflict]
) -> tuple[SessionHead, tuple[str, ...]]:
    same_group_base = base is None or base.metadata_version == durable.metadata_version
    from_mine = mine.metadata_version > durable.metadata_version and same_group_base
    winner = mine if from_mine else durable
    changes: dict[str, Any] = {name: getattr(winner, name) for name in GROUP}
    choose = _by_base(conflicts) if base else _by_age(conflicts, mine_is_later=mine.updated_at > durable.updated_at)
    for name in _REGISTERS:
        before = getattr(base, name) if base else _ABSENT
        value = getattr(mine, name)
        changes[name] = choose(name, before, _ABSENT if base is None and value is None else value, getattr(durable, name))
    changes["metadata"] = _merge_metadata(base, mine, durable, winner, choose)
    changes["questions"] = united(durable.questions, _new_states(base, mine))
    head = msgspec.structs.replace(durable, **changes)
    return head, () if from_mine else _ignored(base, mine, durable)


_Choose = Callable[[str, Any, Any, Any], Any]


def _by_base(conflicts: list[MergeConflict]) -> _Choose:
    def choose(what: str, base: Any, mine: Any, durable: Any) -> Any:  # noqa: ANN401 - any field
        if _same(mine, base) or _same(mine, durable):
            return durable
        if not _same(durable, base):
            conflicts.append(MergeConflict(what, "mine"))
        return mine

    return choose


def _by_age(conflicts: list[MergeConflict], *, mine_is_later: bool) -> _Choose:
    def choose(what: str, _base: Any, mine: Any, durable: Any) -> Any:  # noqa: ANN401 - any field
        if mine is _ABSENT or _same(mine, durable):
            return durable
        if durable is _ABSENT or durable is None:
            return mine
        conflicts.append(MergeConflict(what, "mine" if mine_is_later else "durable"))
        return mine if mine_is_later else durable

    return choose


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any field
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return json.same(one, other)


def _merge_metadata(
    base: SessionHead | None, mine: SessionHead, durable: SessionHead, winner: SessionHead, choose: _Choose
) -> Mapping[str, Any]:
    before = base.metadata if base else json.EMPTY
    if mine.metadata is before and winner is durable:
        return durable.metadata
    authoritative = mine.authoritative_keys | durable.authoritative_keys
    result: dict[str, Any] = {}
    for key in {**durable.metadata, **mine.metadata}:
        if key in authoritative:
            value = winner.metadata.get(key, _ABSENT)
        else:
            values = (before.get(key, _ABSENT), mine.metadata.get(key, _ABSENT), durable.metadata.get(key, _ABSENT))
            value = choose(f"metadata.{key}", *values)
        if value is not _ABSENT:
            result[key] = value
    return json.FrozenDict(result)


def _new_states(base: SessionHead | None, mine: SessionHead) -> tuple[Any, ...]:
    """The questions that the copy itself added or moved on; what it merely still shows says nothing."""
    if base is None:
        return mine.questions
    known = {question.id: question for question in base.questions}
    return tuple(question for question in mine.questions if known.get(question.id) != question)


def _ignored(base: SessionHead | None, mine: SessionHead, durable: SessionHead) -> tuple[str, ...]:
    """What the copy had changed in the group and lost."""
    if base is None:
        defaults = {"title": None, "pinned": False, "archived": False}
        changed = [name for name, default in defaults.items() if getattr(mine, name) != default]
    else:
        changed = [name for name in GROUP if getattr(mine, name) != getattr(base, name)]
    lost = [name for name in changed if getattr(mine, name) != getattr(durable, name)]
    before = base.metadata if base else json.EMPTY
    for key in sorted(mine.authoritative_keys | durable.authoritative_keys):
        value = mine.metadata.get(key, _ABSENT)
        if base is None and value is _ABSENT:
            continue
        if not _same(value, before.get(key, _ABSENT)) and not _same(value, durable.metadata.get(key, _ABSENT)):
            lost.append(f"metadata.{key}")
    return tuple(lost)


def _without_stale_summary(head: SessionHead, durable: SessionHead | None, delta: HistoryDelta) -> SessionHead:
    summary = head.summary
    if summary is None or (durable and summary is durable.summary and not delta.removals):
        return head
    if any(message.id == summary.covers_through for message in delta.messages):
        return head
    return msgspec.structs.replace(head, summary=None)


def _differs(head: SessionHead, durable: SessionHead) -> bool:
    return head is not durable and any(
        name not in _CLOCKS and not json.same(getattr(head, name), getattr(durable, name)) for name in POLICY
    )


def _bounded(moment: datetime, now: datetime) -> datetime:
    return min(moment, now + timedelta(seconds=CLOCK_AHEAD_SECONDS_MAX))


def _clocked(head: SessionHead, mine: SessionHead, durable: SessionHead, count: int, now: datetime) -> SessionHead:
    return msgspec.structs.replace(
        head,
        revision=durable.revision + 1,
        created_at=durable.created_at,
        incarnation=durable.incarnation,
        updated_at=max(_bounded(mine.updated_at, now), durable.updated_at + MICROSECOND),
        message_count=count,
    )
