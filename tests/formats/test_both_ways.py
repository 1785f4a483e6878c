"""The formats of providers: what goes in comes out, and what can be sent is what the provider takes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import ImagePart, InputError, Message, TextPart, ToolCall
from bamboo_sessions.domain.message import from_body, to_stored
from bamboo_sessions.formats import anthropic, gemini, instructions, openai_chat, openai_responses
from tests.formats.strategies import ANTHROPIC, CHAT, GEMINI, RESPONSES

ALL = [(openai_chat, CHAT), (openai_responses, RESPONSES), (anthropic, ANTHROPIC), (gemini, GEMINI)]
MODULES = pytest.mark.parametrize("module", [module for module, _ in ALL], ids=lambda module: module.FORMAT)
FORMATS = pytest.mark.parametrize(("module", "items"), ALL, ids=[module.FORMAT for module, _ in ALL])


def _stored(messages: list[Message]) -> list[Message]:
    return [from_body(to_stored(message).body) for message in messages]


@FORMATS
@given(data=st.data())
def test_what_goes_in_comes_out(
    module: ModuleType, items: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    """Any items, with parts that nobody understands among them, come back as equal JSON after being stored."""
    given_items = data.draw(st.lists(items, max_size=5))
    assert module.from_messages(_stored(module.to_messages(given_items))) == given_items


@FORMATS
@given(data=st.data())
def test_what_other_frameworks_stored_can_be_written_and_read(
    module: ModuleType, items: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    """Messages without their native form are written canonically, and reading that again writes the same."""
    messages = module.to_messages(data.draw(st.lists(items, max_size=5)))
    written = module.from_messages([msgspec.structs.replace(message, native=None) for message in messages])
    assert module.from_messages(module.to_messages(written)) == written


CALL_F, CALL_G = ToolCall("1", "f", '{"x": 1}'), ToolCall("2", "g", {})
PARALLEL = [
    Message.system("Be brief."),
    Message.user("Both, please."),
    Message.assistant("One moment.", [CALL_F, CALL_G]),
    Message.tool("one", tool_call_id="1", name="f", tool_success=True),
    Message.tool("two", tool_call_id="2", name="g"),
    Message.assistant("Here you are."),
]


def test_anthropic_gets_alternating_turns_with_all_results_in_one() -> None:
    """Anthropic wants every result of a turn's calls in the user's turn right behind it."""
    assert anthropic.for_model(PARALLEL) == [
        {"role": "user", "content": "Both, please."},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "One moment."},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "one", "is_error": False},
                {"type": "tool_result", "tool_use_id": "2", "content": "two"},
            ],
        },
        {"role": "assistant", "content": "Here you are."},
    ]
    assert instructions(PARALLEL) == "Be brief."


def test_gemini_gets_results_by_name_in_one_turn() -> None:
    """Gemini wants one response for each call, in the turn behind it."""
    assert gemini.for_model(PARALLEL)[1:3] == [
        {
            "role": "model",
            "parts": [
                {"text": "One moment."},
                {"functionCall": {"id": "1", "name": "f", "args": {"x": 1}}},
                {"functionCall": {"id": "2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "f", "response": {"result": "one"}}},
                {"functionResponse": {"id": "2", "name": "g", "response": {"result": "two"}}},
            ],
        },
    ]


def test_gemini_calls_without_ids_find_their_results() -> None:
    """Two calls of one name without ids get ids of their own, and each result the id of its call."""
    call = {"functionCall": {"name": "f", "args": {}}}
    messages = gemini.to_messages(
        [
            {"role": "model", "parts": [call, call]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "f", "response": {"result": "one"}}},
                    {"functionResponse": {"name": "f", "response": {"result": "two"}}},
                ],
            },
        ]
    )
    assert [message.tool_call_id for message in messages[1:]] == [call.id for call in messages[0].tool_calls]
    assert len({call.id for call in messages[0].tool_calls}) == 2


def test_openai_chat_gets_the_calls_of_a_group_in_one_item() -> None:
    """Parallel calls that were stored as messages of their own are sent as one item, their results behind it."""
    items = openai_chat.for_model(
        [
            Message.user("Both, please."),
            Message.assistant("First,", [CALL_F]),
            Message.assistant("then", [CALL_G]),
            Message.tool("one", tool_call_id="1"),
            Message.tool("two", tool_call_id="2"),
        ]
    )
    assert [item["role"] for item in items] == ["user", "assistant", "tool", "tool"]
    assert items[1]["content"] == "First,\nthen"
    assert [call["id"] for call in items[1]["tool_calls"]] == ["1", "2"]


def test_calls_of_openais_first_years_are_calls() -> None:
    """`function_call` has no id; its answer by the role `function` is its result, and is shown to models as such."""
    items = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "rain"},
    ]
    messages = openai_chat.to_messages(items)
    assert [call.name for call in messages[1].tool_calls] == ["weather"]
    assert messages[2].tool_call_id == messages[1].tool_calls[0].id
    assert [item["role"] for item in anthropic.for_model(messages)] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "No.", "data": "aGk="}},
    ],
)
def test_what_openai_says_otherwise_is_text(item: dict[str, Any]) -> None:
    """A refusal and the transcript of a spoken answer can be read and searched, and come back as they were."""
    (message,) = openai_chat.to_messages([item])
    assert message.text == "No."
    assert openai_chat.from_messages([message]) == [item]


def test_responses_are_one_message_and_keep_their_reasoning() -> None:
    """What the model gave in one go is one message; the reasoning's id and signature are kept by the convention."""
    items = [
        {"role": "user", "content": "hi"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Greet."}],
            "encrypted_content": "gAAA",
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "done"},
    ]
    user, response, result = openai_responses.to_messages(items)
    assert user.native is None
    assert (response.content, response.reasoning, response.tool_calls) == ("Hello.", "Greet.", (ToolCall("1", "f"),))
    assert response.metadata["reasoning"] == {"provider": "openai", "id": "rs_1", "signature": "gAAA"}
    assert (result.role, result.content, result.tool_call_id) == ("tool", "done", "1")


