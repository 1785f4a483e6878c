"""The express lane: a save that only adds to the newest state that is known, as nearly all saves of agents do.

What such a save comes to is seen without merging: the base, with the additions behind it. The conditions are looked at
before anything is sent; an outcome that isn't the usual one is left to the general way. So both ways end alike, and a
test holds them to it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from bamboo_sessions.coordination.next_snapshot import committed_head
from bamboo_sessions.coordination.saving import SavePlan, check_commit_size
from bamboo_sessions.domain.merge import bounded
from bamboo_sessions.domain.merge_history import can_follow
from bamboo_sessions.domain.message import Message, StoredMessage
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, State, StoredInsertion

_TERMS_OF: Final = attrgetter(
    "is_first_try", "if_revision", "if_last_message", "records", "refuse_conflicts", "creating", "repeated"
)
_USUAL_TERMS: Final = (True, None, None, (), False, False, ())


def additions(plan: SavePlan, newest: State) -> Sequence[Message] | None:
    """The messages that the save adds behind `newest`, if that is all that it does; else `None`."""
    base, draft = plan.base, plan.draft
    if base is None or base is not newest or _TERMS_OF(plan) != _USUAL_TERMS:
        return None
    if not draft.additions or draft.head_touched or draft.time_set:
        return None
    return draft.additions if can_follow(base.messages, draft.additions) else None


def commit_of(plan: SavePlan, base: Snapshot, added: tuple[StoredMessage, ...]) -> Commit:
    """The commit that puts `added` behind `base`."""
    commit = Commit(
        key=plan.key,
        commit_id=plan.commit_id,
        at=plan.now,
        expected=base.head.revision,
        updated_at=bounded(plan.draft.head.updated_at, plan.now),
        insertions=(StoredInsertion(added, None, in_order=True),),
        fence=plan.fence,
        call=plan.call,
        is_first_try=plan.is_first_try,
    )
    check_commit_size(commit)
    return commit


def snapshot_after(plan: SavePlan, base: Snapshot, commit: Commit, committed: Committed) -> Snapshot | None:
    """The session after the commit; `None` if storage made something else of it, as with messages that it knew."""
    messages = plan.draft.messages
    if committed.replayed or not committed.changed or messages.length != committed.message_count:
        return None
    return Snapshot(committed_head(base.head, committed), messages, base.messages_bytes + commit.size)
