"""The messages of a working copy: what is done to them, and what a draft keeps."""

import pytest

from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.working_copy import freeze, is_clean, unchanged_since
from tests.unit.domain.session_kit import START, a_question, loaded


def test_L104_messages_have_no_setter() -> None:
    """A history can't be cut by assigning a shorter list, and the error says what to use (L104)."""
    session = loaded(Message.user("a"), Message.user("b"))
    with pytest.raises(AttributeError, match="model_view"):
        session.messages = session.messages[-1:]  # type: ignore[assignment]
    assert len(session.messages) == 2
    assert is_clean(session)


def test_messages_can_be_extended_with_plus() -> None:
    """`session.messages += …` adds, and doesn't count as assigning."""
    session = loaded(Message.user("a"))
    session.messages += [Message.user("b")]
    assert [message.text for message in session.messages] == ["a", "b"]


def test_adding_messages_touches() -> None:
    """Each message added moves `updated_at`."""
    session = loaded()
    session.add_message(Message.user("a"))
    first = session.updated_at
    session.messages.append(Message.user("b"))
    assert START < first < session.updated_at
    assert session.message_count == 2
    assert not is_clean(session)


def test_a_draft_keeps_what_was_there() -> None:
    """What is done to the copy after freezing doesn't reach the draft."""
    session = loaded(Message.user("a"))
    session.add_message(Message.user("b"))
    draft = freeze(session)
    session.add_message(Message.user("c"))
    session.title = "later"
    session.messages[0] = Message.user("d")
    assert [message.text for message in draft.messages] == ["a", "b"]
    assert draft.head.title is None
    assert draft.replaced == {}


def test_a_copy_knows_what_was_done_since_a_draft() -> None:
    """Fields, messages, questions and metadata in place all count; looking doesn't."""
    session = loaded(Message.user("a"), metadata={"a": [1]})
    draft = freeze(session)
    assert session.metadata["a"] == [1]
    assert unchanged_since(session, draft)
    session.metadata["a"].append(2)
    assert not unchanged_since(session, draft)
    for change in (
        lambda: session.add_message(Message.user("b")),
        lambda: setattr(session, "title", "t"),
        lambda: session.set_pending_question(a_question("q")),
        session.messages.pop,
    ):
        draft = freeze(session)
        assert unchanged_since(session, draft)
        change()
        assert not unchanged_since(session, draft)
