"""`import` of formats that are named or guessed, and of files that OpenAI and others make."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.cli.formats.known import FORMATS, guessed
from tests.cli.support import Cli, conversation, with_tools

CALL = {"type": "tool_use", "id": "t1", "name": "get_order", "input": {"order": "A-7"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "shipped"}

LINES: dict[str, dict[str, Any]] = {
    "openai-chat": with_tools("openai-chat"),
    "openai-responses": {
        "id": "openai-responses",
        "instructions": "Be brief.",
        "items": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where is my order?"}]},
            {"type": "function_call", "call_id": "t1", "name": "get_order", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t1", "output": "shipped"},
        ],
    },
    "anthropic": {
        "id": "anthropic",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Where is my order?"},
            {"role": "assistant", "content": [CALL, {**CALL, "id": "t2"}]},
            {"role": "user", "content": [RESULT, {**RESULT, "tool_use_id": "t2"}]},
        ],
    },
    "gemini": {
        "id": "gemini",
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Where is my order?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "get_order", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "get_order", "response": {"ok": True}}}]},
        ],
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_guessed_and_read(cli: Cli, name: str) -> None:
    """Named or guessed, a conversation comes in with its instructions, calls and results; again, nothing changes."""
    path = cli.write("in.jsonl", [LINES[name]])
    assert guessed(LINES[name]) == name
    assert cli.ok("import", path, "--json").json["imported"] == 1
    for args in ((name, path), (path,)):
        assert cli.ok("import", *args, "--json").json["unchanged"] == 1
    messages = cli.ok("show", name, "--all", "--json").json["messages"]
    assert [message["role"] for message in messages[:2]] == ["system", "user"]
    assert {call["name"] for message in messages for call in message["tool_calls"]} >= {"get_order"}
    calls = {call["id"] for message in messages for call in message["tool_calls"]}
    assert {message["tool_call_id"] for message in messages if message["role"] == "tool"} == calls


def test_several_formats_in_one_file(cli: Cli) -> None:
    """Without a name each line is guessed on its own."""
    assert cli.ok("import", cli.write("in.jsonl", LINES.values()), "--json").json["imported"] == len(FORMATS)


def test_the_formats_are_listed(cli: Cli) -> None:
    """`--list-formats` needs no file."""
    listed = cli.ok("import", "--list-formats").out
    assert [line.split("\t")[0] for line in listed.splitlines()] == list(FORMATS)


def test_what_is_neither_format_nor_file(cli: Cli) -> None:
    """A mistyped format is told as one; a format without a file asks for it."""
    path = cli.write("in.jsonl", [conversation("a", "Hi")])
    outcome = cli("import", "openai", path)
    assert outcome.code == 2
    assert "'openai' is neither a format nor a file. --list-formats shows the formats." in outcome.err
    assert "Name a FILE to import openai-chat from" in cli("import", "openai-chat").err


def test_a_fine_tuning_file(cli: Cli) -> None:
    """Lines without ids, as OpenAI's fine-tuning takes them, come in once, however often they are imported."""
    lines = [{"messages": conversation("", "Hi", f"Hello {number}")["messages"]} for number in range(3)]
    path = cli.write("in.jsonl", [*lines, lines[0]])
    counts = cli.ok("import", path, "--json").json
    assert (counts["imported"], counts["unchanged"]) == (3, 1)
    assert cli.ok("import", path, "--json").json["unchanged"] == 4
    exported = cli.ok("export").lines
    assert [line["messages"] for line in exported] == [line["messages"] for line in lines]


def test_times_and_titles_are_used(cli: Cli) -> None:
    """An imported conversation stands at its time in the list, with its title; a later import doesn't rename it."""
    line = conversation("a", "Hi", title="Order 17", owner="ann", created_at="2025-03-01T12:00:00Z")
    path = cli.write("in.jsonl", [line])
    cli.ok("import", path)
    head = cli.ok("list", "--json").json["sessions"][0]
    assert (head["title"], head["owner"], head["updated_at"]) == ("Order 17", "ann", "2025-03-01T12:00:00Z")
    cli.ok("rename", "a", "Lost order")
    again = cli.ok("import", path)
    assert "keeps its own title" in again.err
    assert cli.ok("export").lines == [line | {"title": "Lost order"}]


def test_an_export_moves_times_titles_and_owners(cli: Cli) -> None:
    """What an agent wrote arrives in another store as it was, but for pins and questions."""

    async def fill(sessions: SessionRepository) -> None:
        session = await sessions.load_or_create("a", model="gpt-5.2")
        session.add_message(Message.user("Hello"))
        await sessions.save(session)
        await sessions.append("a", Message.assistant("Hi"))
        await sessions.rename("a", "Order 17")
        await sessions.set_owner("a", "ann")

    cli.store(fill)
    exported = cli.ok("export").out
    there = Cli(cli.folder / "there")
    there.folder.mkdir()
    there.ok("import", "-", stdin=exported)
    assert there.ok("export").out == exported
    before, after = (each.ok("show", "a", "--json").json for each in (cli, there))
    assert after["messages"] == before["messages"]
    for name in ("title", "owner", "created_at", "metadata", "model"):
        assert after["session"][name] == before["session"][name]


def test_a_pretty_document_is_one_error(cli: Cli) -> None:
    """A document over many lines is told in one sentence, with what to do."""
    path = cli.folder / "in.json"
    path.write_text(json.dumps([conversation(f"s{number}", "Hi") for number in range(100)], indent=2))
    outcome = cli("import", str(path))
    assert outcome.code == 1
    (error,) = [line for line in outcome.err.splitlines() if line.startswith("Error: ")]
    assert error.endswith(f"not a conversation on each line; rewrite it first: jq -c '.[]' {path}")
