import copy
import enum
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain import json, limits, message
from bamboo_sessions.domain.errors import InputError, InvalidMessageError, LimitExceededError, StorageCorruptError
from bamboo_sessions.domain.message import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Native,
    TextPart,
    ToolCall,
    from_body,
    hash_of_body,
    same_content,
    to_stored,
)
from bamboo_sessions.testing import strategies


@given(strategies.messages())
def test_L94_every_message_comes_back_as_it_was_stored(one: Message) -> None:
    """NUL, lone surrogates, native bytes and any JSON survive storing (L73, L94)."""
    assert from_body(to_stored(one).body) == one


@given(strategies.messages(), strategies.ids(), strategies.times())
def test_content_is_all_but_id_and_time(one: Message, id: str, at: datetime) -> None:
    """Equal content under another id and time has an equal hash (G4)."""
    other = msgspec.structs.replace(one, id=id, created_at=at)
    assert to_stored(other).content_hash == to_stored(one).content_hash
    assert same_content(one, other)


@given(strategies.messages(), strategies.messages())
def test_equal_hashes_mean_equal_content(one: Message, other: Message) -> None:
    """The hash and `same_content` agree with comparing all fields but id and time."""
    alike = msgspec.structs.replace(other, id=one.id, created_at=one.created_at) == one
    assert same_content(one, other) is (to_stored(one).content_hash == to_stored(other).content_hash)
    assert same_content(one, other) or not alike


@given(strategies.messages())
def test_hash_survives_reading_back(one: Message) -> None:
    """What was read back has the hash that it was stored with, by any process at any time."""
    stored = to_stored(one)
    assert to_stored(from_body(stored.body)).content_hash == stored.content_hash == hash_of_body(stored.body)


def test_hash_is_the_same_in_every_release() -> None:
    """Hashes are stored, so this one must never change."""
    one = Message.assistant("Hi", [ToolCall("c", "f", {"b": 1, "a": 2})], metadata={"z": 1, "y": [True, None]})
    assert to_stored(one).content_hash.hex() == "aebbfab3b2a50e65937ca264c102c4fc"


@pytest.mark.parametrize("field", ["role", "content", "tool_call_id", "tool_success", "name", "reasoning", "metadata"])
def test_any_other_field_changes_the_hash(field: str) -> None:
    """Each field but id and time belongs to the content."""
    values = {"role": "user", "tool_success": False, "metadata": {"a": 1}}
    one = Message.tool("x", tool_call_id="c", tool_success=True)
    other = msgspec.structs.replace(one, **{field: values.get(field, "other")})
    assert not same_content(one, other)


def test_a_number_and_its_equal_are_different_content() -> None:
    """In metadata `1`, `1.0` and `True` are stored differently, so they are different content."""
    values = (1, 1.0, True)
    hashes = {to_stored(Message.user("x", metadata={"n": value})).content_hash for value in values}
    assert len(hashes) == 3


def test_an_id_that_looks_like_content_does_not_disturb_the_hash() -> None:
    """An id holding `"role":` is still only an id."""
    plain, tricky = Message.user("x", id="a"), Message.user("x", id='","role":"tool","x":"')
    assert to_stored(plain).content_hash == to_stored(tricky).content_hash
    assert from_body(to_stored(tricky).body) == tricky


def test_a_huge_text_comes_back() -> None:
    """Ten million characters are no problem."""
    one = Message.user("é\0" * 5_000_000)
    assert from_body(to_stored(one).body).text == one.text


