"""Sessions as documents."""

from __future__ import annotations

import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.session_json import session_from_json, session_to_json
from bamboo_sessions.domain.working_copy import freeze, is_clean, link_of
from bamboo_sessions.testing import strategies
from bamboo_sessions.testing.clock import ManualClock


@given(strategies.messages())
def test_a_session_comes_back_from_its_document(message: Message) -> None:
    """A session is read as it was written, as a clean copy on the clock that is handed in (L94)."""
    session = Session("s", "m", metadata={"k": [1]})
    session.add_message(message)
    data = session_to_json(session)
    clock = ManualClock()
    back = session_from_json(data, clock=clock)
    assert (freeze(back).head, list(back.messages)) == (freeze(session).head, [message])
    base = link_of(back).base
    assert base is not None
    assert base.messages_bytes == len(data)
    assert is_clean(back)
    back.title = "t"
    assert back.updated_at == max(clock.now(), session.updated_at)


def test_a_broken_document_is_corrupt() -> None:
    """What is no session raises `StorageCorruptError` and says that it was to be one (G8)."""
    with pytest.raises(StorageCorruptError, match="A stored session"):
        session_from_json(b"{}")
