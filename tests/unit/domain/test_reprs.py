"""What a REPL, a log and a failed assertion show."""

import pytest

from bamboo_sessions import Message, Session, SessionRepository, ToolCall
from bamboo_sessions.testing.conformance.kit import users

pytestmark = pytest.mark.anyio


async def test_a_repository_says_where_it_stores_and_for_whom() -> None:
    """Its URL and its namespace, and whether it was closed."""
    opening = SessionRepository.open("memory://", namespace="acme")
    assert repr(opening) == "<SessionRepository that isn't open yet: use it as `async with`, or await it>"
    sessions = await opening
    assert repr(sessions) == "<SessionRepository memory://, namespace 'acme'>"
    assert repr(sessions.storage) == "<MemoryStorage memory://>"
    await sessions.aclose()
    assert repr(sessions) == "<SessionRepository memory://, namespace 'acme', closed>"


async def test_a_copy_says_what_is_unsaved() -> None:
    """What was added, edited and removed, and which fields were changed; nothing after the save."""
    async with SessionRepository.open("memory://") as sessions:
        session = Session("s", "m", title="T")
        assert repr(session) == "<Session 's' 'T', revision 0, 0 messages>"
        session.messages.extend(users(*"abc"))
        await sessions.save(session)
        assert repr(session) == "<Session 's' 'T', revision 1, 3 messages>"
        del session.messages[0]
        session.messages[0] = session.messages[0].replace(content="other")
        session.add_message(Message.user("d"))
        session.model = "n"
        session.metadata["k"] = 1
        unsaved = "messages 1 added, 1 edited, 1 removed, model, metadata"
        assert repr(session) == f"<Session 's' 'T', revision 1, 3 messages, unsaved: {unsaved}>"
        await sessions.save(session)
        assert "unsaved" not in repr(session)


async def test_pages_are_read_like_lists() -> None:
    """They can be iterated over, have a length, and are one line."""
    async with SessionRepository.open("memory://") as sessions:
        await sessions.append("s", *users(*"abcde"), create=True)
        history, listed = await sessions.history("s"), await sessions.list_sessions()
        found = await sessions.search("a")
        assert [message.id for message in history] == list("abcde")
        assert [head.id for head in listed] == ["s"]
        assert [hit.message_id for hit in found] == ["a"]
        assert (len(history), len(listed), len(found)) == (5, 1, 1)
        assert all("\n" not in repr(page) and len(repr(page)) < 1_000 for page in (history, listed, found))
        assert "… 2 more" in repr(history)
        assert "title" not in repr(listed)


def test_messages_are_shown_as_a_short_list() -> None:
    """However many there are."""
    session = Session("s")
    session.messages.extend(Message.assistant("x" * 9_999, [ToolCall("c", "f")]) for _ in range(100))
    assert len(repr(session.messages)) < 1_000
    assert "… 97 more" in repr(session.messages)