def test_a_message_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts stored bytes and is named in the error (G13)."""
    monkeypatch.setattr(message, "MESSAGE_BYTES_MAX", 1_000)
    with pytest.raises(LimitExceededError) as caught:
        to_stored(Message.user("x" * 1_000))
    assert caught.value.limit == 1_000
    assert caught.value.actual > 1_000
    assert limits.MESSAGE_BYTES_MAX == 64 * 1024 * 1024


@pytest.mark.parametrize("role", ["", "bot", "User", None, 5, ["user"]])
def test_an_unknown_role_is_refused(role: object) -> None:
    """A role is one of six words, checked when the message is made."""
    with pytest.raises(InvalidMessageError, match="role"):
        Message(role=role)  # type: ignore[arg-type]


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), "2026-01-01", "today", None, True])  # noqa: DTZ001 - naive
def test_a_time_without_zone_is_refused(moment: object) -> None:
    """A naive time would mean something else on each machine."""
    with pytest.raises(InvalidMessageError, match="created_at must be a datetime with a time zone"):
        Message.user("x", created_at=moment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "moment", [1_767_323_045, 1_767_323_045.0, "2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00"]
)
def test_a_time_that_is_plain_is_taken(moment: float | str) -> None:
    """A number means seconds since 1970, text is ISO 8601 with its zone."""
    assert Message.user("x", created_at=moment).created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [1_767_323_045_000, 1e300, float("inf"), -1e11])
def test_milliseconds_are_no_seconds(seconds: float) -> None:
    """A number far out of range is refused, with what it may be."""
    with pytest.raises(InvalidMessageError, match="years 2 to 9998") as refused:
        Message.user("x", created_at=seconds)
    assert refused.value.hint == "Divide milliseconds by 1000."


def test_a_time_in_another_zone_is_kept_as_utc_to_the_microsecond() -> None:
    """Zones with odd offsets lose nothing."""
    odd = timezone(timedelta(minutes=53, seconds=28))
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, odd)
    one = Message.user("x", created_at=moment)
    assert one.created_at == moment
    assert one.created_at.tzinfo is UTC
    assert from_body(to_stored(one).body).created_at == moment


@pytest.mark.parametrize(
    "fields",
    [
        lambda: {"content": 5},
        lambda: {"content": b"x"},
        lambda: {"content": (5,)},
        lambda: {"content": [{"type": "video", "url": "u"}]},
        lambda: {"content": [{"type": "text"}]},
        lambda: {"content": [{"type": "text", "text": "x", "cache_control": {}}]},
        lambda: {"content": {TextPart("x")}},
        lambda: {"tool_calls": (ToolCall("c", 5),)},  # type: ignore[arg-type]
        lambda: {"tool_calls": (ToolCall("c", "f", [1]),)},  # type: ignore[arg-type]
        lambda: {"tool_calls": (ToolCall("c", "f", None),)},  # type: ignore[arg-type]
        lambda: {"tool_calls": ({"id": "c"},)},
        lambda: {"tool_calls": ({"id": "c", "name": "f", "args": {}},)},
        lambda: {"tool_calls": ({"id": "c", "type": "custom", "function": {"name": "f"}},)},
        lambda: {"tool_calls": "no"},
        lambda: {"tool_call_id": 5},
        lambda: {"tool_success": "yes"},
        lambda: {"tool_success": 1},
        lambda: {"name": 1.5},
        lambda: {"reasoning": b"x"},
        lambda: {"metadata": [1]},
        lambda: {"native": b"x"},
        lambda: {"native": Native("f", "text")},  # type: ignore[arg-type]
        lambda: {"native": Native("f", 5)},  # type: ignore[arg-type]
    ],
)
def test_L138_what_no_save_would_take_is_refused_when_the_message_is_made(
    fields: Callable[[], dict[str, object]],
) -> None:
    """A field of the wrong type is refused by the constructor, not by a later save together with the whole copy."""
    with pytest.raises(InputError):
        Message(**{"role": "user", **fields()})  # type: ignore[arg-type]


def test_L138_no_content_is_an_empty_text() -> None:
    """A message that only calls tools has `None` for its content in some formats; it is stored like an empty text."""
    for one in (Message(role="assistant", content=None), Message.assistant(None)):
        assert one.content == ""
        assert to_stored(one).content_hash == to_stored(Message.assistant()).content_hash


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": "\ud800"},
        {"id": 5},
        {"created_at": datetime.max.replace(tzinfo=UTC)},
        {"created_at": datetime.min.replace(tzinfo=UTC)},
    ],
)
def test_L86_what_could_not_be_read_back_is_refused_before_it_is_written(fields: dict[str, object]) -> None:
    """It is refused when the message is made, not found out when the session is loaded (L86)."""
    with pytest.raises(InvalidMessageError):
        Message(**{"role": "user", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("moment", [datetime.max, datetime.min])  # noqa: DTZ901 - the edges
def test_a_time_at_the_edge_in_another_zone_is_refused(moment: datetime) -> None:
    """Its time in UTC may be none that a `datetime` can hold; the error names the field and the range."""
    for hours in (-1, 1):
        with pytest.raises(InvalidMessageError, match="created_at must be in the years 2 to 9998"):
            Message.user("x", created_at=moment.replace(tzinfo=timezone(timedelta(hours=hours))))


def test_only_messages_are_stored() -> None:
    """A dict is no message, whatever its keys."""
    with pytest.raises(InvalidMessageError, match="dict"):
        to_stored({"role": "user", "content": "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, object(), {"a": {"b": b"x"}}])
def test_metadata_must_be_json(value: object) -> None:
    """What has no JSON form is refused when the message is made."""
    with pytest.raises(InputError, match="metadata"):
        Message.user("x", metadata={"key": value})


def test_metadata_and_arguments_are_frozen() -> None:
    """A shared snapshot can't be changed through a message's JSON values, nor through what they were made from."""
    source = {"list": [1], "dict": {"a": 1}}
    one = Message.assistant("", [ToolCall("c", "f", source)], metadata=source)
    source["list"].append(2)  # type: ignore[attr-defined]
    arguments = one.tool_calls[0].arguments
    assert isinstance(arguments, dict)
    for frozen in (one.metadata, arguments):
        assert frozen == {"list": [1], "dict": {"a": 1}}
        with pytest.raises(TypeError, match="frozen"):
            frozen["list"].append(3)
        with pytest.raises(TypeError, match="frozen"):
            frozen["new"] = 1  # type: ignore[index]


def test_a_message_is_frozen() -> None:
    """An edit is another message with the same id."""
    one = Message.user("x")
    with pytest.raises(AttributeError):
        one.content = "y"  # type: ignore[misc]


def test_messages_can_be_pickled_and_copied() -> None:
    """A message travels between processes unchanged."""
    one = Message.user("x", metadata={"a": [1, {"b": 2}]})
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes
    assert copy.deepcopy(one) == one


def test_lists_become_tuples() -> None:
    """Content and tool calls given as lists are kept as tuples, so that a message stays frozen."""
    one = Message(role="assistant", content=[TextPart("a")], tool_calls=[ToolCall("c", "f")])
    assert one.content == (TextPart("a"),)
    assert one.tool_calls == (ToolCall("c", "f"),)
    assert from_body(to_stored(one).body) == one


def test_text_is_what_can_be_read() -> None:
    """`text` joins the texts and transcripts of the parts; images and files give nothing."""
    content = (TextPart("look"), ImagePart("i"), FilePart("f"), AudioPart("a", transcript="hear"), AudioPart("b"))
    assert Message.user(content).text == "look\nhear"
    assert Message.user("plain").text == "plain"
    assert Message.assistant().text == ""


def test_makers_set_role_and_fields() -> None:
    """Each maker gives its role and passes further fields on."""
    assert Message.user("u", name="n").role == "user"
    assert Message.user("u", name="n").name == "n"
    assert Message.system("s").role == "system"
    assert Message.assistant("a", (ToolCall("c", "f"),)).tool_calls[0].arguments == "{}"
    result = Message.tool("t", tool_call_id="c", tool_success=False)
    assert (result.role, result.tool_call_id, result.tool_success) == ("tool", "c", False)


def test_ids_are_made_in_the_order_of_time() -> None:
    """Messages without an id get UUIDv7s, which sort by time."""
    made = [Message.user("x").id for _ in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100


def test_arguments_as_text() -> None:
    """Text arguments are kept as they came, valid or not; objects are shown as JSON."""
    assert ToolCall("c", "f", '{"a": ').arguments_text == '{"a": '
    assert ToolCall("c", "f", {"b": 1, "a": "\ud800"}).arguments_text == '{"a":"\\ud800","b":1}'


@pytest.mark.parametrize("arguments", [{"a": [1, {}]}, '{"a": [1, {}]}', ' {"a":[1,{}]}'])
def test_arguments_as_a_dict(arguments: dict[str, object] | str) -> None:
    """However they were given, the arguments come as a dict of one's own."""
    call = ToolCall("c", "f", arguments)
    call.arguments_dict["a"].clear()
    assert call.arguments_dict == {"a": [1, {}]}


