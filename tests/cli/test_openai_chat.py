"""The format `openai-chat`: what goes in comes out, byte for byte as JSON values go."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import AudioPart, FilePart, ImagePart, InputError, Message, Session, TextPart, ToolCall
from bamboo_sessions.cli.formats.json_text import parsed
from bamboo_sessions.cli.formats.openai_chat import (
    from_message,
    from_session,
    to_message,
    to_session,
)
from bamboo_sessions.cli.formats.session_line import message_id
from bamboo_sessions.domain.message import from_body, to_stored
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.formats.openai_chat import FORMAT
from bamboo_sessions.testing.clock import START
from tests.cli.support import conversation, with_tools

TEXT = st.text(st.characters(), max_size=20)  # lone surrogates and NUL included
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXT}),
    st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXT, "detail": TEXT})}
    ),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXT})}),
    st.fixed_dictionaries(
        {"type": st.just("input_audio"), "input_audio": st.fixed_dictionaries({"data": TEXT, "format": TEXT})}
    ),
    st.fixed_dictionaries(
        {"type": st.just("file"), "file": st.fixed_dictionaries({"file_data": TEXT, "filename": TEXT})}
    ),
    st.fixed_dictionaries({"type": st.just("file"), "file": st.fixed_dictionaries({"file_id": TEXT})}),
    JSON,
)
CALLS = st.one_of(
    st.fixed_dictionaries(
        {
            "id": TEXT,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT | JSON}),
        }
    ),
    st.fixed_dictionaries(
        {"id": TEXT, "type": st.just("custom"), "custom": st.fixed_dictionaries({"name": TEXT, "input": TEXT})}
    ),
    JSON,
)
MOMENTS = (
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)).map(lambda moment: f"{moment.isoformat()}Z")  # noqa: DTZ001
    | st.sampled_from(["2025-03-01", "2025-03-01T12:00:00+02:00", "yesterday", 1.5e9, 1_700_000_000_123, 1e300])
    | JSON
)
ITEMS = st.fixed_dictionaries(
    {"role": ROLES},
    optional={
        "content": st.none() | TEXT | st.lists(PARTS, max_size=3) | JSON,
        "tool_calls": st.none() | st.lists(CALLS, max_size=3),
        "tool_call_id": TEXT | JSON,
        "name": TEXT | JSON,
        "reasoning_content": TEXT | JSON,
        "refusal": JSON,
        "extra": JSON,
        "id": st.integers() | st.none(),
        **dict.fromkeys(("created_at", "timestamp", "create_time"), MOMENTS),
    },
)
LINES = st.fixed_dictionaries(
    {"id": st.text("abc/é", min_size=1, max_size=9), "messages": st.lists(ITEMS, max_size=4)},
    optional={
        "model": st.none() | st.text("abc", max_size=5),
        "metadata": st.none() | st.dictionaries(TEXT | st.just(FORMAT), JSON, max_size=3),
        "title": st.none() | TEXT,
        "owner": st.none() | TEXT,
        **dict.fromkeys(("created_at", "timestamp", "create_time"), MOMENTS),
        "created": JSON,
        FORMAT: JSON,
    },
)


def _canonical(value: object) -> str:
    """JSON text in which 1, 1.0 and true differ, and the order of keys doesn't count."""
    return json.dumps(value, sort_keys=True)


def _there_and_back(line: object) -> Any:  # noqa: ANN401 - any JSON
    session = to_session(line)
    stored = [from_body(to_stored(message).body) for message in session.messages]
    return from_session(freeze(session).head, stored)


@given(LINES)
def test_what_goes_in_comes_out(line: dict[str, Any]) -> None:
    """Any conversation, with whatever keys it has, comes back as an equal JSON value."""
    assert _canonical(_there_and_back(line)) == _canonical(line)


