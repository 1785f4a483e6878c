import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain import limits, message
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


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), "2026-01-01", None])  # noqa: DTZ001 - naive on purpose
def test_a_time_without_zone_is_refused(moment: object) -> None:
    """A naive time would mean something else on each machine."""
    with pytest.raises(InvalidMessageError, match="time zone"):
        Message.user("x", created_at=moment)


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
        {"content": None},
        {"content": 5},
        {"content": b"x"},
        {"content": ("text",)},
        {"tool_calls": (ToolCall("c", 5),)},  # type: ignore[arg-type]
        {"tool_calls": (ToolCall("c", "f", [1]),)},  # type: ignore[arg-type]
        {"tool_calls": "no"},
        {"tool_calls": None},
        {"tool_call_id": 5},
        {"tool_success": "yes"},
        {"name": 1.5},
        {"native": Native("f", "text")},  # type: ignore[arg-type]
        {"id": ""},
        {"id": "a\nb"},
        {"id": "\ud800"},
        {"id": 5},
    ],
)
def test_L86_what_could_not_be_read_back_is_refused_before_it_is_written(fields: dict[str, object]) -> None:
    """A field of the wrong type is refused at the door, not found out when the session is loaded (L86)."""
    with pytest.raises(InvalidMessageError):
        to_stored(Message(**{"role": "user", **fields}))  # type: ignore[arg-type]


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
    one = Message(role="assistant", content=[TextPart("a")], tool_calls=[ToolCall("c", "f")])  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    "field",
    [
        {"id": _Text("m")},
        {"role": _Text("user")},
        {"content": _Text("x")},
        {"created_at": _Moment(2026, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_subclass_of_a_fields_type_is_refused(field: dict[str, Any]) -> None:
    """What JSON has no form for is said before anything is written, also in a message that is plain otherwise."""
    with pytest.raises(InvalidMessageError, match="can't be stored"):
        to_stored(Message(**{"role": "user", "content": "x", **field}))