def test_no_arguments_are_an_empty_dict() -> None:
    """Some models write nothing for a tool without arguments."""
    assert ToolCall("c", "f", "").arguments_dict == ToolCall("c", "f").arguments_dict == {}


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "null", "\ud800", "[" * 100_000])
def test_arguments_that_are_no_dict(arguments: str) -> None:
    """What a model wrote wrongly is kept, and asking for it as a dict is an error that names the call."""
    with pytest.raises(InputError, match=r"call 'c7' of 'find'") as caught:
        _ = ToolCall("c7", "find", arguments).arguments_dict
    assert caught.value.hint


@given(st.binary(max_size=60))
def test_garbage_is_corrupt_and_nothing_else(body: bytes) -> None:
    """Bytes that are no message raise `StorageCorruptError`, never another error and never a message (G8)."""
    with pytest.raises(StorageCorruptError):
        from_body(body)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"role":"bot"}', b'{"role":"user","content":"\xff"}', b"null"])
def test_broken_bodies_are_corrupt(body: bytes) -> None:
    """Too deep, an unknown role, bad UTF-8 and other documents are all told as corrupt."""
    with pytest.raises(StorageCorruptError):
        from_body(body)


def test_fields_of_a_newer_release_are_skipped() -> None:
    """A body with a field that this release doesn't know is still readable (L96)."""
    body = b'{"id":"a","created_at":"2026-01-01T00:00:00Z","role":"user","content":"x","mood":"good"}'
    assert from_body(body).text == "x"


