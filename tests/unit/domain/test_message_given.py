"""What a message may be made with: what is plain is taken, what isn't is refused with its place and the remedy."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given as generated

from bamboo_sessions import (
    AudioPart,
    FilePart,
    ImagePart,
    InputError,
    InvalidMessageError,
    Message,
    Part,
    TextPart,
    ToolCall,
)
from bamboo_sessions.testing import strategies


class Dumped:
    """An object of an SDK, as pydantic makes them."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields

    def model_dump(self) -> dict[str, object]:
        """What it says."""
        return self.fields


@pytest.mark.parametrize(
    "given",
    [
        {"id": "c", "name": "f", "arguments": "{}"},
        {"id": "c", "name": "f"},
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra": None},
        Dumped({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}),
    ],
)
def test_a_tool_call_that_is_plain_is_taken(given: object) -> None:
    """A dict of our fields, OpenAI's, or an object of its SDK: all of them say the same."""
    for calls in ([given], (given,)):
        one = Message.assistant(None, calls)  # type: ignore[arg-type]
        assert (one.content, one.tool_calls) == ("", (ToolCall("c", "f", "{}"),))
    assert Message.assistant("x", None).tool_calls == ()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("x", TextPart("x")),
        ({"type": "text", "text": "x"}, TextPart("x")),
        ({"type": "image", "url": "u", "detail": "low"}, ImagePart("u", detail="low")),
        ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, ImagePart("u", detail="low")),
        ({"type": "image_url", "image_url": "u"}, ImagePart("u")),
        ({"type": "file", "url": "u", "name": "n"}, FilePart("u", "n")),
        ({"type": "audio", "url": "u", "transcript": None}, AudioPart("u")),
    ],
)
def test_a_part_that_is_plain_is_taken(given: object, part: Part) -> None:
    """Texts and dicts that say what they are become parts."""
    assert Message.user([given]).content == (part,)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"content": ["a", 5]}, "Message.content[1] must be a part"),
        ({"content": [{"type": "text", "text": 5}]}, "Message.content[0].text must be text"),
        ({"content": ["a", {"type": "video"}]}, "Message.content[1] is of the type 'video'"),
        ({"tool_calls": [{"id": 5, "name": "f"}]}, "Message.tool_calls[0].id must be text"),
        ({"tool_calls": [{"id": "c", "name": "f", "args": {}}]}, "Message.tool_calls[0] has 'args'"),
        ({"tool_calls": [{"name": "f"}]}, "Message.tool_calls[0] has no 'id'"),
        (
            {"tool_calls": [{"id": "c", "name": "f", "arguments": {"a": [Decimal(1)]}}]},
            "Message.tool_calls[0].arguments.a[0] can't be stored",
        ),
        ({"metadata": {"order": {"lines": [{"amount": Decimal(1)}]}}}, "Message.metadata.order.lines[0].amount"),
    ],
)
def test_a_refusal_names_the_place_and_the_remedy(fields: dict[str, object], place: str) -> None:
    """However deep it is; and there is one error, not a chain of them."""
    with pytest.raises(InputError, match=re.escape(place)) as refused:
        Message(**{"role": "user", **fields})  # type: ignore[arg-type]
    assert refused.value.hint
    assert refused.value.__cause__ is None


def test_wrong_arguments_say_how_a_message_is_made() -> None:
    """Positional arguments, and fields that a message hasn't."""
    with pytest.raises(TypeError, match=r'Write Message\.user\("Hello"\), or Message\('):
        Message("user", "hi")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Message has no field 'metdata'"):
        Message.user("x", metdata={})  # type: ignore[call-arg]


def test_an_edit_by_replace() -> None:
    """`replace` keeps what it isn't given, checks what it is, and takes what a constructor takes."""
    one = Message.assistant("x", [ToolCall("c", "f")], metadata={"a": 1})
    other = one.replace(content=[TextPart("y")], metadata=None)
    assert (other.id, other.created_at, other.tool_calls) == (one.id, one.created_at, one.tool_calls)
    assert (other.content, other.metadata) == ((TextPart("y"),), {})
    with pytest.raises(InvalidMessageError):
        one.replace(role="bot")  # type: ignore[arg-type]


@generated(strategies.messages())
def test_a_message_goes_through_a_dict(one: Message) -> None:
    """`to_dict` gives plain JSON, `from_dict` the same message."""
    assert Message.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize(
    "wrong", [{"content": "x"}, {"role": "user", "contnt": "x"}, {"role": "user", "native": {}}, "x"]
)
def test_a_dict_that_is_no_message_is_refused(wrong: object) -> None:
    """With what is wrong with it."""
    with pytest.raises(InvalidMessageError) as refused:
        Message.from_dict(wrong)  # type: ignore[arg-type]
    assert refused.value.hint


def test_a_repr_is_one_short_line() -> None:
    """Fields that have their defaults are left out; long texts and many items are cut."""
    parts = [TextPart(f"{number} " * 1_000) for number in range(50)]
    one = Message.user(parts, id="a", created_at="2026-01-02T03:04:05Z", reasoning="a\nb" * 50_000)
    assert len(repr(one)) < 600
    assert "\n" not in repr(one)
    assert repr(one).startswith("Message(id='a', created_at=2026-01-02T03:04:05Z, role='user', content=(TextPart(")
    assert "… 47 more" in repr(one)
