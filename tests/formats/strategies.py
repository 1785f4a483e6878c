"""Items of providers, sensible and broken ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(), max_size=12)  # lone surrogates and NUL included
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2))
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object of a type, with fields."""
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


ANTHROPIC_SAID = st.one_of(
    block("text", text=TEXT),
    block("image", source=block("url", url=TEXT)),
    block("image", source=block("base64", media_type=st.just("image/png"), data=st.just("aGk="))),
    block("document", source=block("url", url=TEXT), title=TEXT),
    block("search_result", content=JSON),
)
ANTHROPIC = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": TEXT}),
    st.fixed_dictionaries(
        {
            "role": st.just("user"),
            "content": st.lists(
                ANTHROPIC_SAID
                | block("tool_result", tool_use_id=TEXT, content=TEXT | st.lists(ANTHROPIC_SAID, max_size=2))
                | block("tool_result", tool_use_id=TEXT, content=TEXT, is_error=st.booleans()),
                max_size=4,
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": TEXT
            | st.lists(
                block("text", text=TEXT)
                | block("thinking", thinking=TEXT, signature=TEXT)
                | block("redacted_thinking", data=TEXT)
                | block("tool_use", id=TEXT, name=TEXT, input=OBJECT),
                max_size=4,
            ),
        }
    ),
)

RESPONSES_PARTS = st.lists(
    st.one_of(
        block("input_text", text=TEXT),
        block("output_text", text=TEXT, annotations=JSON),
        block("refusal", refusal=TEXT),
        block("input_image", image_url=TEXT, detail=st.just("low")),
        block("input_file", file_id=TEXT),
        block("input_hologram", data=JSON),
    ),
    max_size=3,
)
RESPONSES = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": TEXT | RESPONSES_PARTS},
        optional={"type": st.just("message"), "id": TEXT, "status": TEXT},
    ),
    block("function_call", call_id=TEXT, name=TEXT, arguments=TEXT, id=TEXT),
    block("custom_tool_call", call_id=TEXT, name=TEXT, input=TEXT),
    block("function_call_output", call_id=TEXT, output=TEXT | RESPONSES_PARTS),
    block("reasoning", id=TEXT, summary=st.lists(block("summary_text", text=TEXT), max_size=2), encrypted_content=TEXT),
    block("web_search_call", id=TEXT, action=JSON),
    block("time_travel_call", id=TEXT, year=JSON),
)

GEMINI_PARTS = st.one_of(
    st.fixed_dictionaries({"text": TEXT}),
    st.fixed_dictionaries({"text": TEXT, "thought": st.just(True)}),
    st.fixed_dictionaries({"text": TEXT, "thoughtSignature": TEXT}),
    st.fixed_dictionaries(
        {
            "functionCall": st.fixed_dictionaries(
                {"name": st.sampled_from("fg"), "args": OBJECT}, optional={"id": st.sampled_from("12")}
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "functionResponse": st.fixed_dictionaries(
                {"name": st.sampled_from("fg"), "response": OBJECT}, optional={"id": st.sampled_from("12")}
            )
        }
    ),
    st.fixed_dictionaries(
        {"inlineData": st.fixed_dictionaries({"mimeType": st.just("audio/wav"), "data": st.just("aGk=")})}
    ),
    st.fixed_dictionaries({"executableCode": JSON}),
)
GEMINI = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "model"]), "parts": st.lists(GEMINI_PARTS, max_size=4)},
)

CHAT_PARTS = st.lists(
    st.one_of(
        block("text", text=TEXT),
        block("image_url", image_url=st.fixed_dictionaries({"url": TEXT}, optional={"detail": st.just("low")})),
        block("input_audio", input_audio=st.fixed_dictionaries({"data": TEXT, "format": st.just("wav")})),
        block("file", file=st.fixed_dictionaries({"file_id": TEXT})),
        block("smell", data=JSON),
    ),
    max_size=3,
)
CHAT_FUNCTION = st.fixed_dictionaries({"name": TEXT, "arguments": TEXT})
CHAT = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "function"]), "content": TEXT | CHAT_PARTS},
    optional={
        "tool_calls": st.lists(block("function", id=TEXT, function=CHAT_FUNCTION), max_size=2),
        "tool_call_id": TEXT,
        "name": TEXT,
        "refusal": TEXT | st.none(),
        "function_call": CHAT_FUNCTION,
        "audio": st.fixed_dictionaries({"id": TEXT, "transcript": TEXT}),
        "annotations": JSON,
    },
)
