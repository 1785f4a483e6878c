"""Sessions as documents."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import merge
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.session_json import session_from_json, session_to_json
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, freeze, is_clean, link_of
from bamboo_sessions.testing import strategies
from bamboo_sessions.testing.clock import ManualClock


@given(strategies.messages())
def test_a_session_comes_back_from_its_document(message: Message) -> None:
    """One that was stored is read as it was written, as a clean copy on the clock that is handed in (L94)."""
    session = Session("s", "m", metadata={"k": [1]})
    session.add_message(message)
    draft = freeze(session)
    stored = Snapshot(msgspec.structs.replace(draft.head, revision=3, message_count=1), draft.messages)
    data = session_to_json(copy_of(stored))
    clock = ManualClock()
    back = session_from_json(data, clock=clock)
    assert (freeze(back).head, list(back.messages)) == (stored.head, [message])
    base = link_of(back).base
    assert base is not None
    assert base.messages_bytes == len(data)
    assert is_clean(back)
    back.title = "t"
    assert back.updated_at == max(clock.now(), session.updated_at)


def test_a_session_that_was_never_stored_comes_back_without_a_base() -> None:
    """Its first save writes all of it."""
    session = Session("s", title="T")
    session.add_message(Message.user("a"))
    back = session_from_json(session_to_json(session))
    assert link_of(back).base is None
    assert (freeze(back).head, back.messages) == (freeze(session).head, session.messages)


@given(strategies.divergences())
def test_L117_unsaved_work_comes_back_as_unsaved_work(diverged: strategies.Divergence) -> None:
    """Base and changes survive: saving what came back does what saving the copy would have done."""
    session, base, durable = diverged.mine, diverged.base, freeze(diverged.theirs)
    back = session_from_json(session_to_json(session))
    its_base = link_of(back).base
    assert its_base is not None
    assert (its_base.head, its_base.messages) == (base.head, base.messages)
    mine, theirs = freeze(session), freeze(back)
    assert (theirs.messages, theirs.replaced) == (mine.messages, mine.replaced)
    later = Snapshot(msgspec.structs.replace(durable.head, revision=base.revision + 1), durable.messages)
    one, other = (merge(*sides, later, now=base.head.updated_at) for sides in ((base, mine), (its_base, theirs)))
    assert msgspec.structs.replace(other, head=one.head) == one
    assert msgspec.structs.replace(other.head, updated_at=one.head.updated_at) == one.head  # `now` is no fixed time


def test_a_document_that_names_messages_it_lacks_is_corrupt() -> None:
    """A base can't be guessed (G8)."""
    session = copy_of(Snapshot(freeze(Session("s")).head, FrozenMessages([Message.user("x", id="gone")])))
    session.messages.append(Message.user("y"))
    data = session_to_json(session)
    with pytest.raises(StorageCorruptError, match="names messages"):
        session_from_json(data.replace(b'"messages":["gone"', b'"messages":["missing"'))


def test_a_broken_document_is_corrupt() -> None:
    """What is no session raises `StorageCorruptError` and says that it was to be one (G8)."""
    with pytest.raises(StorageCorruptError, match="A stored session"):
        session_from_json(b"{}")