def test_a_system_message_has_its_text() -> None:
    """Instructions are kept as they are given."""
    assert Message.system("Be brief.").text == "Be brief."


def test_audio_without_a_transcript_has_no_text() -> None:
    """Parts without a text add nothing to a message's text."""
    assert Message(role="user", content=(AudioPart("a"), ImagePart("i"), TextPart("t"))).text == "t"


def test_only_a_tools_message_is_a_result() -> None:
    """A call's id on a message of another role doesn't make it a result."""
    assert not message.is_tool_result(Message(role="user", content="u", tool_call_id="c"))
    assert message.is_tool_result(Message.tool("r", tool_call_id="c"))


def test_frozen_metadata_is_shared() -> None:
    """Metadata that is frozen already isn't copied again."""
    one = Message.user("u", metadata={"k": [1]})
    assert Message.user("v", metadata=one.metadata).metadata is one.metadata


def test_a_text_that_would_come_back_as_another_is_refused() -> None:
    """Two halves of a sign beside one another are read back as the sign, which is another text."""
    with pytest.raises(InvalidMessageError, match="not be read back"):
        to_stored(Message.user("x\ud83d\ude00y"))
    assert from_body(to_stored(Message.user("x\ud83d y \ude00")).body).text == "x\ud83d y \ude00"


def test_what_is_more_than_a_message_is_refused() -> None:
    """The fields that a subclass adds would be lost."""

    class Tagged(Message, frozen=True, kw_only=True):
        tag: str = ""

    with pytest.raises(InvalidMessageError):
        to_stored(Tagged(role="user", content="x", tag="t"))


class _Text(str):
    __slots__ = ()


class _Moment(datetime):
    pass


class _Word(enum.StrEnum):
    user = "user"
    assistant = "assistant"
    system = "system"
    developer = "developer"
    tool = "tool"
    event = "event"


class _Settings(dict[str, Any]):
    pass