@given(LINES)
def test_reading_again_gives_the_same_messages(line: dict[str, Any]) -> None:
    """G4: ids and content of the messages are the same at each import, also from an export."""
    first = to_session(line)
    for again in (to_session(line), to_session(_there_and_back(line))):
        assert [message.id for message in again.messages] == [message.id for message in first.messages]
        pairs = zip(again.messages, first.messages, strict=True)
        assert all(to_stored(one).content_hash == to_stored(other).content_hash for one, other in pairs)


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "Hi", "name": "helper", "reasoning_content": "Be brief."},
        with_tools("a")["messages"][2],
        with_tools("a")["messages"][3],
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
    ],
)
def test_usual_items_need_no_copy(item: dict[str, Any]) -> None:
    """What a `Message` can say in full isn't stored a second time."""
    assert to_message(item, "a", 0, START).native is None


def test_what_is_understood() -> None:
    """Tool calls, names, parts and older roles become fields of the message."""
    message = to_message(with_tools("a")["messages"][2], "a", 2, START)
    assert message.tool_calls[0] == ToolCall("call_get_order", "get_order", '{"order": "A-7"}')
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:,x", "filename": "x.txt"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "video", "video": {}},
    ]
    assert to_message({"role": "user", "content": parts}, "a", 0, START).content == (
        TextPart("Look"),
        ImagePart("https://x/y.png", detail="low"),
        FilePart("data:,x", name="x.txt"),
        AudioPart("data:audio/wav;base64,AA==", media_type="audio/wav"),
    )
    assert to_message({"role": "function", "name": "f", "content": "42"}, "a", 0, START).role == "tool"


def test_an_edited_message_is_written_as_it_is_now() -> None:
    """What was kept of an item isn't written any more once the message was edited."""
    item = {"role": "user", "content": "My card is 1234", "weight": 1}
    message = to_message(item, "a", 0, START)
    edited = msgspec.structs.replace(message, content="My card is …")
    assert from_message(message, "a", 0, START) == item
    assert from_message(edited, "a", 0, START) == {"role": "user", "content": "My card is …"}


def test_ids_are_written_where_they_are_needed() -> None:
    """A message's id is written unless it follows from its place; so it's recognised wherever it moves."""
    items = [
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": "?", "extra": 1},
        {"role": "user", "id": "m"},
    ]
    messages = [to_message(item, "a", index, START) for index, item in enumerate(items)]
    assert [from_message(message, "a", index, START) for index, message in enumerate(messages)] == items
    assert [message.id for message in messages] == [message_id(FORMAT, "a", 0), message_id(FORMAT, "a", 1), "m"]
    moved = [from_message(message, "a", index + 1, START) for index, message in enumerate(messages)]
    assert [item["id"] for item in moved] == [message.id for message in messages]
    own = Message.user("Hello", id="own", created_at=START)
    assert from_message(own, "a", 0, START) == {
        "role": "user",
        "content": "Hello",
        "id": "own",
    }


def test_a_session_made_here() -> None:
    """A session that was never imported is written in full, events and files included, and can be read back."""
    session = Session("a", "gpt-5.2", metadata={"team": "blue"})
    session.add_message(Message(role="event", content="The run began."))
    session.add_message(Message.user((FilePart("https://x/y.pdf"), AudioPart("https://x/a.mp3", transcript="Hi"))))
    session.add_message(Message.assistant(tool_calls=[ToolCall("c", "f", {"n": 1})], reasoning="Hm."))
    line = from_session(freeze(session).head, session.messages)
    assert (line["model"], line["metadata"]) == ("gpt-5.2", {"team": "blue"})
    assert line["messages"][1]["content"][1] == {"type": "text", "text": "Hi"}
    assert line["messages"][2]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"n":1}'}
    assert [message.id for message in to_session(line).messages] == [message.id for message in session.messages]


