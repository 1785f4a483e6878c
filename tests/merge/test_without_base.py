"""Saving a copy that was built by hand, for an id that exists."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import ForkOrigin
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from tests.merge.helpers import NOW, START, FixedClock, ids, message, save, snapshot


def _by_hand(*messages: str, **fields: Any) -> Session:  # noqa: ANN401 - any field
    session = Session("s", clock=FixedClock(), **fields)
    session.messages += [message(id) for id in messages]
    return session


def test_without_base_the_later_side_has_the_registers() -> None:
    """For copies built by hand only times can say whose register is newer; either way it is reported."""
    durable = snapshot(model="theirs", updated_at=NOW)
    later = save(_by_hand(model="mine", updated_at=NOW + timedelta(minutes=1)), durable)
    assert later.head.model == "mine"
    assert later.conflicts == (MergeConflict("model", "mine"),)
    for minutes in (0, -1):
        earlier = save(_by_hand(model="mine", updated_at=NOW + timedelta(minutes=minutes)), durable)
        assert earlier.head.model == "theirs"
        assert earlier.conflicts == (MergeConflict("model", "durable"),)


def test_L06_without_base_missing_is_not_a_value() -> None:
    """What one side doesn't have is taken from the other, however old that is (L06)."""
    durable = snapshot(model="theirs", metadata={"a": 1, "n": None}, updated_at=NOW)
    copy = _by_hand(provider="mine", metadata={"b": 2, "n": 5}, updated_at=NOW - timedelta(days=1))
    head = save(copy, durable).head
    assert (head.model, head.provider) == ("theirs", "mine")
    assert head.metadata == {"a": 1, "b": 2, "n": 5}
    later = save(_by_hand(updated_at=NOW + timedelta(minutes=1)), durable)
    assert later.head.model == "theirs"


def test_without_base_messages_are_united() -> None:
    """The committed ones first, then the copy's; those with a known id are left to storage to compare (G4)."""
    merged = save(_by_hand("x", "b", "y"), snapshot("abc"))
    assert ids(merged.messages) == "a b c x y"
    assert ids(merged.delta.duplicates) == "b"
    assert merged.delta.gained == ("a", "c")


def test_without_base_the_group_follows_its_version() -> None:
    """Ties go to what is committed, with a report; a greater version wins."""
    durable = snapshot(title="theirs", pinned=True, metadata_version=1)
    merged = save(_by_hand(title="mine"), durable)
    assert (merged.head.title, merged.head.pinned) == ("theirs", True)
    assert merged.authoritative_ignored == ("title",)
    assert save(_by_hand(), durable).authoritative_ignored == ()
    copy = _by_hand(title="mine")
    copy.metadata_version = 2
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.pinned, merged.head.metadata_version) == ("mine", False, 2)


def test_without_base_a_persons_value_stays() -> None:
    """A hand-built copy doesn't overwrite what a person set, and says so; leaving it out loses nothing."""
    durable = snapshot(metadata={"k": 1}, authoritative_keys=frozenset({"k"}), metadata_version=1)
    merged = save(_by_hand(metadata={"k": 2}), durable)
    assert merged.head.metadata == {"k": 1}
    assert merged.authoritative_ignored == ("metadata.k",)
    assert save(_by_hand(), durable).authoritative_ignored == ()


def test_a_copy_built_by_hand_may_leave_identity_out() -> None:
    """Without a base, defaults contradict nothing, and the committed identity stays; other values are refused."""
    durable = snapshot(owner="o", kind="job", parent_session_id="p", spawn_depth=1, created_at=START)
    merged = save(Session("s", "m", clock=FixedClock()), durable)
    assert (merged.head.owner, merged.head.kind, merged.head.created_at) == ("o", "job", START)
    assert merged.head.incarnation == 1
    with pytest.raises(InputError, match="owner is fixed"):
        save(Session("s", owner="another"), durable)


def test_by_hand_the_root_and_the_origin_may_be_left_out() -> None:
    """A hand-built copy of a child or a fork needn't know its root or origin, but it has the right namespace."""
    durable = snapshot()
    origin = ForkOrigin("origin", 3)
    head = msgspec.structs.replace(durable.head, root_session_id="root", forked_from=origin)
    merged = save(_by_hand(model="m"), Snapshot(head, durable.messages))
    assert (merged.head.root_session_id, merged.head.forked_from) == ("root", origin)
    with pytest.raises(InputError, match="namespace is fixed"):
        save(_by_hand(namespace="another"), durable)


def test_by_hand_equal_values_are_no_conflict() -> None:
    """A hand-built copy that agrees with what is committed has nothing to report."""
    durable = snapshot(model="m", metadata={"k": [1]}, archived=True, metadata_version=1)
    merged = save(_by_hand(model="m", metadata={"k": [1]}), durable)
    assert (merged.conflicts, merged.authoritative_ignored) == ((), ())


def test_a_first_save_counts_its_messages() -> None:
    """The first commit has the count of what the copy brings."""
    assert save(_by_hand("a", "b"), None).head.message_count == 2