def _shuffled(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """An equal JSON value, made anew in another way: other objects, another order of keys, tuples for lists."""
    if isinstance(value, dict):
        return _Settings({_Text(key): _shuffled(value[key]) for key in reversed(value)})
    if isinstance(value, list):
        return tuple(_shuffled(item) for item in value)
    return _Text(value) if isinstance(value, str) else value


def _text(value: str | None) -> str | None:
    return value if value is None else _Text(value)


_AGAIN: dict[str, Callable[[Message], Message]] = {
    "pickled": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301 - our own bytes
    "copied": copy.copy,
    "deeply copied": copy.deepcopy,
    "read back": lambda one: from_body(to_stored(one).body),
    "converted": lambda one: msgspec.convert(msgspec.to_builtins(one), Message),
    "from lists": lambda one: msgspec.structs.replace(
        one,
        content=one.content if isinstance(one.content, str) else list(one.content),
        tool_calls=[ToolCall(call.id, call.name, _shuffled(call.arguments)) for call in one.tool_calls],
        metadata=_shuffled(one.metadata),
    ),
    "from subclasses": lambda one: msgspec.structs.replace(
        one,
        id=_Text(one.id),
        role=_Word(one.role),
        content=_Text(one.content) if isinstance(one.content, str) else one.content,
        tool_call_id=_text(one.tool_call_id),
        name=_text(one.name),
        reasoning=_text(one.reasoning),
        created_at=_Moment.combine(one.created_at.date(), one.created_at.time(), UTC),
        native=one.native and Native(_Text(one.native.format), bytearray(one.native.data)),  # type: ignore[arg-type]
    ),
    "in another zone": lambda one: msgspec.structs.replace(
        one, created_at=one.created_at.astimezone(timezone(timedelta(hours=5, minutes=45))).replace(fold=1)
    ),
    "with an empty object": lambda one: msgspec.structs.replace(one, metadata={**one.metadata}),
}
"""Ways to make an equal message."""


@pytest.mark.parametrize("way", _AGAIN)
@given(one=strategies.messages())
def test_L116_equal_messages_are_stored_alike(way: str, one: Message) -> None:
    """However a message was made again, it is equal, and so are its hash and its stored form (G4)."""
    again = _AGAIN[way](one)
    assert again == one
    assert to_stored(again).content_hash == to_stored(one).content_hash
    assert to_stored(again).body == to_stored(one).body


@given(strategies.messages(), st.sampled_from([0, 1, True, False, 0.0, 1.0, -0.0]), st.sampled_from([0, 1, True, 1.0]))
def test_L116_messages_with_different_hashes_are_not_equal(one: Message, first: object, second: object) -> None:
    """`1`, `1.0` and `True` are stored differently, so messages with one and another aren't equal."""
    mine, other = (msgspec.structs.replace(one, metadata={"a": [{"b": value}]}) for value in (first, second))
    assert (mine == other) is (to_stored(mine).content_hash == to_stored(other).content_hash)


@pytest.mark.parametrize("make", [dict, _Settings, lambda: copy.deepcopy(json.EMPTY), json.FrozenDict])
def test_L116_an_empty_object_is_the_default(make: Callable[[], dict[str, Any]]) -> None:
    """Metadata without keys is left out of what is stored, whichever object it is."""
    one = Message.user("x", metadata=make())
    assert one.metadata is json.EMPTY
    assert b"metadata" not in to_stored(one).body


def test_arguments_that_are_the_default_are_stored_alike() -> None:
    """Whether `{}` was left out or came from a model, the calls are equal and have one stored form."""
    left_out, given_ = ToolCall("c", "f"), ToolCall("c", "f", bytes([123, 125]).decode())
    assert left_out == given_
    assert (
        to_stored(Message.assistant("", [left_out])).content_hash
        == to_stored(Message.assistant("", [given_])).content_hash
    )


# --- native items


def test_a_native_item_that_is_text_is_stored_as_text() -> None:
    """A JSON event isn't blown up to base64; bytes come back as they were either way, NUL and all."""
    event = b'{"type":"response","text":"' + b"x" * 470 + b'"}'
    assert len(to_stored(Message.assistant("", native=Native("f", event))).body) < len(event) + 150
    for data in (event, b"", b"\0\xff\xfe", "é\0\U0001f600".encode()):
        one = Message.assistant("hi", native=Native("f", data))
        back = from_body(to_stored(one).body)
        assert back == one
        assert back.native is not None
        assert back.native.data == data
    assert Native("f", text="é") == Native("f", "é".encode())


def test_native_items_stored_as_base64_are_still_read() -> None:
    """The form of earlier rows stays readable."""
    body = b'{"id":"a","created_at":"2026-01-01T00:00:00Z","role":"user","native":{"format":"f","data":"AP8="}}'
    assert from_body(body).native == Native("f", b"\0\xff")
