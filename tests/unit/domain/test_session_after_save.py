"""A working copy after it was saved: up to date, and what was done to it meanwhile is still to be saved."""

from datetime import timedelta
from typing import Any

import msgspec

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import freeze, is_clean, link_of, rebase_copy, unchanged_since
from tests.unit.domain.session_kit import START, a_head, loaded


def _committed(session: Session, **fields: Any) -> Snapshot:  # noqa: ANN401 - any field
    draft = freeze(session)
    head = msgspec.structs.replace(draft.head, revision=4, updated_at=START + timedelta(hours=1), **fields)
    return Snapshot(head, draft.messages)


def test_after_a_save_the_copy_is_clean() -> None:
    """The committed state is the copy's base, its times and revision are the copy's."""
    session = loaded(Message.user("a"), metadata={"a": 1})
    kept = session.metadata
    kept["b"] = 2
    session.title = "t"
    session.add_message(Message.user("b"))
    committed = _committed(session)
    rebase_copy(session, committed, committed.head)
    assert is_clean(session)
    assert link_of(session).base is committed
    assert (session.revision, session.title, session.updated_at) == (4, "t", START + timedelta(hours=1))
    assert session.metadata is kept
    assert unchanged_since(session, freeze(session))


def test_L100_changes_made_meanwhile_stay_unsaved_changes() -> None:
    """Fields, metadata and messages that the copy got while it was saved are still to be saved (L100)."""
    session = loaded(Message.user("a"))
    committed = _committed(session)
    later = START + timedelta(hours=2)
    head = msgspec.structs.replace(committed.head, title="meanwhile", metadata={"k": 1}, updated_at=later)
    rebase_copy(session, committed, head, committed.messages.extended([Message.user("b")]))
    assert not is_clean(session)
    assert (session.title, session.metadata, session.updated_at) == ("meanwhile", {"k": 1}, later)
    assert [message.text for message in session.messages] == ["a", "b"]
    draft = freeze(session)
    assert (draft.head.title, draft.head.metadata, draft.head.updated_at) == ("meanwhile", {"k": 1}, later)
    assert draft.messages.extends(committed.messages)


def test_L100_a_metadata_dict_that_was_handed_out_stays_the_sessions() -> None:
    """Whoever holds `session.metadata` over a save goes on changing the session (L100)."""
    session = loaded(metadata={"a": 1})
    kept = session.metadata
    kept["b"] = 2
    committed = Snapshot(a_head(metadata={"a": 1}, revision=4), FrozenMessages())
    rebase_copy(session, committed, msgspec.structs.replace(committed.head, metadata={"a": 1, "b": 2}))
    assert session.metadata is kept
    kept["c"] = 3
    assert freeze(session).head.metadata == {"a": 1, "b": 2, "c": 3}


def test_fields_that_others_changed_arrive() -> None:
    """After a save the copy shows what others had committed meanwhile."""
    session = loaded(Message.user("a"), metadata={"a": 1})
    assert session.metadata == {"a": 1}
    committed = Snapshot(a_head(title="theirs", metadata={"b": 2}, revision=5), FrozenMessages([Message.user("c")]))
    rebase_copy(session, committed, committed.head)
    assert (session.title, session.metadata, session.revision) == ("theirs", {"b": 2}, 5)
    assert [message.text for message in session.messages] == ["c"]
    assert is_clean(session)


def test_a_rebased_time_is_not_set_by_hand() -> None:
    """A later time that a copy keeps over a save counts as touched, not as set; counters never are a change."""
    session = loaded()
    base = link_of(session).base
    assert base is not None
    rebase_copy(
        session, base, msgspec.structs.replace(base.head, updated_at=START + timedelta(days=1), message_count=9)
    )
    assert session.updated_at == START + timedelta(days=1)
    assert not freeze(session).time_set
    assert is_clean(session)


def test_equal_metadata_stays_the_same_object() -> None:
    """What a caller holds of the metadata is still part of it after a save that changed nothing there."""
    session = loaded(metadata={"nested": {}})
    nested = session.metadata["nested"]
    base = link_of(session).base
    assert base is not None
    rebase_copy(session, base, base.head)
    nested["k"] = 1
    assert session.metadata == {"nested": {"k": 1}}


def test_what_storage_counts_is_never_a_change() -> None:
    """A copy has the counters of its base, whatever those of the head that it is to become."""
    copy = loaded(revision=5, incarnation=3, message_count=0)
    base = link_of(copy).base
    assert base is not None
    rebase_copy(copy, base, a_head(revision=4, incarnation=2, message_count=9))
    assert is_clean(copy)
    rebase_copy(copy, base, a_head(revision=4, incarnation=2, message_count=9, model="m"))
    assert freeze(copy).head == msgspec.structs.replace(base.head, model="m")