@pytest.mark.parametrize(
    ("module", "item", "unknown"),
    [
        (anthropic, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "1"}]}, "server_tool_use"),
        (openai_responses, {"type": "time_travel_call", "year": 1885}, "time_travel_call"),
        (gemini, {"role": "model", "parts": [{"executableCode": {"code": "1"}}]}, "executableCode"),
    ],
)
def test_what_is_not_understood_is_named(module: ModuleType, item: dict[str, Any], unknown: str) -> None:
    """A part that this release doesn't know is kept in the native form, and named where people and programs look."""
    (message,) = module.to_messages([item])
    assert message.metadata["not_understood"] == [unknown]
    assert module.from_messages([message]) == [item]


@MODULES
def test_an_edited_message_is_written_anew(module: ModuleType) -> None:
    """The native form is only used while it says what the message says."""
    items = {
        "openai-chat": {"role": "user", "content": "old", "x": 1},
        "anthropic": {"role": "user", "content": [{"type": "text", "text": "old", "cache_control": {}}]},
        "openai-responses": {"role": "user", "content": [{"type": "input_text", "text": "old", "x": 1}]},
        "gemini": {"role": "user", "parts": [{"text": "old", "videoMetadata": {}}]},
    }
    (message,) = module.to_messages([items[module.FORMAT]])
    assert module.from_messages([message]) == [items[module.FORMAT]]
    (written,) = module.from_messages([msgspec.structs.replace(message, content="new")])
    assert "new" in str(written)
    assert "old" not in str(written)


class _Dumped:
    """As objects of the providers' SDKs are."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item

    def model_dump(self, **_: object) -> dict[str, Any]:
        return self.item


@MODULES
def test_objects_of_sdks_are_read_by_their_dump(module: ModuleType) -> None:
    """An SDK's object can be handed over as it is."""
    item = {"gemini": {"role": "user", "parts": [{"text": "hi"}]}}.get(module.FORMAT, {"role": "user", "content": "hi"})
    (message,) = module.to_messages([_Dumped(item)])
    assert message.text == "hi"


@MODULES
@pytest.mark.parametrize("item", [None, 1, "hi", [{"role": "user"}]])
def test_what_is_no_item_is_refused(module: ModuleType, item: object) -> None:
    """Bad input is named, and nothing is guessed."""
    with pytest.raises(InputError, match="An item of a conversation is a JSON object"):
        module.to_messages([item])


@pytest.mark.parametrize("module", [anthropic, gemini], ids=lambda module: module.FORMAT)
def test_an_unknown_role_is_refused_with_the_remedy(module: ModuleType) -> None:
    """Instructions have another place there, and the error says which."""
    with pytest.raises(InputError, match="'system'") as raised:
        module.to_messages([{"role": "system", "content": "x"}])
    assert "system" in (raised.value.hint or "")


@MODULES
def test_a_conversation_begun_elsewhere_goes_on(module: ModuleType) -> None:
    """Texts, images, calls and results cross over; another provider's native form isn't sent."""
    begun = openai_responses.to_messages(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low", "x": 1},
                ],
            },
            {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"closely": true}', "id": "fc_1"},
            {"type": "function_call_output", "call_id": "1", "output": "a cat"},
        ]
    )
    image = begun[0].content[1]
    assert isinstance(image, ImagePart)
    there = module.to_messages(module.for_model(begun))
    assert there[0].content[0] == TextPart("What is this?")
    assert isinstance(there[0].content[1], ImagePart)
    assert there[0].content[1].url == image.url
    assert [(call.id, call.name) for call in there[1].tool_calls] == [("1", "look")]
    assert (there[2].text, there[2].tool_call_id) == ("a cat", "1")


@MODULES
@pytest.mark.parametrize(
    ("begun_in", "items"),
    [
        (
            anthropic,
            [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": id_, "name": "look", "input": {}} for id_ in ("1", "2")],
                },
                {
                    "role": "user",
                    "content": [
                        *({"type": "tool_result", "tool_use_id": id_, "content": f"cat {id_}"} for id_ in ("1", "2")),
                        {"type": "text", "text": "Which is mine?"},
                    ],
                },
            ],
        ),
        (
            gemini,
            [
                {
                    "role": "model",
                    "parts": [{"functionCall": {"id": id_, "name": "look", "args": {}}} for id_ in ("1", "2")],
                },
                {
                    "role": "user",
                    "parts": [
                        *(
                            {"functionResponse": {"id": id_, "name": "look", "response": {"result": f"cat {id_}"}}}
                            for id_ in ("1", "2")
                        ),
                        {"text": "Which is mine?"},
                    ],
                },
            ],
        ),
    ],
    ids=["anthropic", "gemini"],
)
def test_all_of_a_turn_crosses_over(begun_in: ModuleType, items: list[dict[str, Any]], module: ModuleType) -> None:
    """A turn that is one item there and several messages here is written as a whole, whatever the format."""
    there = module.to_messages(module.from_messages(begun_in.to_messages(items)))
    assert [message.tool_call_id for message in there if message.role == "tool"] == ["1", "2"]
    assert there[-1].text == "Which is mine?"