def test_times_titles_and_owners_have_keys_of_their_own() -> None:
    """What a session and its messages know of times, title and owner is written, and read back into equal ones."""
    session = Session("a", owner="ann", title="Order 17", created_at=START)
    for number in range(3):
        session.add_message(Message.user(f"{number}", id=f"m{number}", created_at=START + timedelta(seconds=number)))
    line = from_session(freeze(session).head, session.messages)
    assert (line["title"], line["owner"], line["created_at"]) == ("Order 17", "ann", "2026-01-01T00:00:00Z")
    assert [item.get("created_at") for item in line["messages"]] == [
        None,
        "2026-01-01T00:00:01Z",
        "2026-01-01T00:00:02Z",
    ]
    again = to_session(line)
    assert (again.title, again.owner, again.created_at, again.metadata) == ("Order 17", "ann", START, {})
    assert tuple(again.messages) == tuple(session.messages)
    assert again.updated_at == START + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("created_at", "2026-01-01T00:00:00Z"),
        ("timestamp", "2026-01-01T01:00:00+01:00"),
        ("created_at", "2026-01-01"),
        ("create_time", 1767225600),
        ("timestamp", 1767225600.0),
        ("created_at", 1767225600000),
        ("created_at", 1767225600000000),
    ],
)
def test_times_of_others_are_understood(key: str, value: object) -> None:
    """ISO text and seconds, milliseconds or microseconds since 1970, by the names that others use."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    line = {"id": "a", key: value, "messages": [{"role": "user", "content": "Hi", key: value}]}
    session = to_session(line)
    assert session.created_at == session.messages[0].created_at == session.updated_at == when
    assert _there_and_back(line) == line


def test_a_conversation_without_an_id() -> None:
    """Its id follows from its messages: the same each time, another one for other messages."""
    line = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]}
    first, again = to_session(line), to_session({**line, "weight": 1})
    other = to_session({"messages": line["messages"][:1]})
    assert first.id == again.id != other.id
    assert [message.id for message in first.messages] == [message.id for message in again.messages]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ([], "A conversation is a JSON object, not an array."),
        ("text", "A conversation is a JSON object, not text."),
        ({"id": "a"}, "The conversation has no 'messages'."),
        ({"id": 7, "messages": []}, "'id' must be text, not a number."),
        ({"id": "a", "messages": {}}, "'messages' must be an array, not an object."),
        ({"id": "a", "messages": [], "model": 4}, "'model' must be text, not a number."),
        ({"id": "a", "messages": [], "metadata": []}, "'metadata' must be an object, not an array."),
        ({"id": "", "messages": []}, "'' is no session id: it is empty."),
        ({"id": "a", "messages": [None]}, "Message 1: A message is a JSON object, not null."),
        ({"id": "a", "messages": [{"role": "user"}, {}]}, "Message 2: It has no role."),
        ({"id": "a", "messages": [{"role": "robot"}]}, "Message 1: It has the role 'robot'."),
        ({"id": "a", "messages": [{"role": ["user"]}]}, "Message 1: It has the role ['user']."),
    ],
)
def test_what_is_no_conversation_is_refused(line: object, reason: str) -> None:
    """What is missing or wrong is said in a sentence."""
    with pytest.raises(InputError) as caught:
        to_session(line)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "This isn't JSON: Expecting property name enclosed in double quotes at character 2."),
        (b"\xff", "This isn't UTF-8 text: byte 1 can't be decoded."),
        (b'{"a": NaN}', "This isn't JSON: NaN is no number that can be kept."),
        (b"1e999", "This isn't JSON: 1e999 is no number that can be kept."),
        (b"[" * 200_000, "This JSON is nested too deeply."),
    ],
)
def test_what_is_no_json_is_refused(text: bytes, reason: str) -> None:
    """JSON is taken as strictly as the standard has it, so that others can read what is written."""
    with pytest.raises(InputError) as caught:
        parsed(text)
    assert str(caught.value).startswith(reason.split(" at character", maxsplit=1)[0])


def test_deep_nesting_is_refused_or_kept() -> None:
    """An item that is nested as deep as Python can read it is kept or refused, never a crash."""
    depth = sys.getrecursionlimit() // 2
    deep = parsed("[" * depth + "]" * depth)
    line = conversation("a") | {"messages": [{"role": "user", "content": "x", "deep": deep}]}
    try:
        assert _there_and_back(line) == line
    except InputError as exc:
        assert "nested too deeply" in str(exc)  # noqa: PT017 - either is fine
