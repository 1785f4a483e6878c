"""Making sessions, copies and children."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import InputError, InvalidSessionIdError, LimitExceededError
from bamboo_sessions.domain.head import head_document, head_from_document
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.limits import SPAWN_DEPTH_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_without_base, freeze, is_clean, link_of, unchanged_since
from bamboo_sessions.testing import strategies
from tests.unit.domain.session_kit import START, SteppingClock, a_head, loaded

# --- making one


def test_a_new_session() -> None:
    """A new session is a root of its own, in the default namespace, never saved, and not clean."""
    session = Session("s", "gpt-5.2", clock=SteppingClock())
    assert (session.id, session.model, session.namespace, session.kind) == ("s", "gpt-5.2", "default", "root")
    assert (session.root_session_id, session.parent_session_id, session.spawn_depth) == ("s", None, 0)
    assert (session.revision, session.incarnation, session.metadata_version, session.title_version) == (0, 0, 0, 0)
    assert session.created_at == session.updated_at == START + timedelta(seconds=1)
    assert (link_of(session).base, is_clean(session), list(session.messages), session.message_count) == (
        None,
        False,
        [],
        0,
    )
    assert (session.title, session.pinned, session.archived, session.pending_question) == (None, False, False, None)
    assert (session.owner, session.summary, session.token_usage, session.run_state) == (None, None, None, None)
    assert session.metadata == {}
    assert repr(session) == "<Session 's', revision 0, 0 messages>"


def test_fields_given_are_kept() -> None:
    """What the constructor is given is what the session has, times included."""
    earlier = START - timedelta(days=900)
    session = Session(
        "s",
        owner="o",
        kind="job",
        title="T",
        pinned=True,
        run_state={"status": "running"},
        metadata={"a": [1]},
        created_at=earlier,
        updated_at=START,
    )
    head = freeze(session).head
    for holder in (session, head):
        assert (holder.owner, holder.kind, holder.title, holder.pinned) == ("o", "job", "T", True)
        assert (holder.created_at, holder.updated_at) == (earlier, START)
        assert holder.metadata == {"a": [1]}
        assert holder.run_status == "running"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"namespace": ""},
        {"owner": ""},
        {"owner": 5},
        {"kind": "x" * 513},
        {"parent_session_id": ""},
        {"root_session_id": "\0"},
        {"spawn_depth": -1},
        {"spawn_depth": SPAWN_DEPTH_MAX + 1},
        {"spawn_depth": "1"},
        {"spawn_depth": True},
        {"title": 5},
        {"model": b"m"},
        {"pinned": "yes"},
        {"run_state": 5},
        {"run_state": {"at": START}},
        {"metadata": {"a": object()}},
        {"metadata": {1: "a"}},
        {"created_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"updated_at": "now"},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    """Nothing that couldn't be stored gets in."""
    with pytest.raises(InputError):
        Session(**{"id": "s", **wrong})


def test_a_bad_id_has_an_error_of_its_own() -> None:
    """Clients tell a bad session id from other bad input."""
    with pytest.raises(InvalidSessionIdError):
        Session("")


def test_what_is_given_is_kept() -> None:
    """Every value that a new session is given is in it."""
    session = Session("s", "m", title="t", title_generated=True, reasoning_effort="high", clock=SteppingClock())
    head = freeze(session).head
    assert (head.title, head.title_generated, head.reasoning_effort) == ("t", True, "high")


@given(strategies.sessions(messages_max=1))
def test_any_session_can_be_frozen_and_stored(session: Session) -> None:
    """The strategy for sessions makes only what storage takes."""
    draft = freeze(session)
    assert head_from_document(head_document(draft.head), session.id).title == session.title
    assert list(draft.messages) == list(session.messages)


# --- copies and children


def test_a_copy_is_independent() -> None:
    """A copy has the same base and the same unsaved changes, and goes its own way."""
    session = loaded(Message.user("a"), metadata={"a": [1]})
    session.title = "t"
    session.metadata["a"].append(2)
    session.add_message(Message.user("b"))
    twin = session.copy()
    assert (link_of(twin).base, twin.title, twin.metadata, twin.updated_at) == (
        link_of(session).base,
        "t",
        {"a": [1, 2]},
        session.updated_at,
    )
    assert twin.messages == session.messages
    twin.metadata["a"].append(3)
    twin.add_message(Message.user("c"))
    twin.title = "u"
    assert (session.title, session.metadata, len(session.messages)) == ("t", {"a": [1, 2]}, 2)
    assert twin.updated_at > session.updated_at


def test_a_copy_takes_over_where_the_copy_stands() -> None:
    """A copy's copy knows which drafts it agrees with, and what is unsettled."""
    session = loaded(metadata={"k": 1})
    session.title = "t"
    link_of(session).unsettled = object()
    draft = freeze(session)
    twin = session.copy()
    assert unchanged_since(twin, draft)
    assert unchanged_since(session, draft)
    assert link_of(twin).unsettled is link_of(session).unsettled


def test_copies_keep_the_fence() -> None:
    """G12: a copy of a leased session writes through the same lease; its children and others' copies don't."""
    session = Session("s")
    assert link_of(session).fence is None
    link_of(session).fence = 3
    assert link_of(session.copy()).fence == 3
    assert link_of(session.new_child("t")).fence is None


def test_children_know_their_tree() -> None:
    """The root stays the same through the tree, the depth grows, the namespace is inherited, and the owner follows."""
    root = Session("root", "m", namespace="n", owner="o", workspace="/w")
    child = root.new_child("child")
    grandchild = child.new_child("grandchild", model="other")
    assert (child.kind, child.parent_session_id, child.root_session_id) == ("child", "root", "root")
    assert (grandchild.parent_session_id, grandchild.root_session_id) == ("child", "root")
    assert (root.spawn_depth, child.spawn_depth, grandchild.spawn_depth) == (0, 1, 2)
    assert (grandchild.namespace, grandchild.owner, grandchild.workspace) == ("n", None, "/w")
    assert (child.model, grandchild.model) == ("m", "other")


def test_trees_have_a_bound() -> None:
    """Level 64 is the last one (G13)."""
    session = Session("s", spawn_depth=SPAWN_DEPTH_MAX - 1, root_session_id="r", parent_session_id="p")
    deepest = session.new_child("deepest")
    assert deepest.spawn_depth == SPAWN_DEPTH_MAX
    with pytest.raises(LimitExceededError):
        deepest.new_child("too deep")


def test_a_session_without_base_has_everything_to_save() -> None:
    """A copy made of a head and messages is clean of nothing: all of it is new."""
    session = copy_without_base(a_head(), FrozenMessages([Message.user("a")]))
    assert link_of(session).base is None
    assert not is_clean(session)
    assert [message.text for message in freeze(session).messages] == ["a"]


def test_a_child_has_its_parents_clock() -> None:
    """A child is made at the time of its parent's clock."""
    assert loaded().new_child("c").created_at == START + timedelta(seconds=1)


def test_a_session_that_was_never_saved_is_not_clean() -> None:
    """Even an empty new session is something to save."""
    assert not is_clean(Session("s"))
