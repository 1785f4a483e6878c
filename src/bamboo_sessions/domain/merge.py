"""The merge of a save: what was loaded, what was made of it, what is committed now → what is committed next.

Pure and synchronous. `POLICY` names the rule of every field of a session; `merge` follows it. If nothing was
committed in between, the result is the working copy as it is, and finding that costs as much as the change.

The history has rules of its own (see `merge_history`): only recorded removals remove, additions of others stay,
a tool's result joins the group of its call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from operator import attrgetter, is_
from typing import Any, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages
from bamboo_sessions.domain.limits import CLOCK_AHEAD_SECONDS_MAX
from bamboo_sessions.domain.merge_history import HistoryDelta, merge_history
from bamboo_sessions.domain.question import merged as merged_questions
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.tree import is_left_out


class Policy(Enum):
    """How a field of the head is merged."""

    FIXED = "fixed at creation; a difference is an error"
    OWNER = "what is committed: only `set_owner` changes it"
    AUTHORITATIVE = "one group: the side with the higher metadata_version; ties go to what is committed"
    REGISTER = "three-way; changed on both sides → the saver's, reported"
    SUMMARY = "a register that is dropped when the message that it covers isn't live"
    MAP = "key by key, like registers; keys that a person set belong to the authoritative group"
    QUESTIONS = "united by id; a state only goes forward"
    CLOCK = "set by the commit"


POLICY: Final[Mapping[str, Policy]] = {
    "id": Policy.FIXED,
    "namespace": Policy.FIXED,
    "owner": Policy.OWNER,
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
_GROUP_OF: Final = attrgetter(*GROUP)
_FOLLOWING: Final = frozenset({"metadata_version", "title_version", "authoritative_keys"})  # from what people set
_VISIBLE_GROUP: Final = tuple(name for name in GROUP if name not in _FOLLOWING)
REGISTERS: Final = (*fields_of(Policy.REGISTER), *fields_of(Policy.SUMMARY))
_IDENTITY: Final = (*(name for name in fields_of(Policy.FIXED) if name != "incarnation"), "owner")
_IDENTITY_OF: Final = attrgetter(*_IDENTITY)
_STORED: Final = attrgetter(*(name for name, its in POLICY.items() if its not in {Policy.CLOCK, Policy.FIXED}))
_ABSENT: Final = object()
_AHEAD_MAX: Final = timedelta(seconds=CLOCK_AHEAD_SECONDS_MAX)


class Merged(msgspec.Struct, frozen=True):
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
    if durable is not None:
        _check_identity(mine.head, durable.head, has_base=base is not None)
    unmoved = base is not None and durable is not None and durable.is_same(base)
    if unmoved:
        durable = base  # the same value; taking this very object makes comparing cheap
    delta = merge_history(
        base.messages if base else NO_MESSAGES,
        mine.messages,
        durable.messages if durable else NO_MESSAGES,
        replaced=mine.replaced,
        additions_only=additions_only,
    )
    if durable is None:
        return _first(mine.head, delta, now)
    conflicts = [*delta.conflicts]
    ignored: tuple[str, ...] = ()
    if not mine.head_touched:
        head = durable.head
    elif unmoved:
        head = _with_group_version(durable.head, mine.head)
    else:
        head, ignored = _merge_heads(base.head if base else None, mine.head, durable.head, conflicts)
    head = _without_stale_summary(head, durable.head, delta)
    updated_at = bounded(mine.head.updated_at, now)
    head_changed = _differs(head, durable.head)
    changed = head_changed or not delta.is_empty or (mine.time_set and updated_at > durable.head.updated_at)
    head = _clocked(head, durable.head, updated_at, delta.messages.length) if changed else durable.head
    return Merged(head, delta.messages, delta, changed, head_changed, tuple(conflicts), ignored)


def _first(head: SessionHead, delta: HistoryDelta, now: datetime) -> Merged:
    """The first save of a session: as it is, a hand-set past time included."""
    head = _without_stale_summary(head, None, delta)
    head = msgspec.structs.replace(head, updated_at=bounded(head.updated_at, now), message_count=len(delta.messages))
    return Merged(head, delta.messages, delta, changed=True, head_changed=True)


def rebase(saved: Snapshot, mine: Draft, committed: Snapshot) -> tuple[SessionHead, FrozenMessages]:
    """What a copy that went on changing while it was saved looks like on top of the result (L100).

    `saved` is what was sent (of a checkpoint: without what it held back), `mine` the copy now, `committed` the result.
    Authoritative changes made meanwhile stay in the copy unless somebody else's came in; the next save decides about
    them.
    """
    delta = merge_history(saved.messages, mine.messages, committed.messages, replaced=mine.replaced)
    base, head, now = saved.head, mine.head, committed.head
    if group_changed(base, head) and _is_own_group(base, now):
        # For this once the copy's group wins: its version is raised above the committed one, and put back afterwards.
        version = max(now.metadata_version, head.metadata_version)
        base = msgspec.structs.replace(base, metadata_version=now.metadata_version)
        head = msgspec.structs.replace(head, metadata_version=version + 1)
        merged, _ = _merge_heads(base, head, now, [])
        merged = msgspec.structs.replace(merged, metadata_version=version)
    else:
        merged, _ = _merge_heads(base, head, now, [])
    if head.updated_at != base.updated_at:
        merged = msgspec.structs.replace(merged, updated_at=max(head.updated_at, now.updated_at))
    return merged, delta.messages


def _is_own_group(saved: SessionHead, committed: SessionHead) -> bool:
    """Whether the committed group is the saved one, but for the version that the save itself may have raised.

    Two steps up with equal content are somebody's A → B → A, which counts as a change (L12).
    """
    raised = committed.metadata_version - saved.metadata_version
    same = msgspec.structs.replace(saved, metadata_version=committed.metadata_version)
    return raised in {0, 1} and not group_changed(same, committed)


def group_changed(one: SessionHead, other: SessionHead) -> bool:
    """Whether the authoritative groups differ: fields, or values of keys that a person set."""
    if one is other:
        return False
    if _GROUP_OF(one) != _GROUP_OF(other):
        return True
    return any(
        not json.same(one.metadata.get(key), other.metadata.get(key))
        or (key in one.metadata) != (key in other.metadata)
        for key in one.authoritative_keys
    )


def with_raised_version(before: SessionHead, after: SessionHead) -> SessionHead:
    """`after`, with a `metadata_version` above that of `before` if their authoritative groups differ."""
    if after.metadata_version > before.metadata_version or not group_changed(before, after):
        return after
    return msgspec.structs.replace(after, metadata_version=before.metadata_version + 1)


def _with_group_version(base: SessionHead, mine: SessionHead) -> SessionHead:
    """The copy's head when nothing happened in between; the group's version never stays behind its content (L09)."""
    if not mine.authoritative_keys <= mine.metadata.keys():
        mine = msgspec.structs.replace(mine, authoritative_keys=mine.authoritative_keys & mine.metadata.keys())
    return with_raised_version(base, mine)


def _check_identity(mine: SessionHead, durable: SessionHead, *, has_base: bool) -> None:
    """A copy built by hand may leave fixed fields at their defaults; it may not contradict them.

    A copy that was loaded may have the owner of then. The incarnation isn't looked at: a copy of another one is refused
    as deleted before anything is merged (G9).
    """
    if _IDENTITY_OF(mine) == _IDENTITY_OF(durable):
        return
    for name in _IDENTITY:
        value, fixed = getattr(mine, name), getattr(durable, name)
        if value == fixed:
            continue
        if has_base and name == "owner":
            continue
        if has_base or not (name in {"created_at", "forked_from"} or is_left_out(mine, name)):
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
    for name in REGISTERS:
        before = getattr(base, name) if base else _ABSENT
        value = getattr(mine, name)
        changes[name] = choose(
            name, before, _ABSENT if base is None and value is None else value, getattr(durable, name)
        )
    changes["metadata"] = _merge_metadata(base, mine, durable, winner, choose)
    changes["questions"] = merged_questions(base.questions if base else None, mine.questions, durable.questions)
    head = msgspec.structs.replace(durable, **changes)
    return head, () if from_mine else _ignored(base, mine, durable)


_Choose = Callable[[str, Any, Any, Any], Any]


def _by_base(conflicts: list[MergeConflict]) -> _Choose:
    def choose(what: str, base: Any, mine: Any, durable: Any) -> Any:  # noqa: ANN401 - any field
        if json.same(mine, base) or json.same(mine, durable):
            return durable
        if not json.same(durable, base):
            conflicts.append(MergeConflict(what, "mine"))
        return mine

    return choose


def _by_age(conflicts: list[MergeConflict], *, mine_is_later: bool) -> _Choose:
    def choose(what: str, _base: Any, mine: Any, durable: Any) -> Any:  # noqa: ANN401 - any field
        if mine is _ABSENT or json.same(mine, durable):
            return durable
        if durable is _ABSENT or durable is None:
            return mine
        conflicts.append(MergeConflict(what, "mine" if mine_is_later else "durable"))
        return mine if mine_is_later else durable

    return choose


def _merge_metadata(
    base: SessionHead | None, mine: SessionHead, durable: SessionHead, winner: SessionHead, choose: _Choose
) -> Mapping[str, Any]:
    before = base.metadata if base else json.EMPTY
    if mine.metadata is before and winner is durable:
        return durable.metadata
    authoritative = mine.authoritative_keys | durable.authoritative_keys
    result: dict[str, Any] = {}
    for key in sorted(durable.metadata.keys() | mine.metadata.keys()):  # so that conflicts have one order
        if key in authoritative:
            value = winner.metadata.get(key, _ABSENT)
        else:
            values = (before.get(key, _ABSENT), mine.metadata.get(key, _ABSENT), durable.metadata.get(key, _ABSENT))
            value = choose(f"metadata.{key}", *values)
        if value is not _ABSENT:
            result[key] = value
    return json.FrozenDict(result)


def _ignored(base: SessionHead | None, mine: SessionHead, durable: SessionHead) -> tuple[str, ...]:
    """What the copy had changed in the group and lost."""
    if base is None:
        defaults = {"title": None, "pinned": False, "archived": False}
        changed = [name for name, default in defaults.items() if getattr(mine, name) != default]
    else:
        changed = [name for name in _VISIBLE_GROUP if getattr(mine, name) != getattr(base, name)]
    lost = [name for name in changed if getattr(mine, name) != getattr(durable, name)]
    before = base.metadata if base else json.EMPTY
    for key in sorted(mine.authoritative_keys | durable.authoritative_keys):
        value = mine.metadata.get(key, _ABSENT)
        if not json.same(value, before.get(key, _ABSENT)) and not json.same(value, durable.metadata.get(key, _ABSENT)):
            lost.append(f"metadata.{key}")
    return tuple(lost)


def _without_stale_summary(head: SessionHead, durable: SessionHead | None, delta: HistoryDelta) -> SessionHead:
    summary = head.summary
    if summary is None or (durable and summary is durable.summary and not delta.removals):
        return head
    if delta.messages.index_of(summary.covers_through) is not None:
        return head
    return msgspec.structs.replace(head, summary=None)


def _differs(head: SessionHead, durable: SessionHead) -> bool:
    if head is durable:
        return False
    ours, theirs = _STORED(head), _STORED(durable)
    return not (all(map(is_, ours, theirs)) or all(map(json.same, ours, theirs)))


def bounded(moment: datetime, now: datetime) -> datetime:
    """`moment`, or the latest time that a copy may set: clocks of writers differ."""
    return min(moment, now + _AHEAD_MAX)


def _clocked(head: SessionHead, durable: SessionHead, updated_at: datetime, count: int) -> SessionHead:
    return msgspec.structs.replace(
        head,
        revision=durable.revision + 1,
        updated_at=max(updated_at, durable.updated_at + MICROSECOND),
        message_count=count,
    )
