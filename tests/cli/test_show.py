"""`show`."""

from datetime import UTC, datetime

from bamboo_sessions import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    PendingQuestion,
    QuestionOption,
    Session,
    SessionRepository,
    TextPart,
    ToolCall,
)
from tests.cli.support import Cli, conversation, with_tools


def _import(cli: Cli, *conversations: object) -> None:
    cli.ok("import", "openai-chat", cli.write("in.jsonl", conversations))


def test_tool_calls_are_folded(cli: Cli) -> None:
    """A call is one line: its name, its arguments, what came of it; its results don't appear again."""
    _import(cli, with_tools("a"))
    lines = cli.ok("show", "a").out.splitlines()
    assert '  → get_order({"order": "A-7"}) = {"status": "shipped"}' in lines
    assert '  → get_invoice({"order": "A-7"}) = (empty)' in lines
    assert not any(line.startswith("tool") for line in lines)
    assert lines[-1] == "  It was shipped yesterday."


def test_long_prompts_are_folded(cli: Cli) -> None:
    """A long system prompt shows its beginning only, unless everything or the tools are asked for."""
    _import(cli, with_tools("a"))
    assert "Rule 39." not in cli.ok("show", "a").out
    assert "more characters" in cli.ok("show", "a").out
    for option in ("--all", "--tools"):
        assert "Rule 39." in cli.ok("show", "a", option).out


def test_tools_unfolds(cli: Cli) -> None:
    """`--tools` shows ids, arguments and results in full, JSON with an item on each line."""
    _import(cli, with_tools("a"))
    out = cli.ok("show", "a", "--tools").out
    assert "→ get_order  call_get_order" in out
    assert '      "status": "shipped"' in out


def test_outcomes_of_calls(cli: Cli) -> None:
    """What is known of a call's outcome shows: done, failed, no result; and a result without a call."""

    async def fill(sessions: SessionRepository) -> None:
        calls = [ToolCall(name, name, {"n": 1}) for name in ("good", "bad", "gone", "asks")]
        session = Session("a")
        session.add_message(Message.assistant("Let me see.", tool_calls=calls))
        session.add_message(Message.tool("42", tool_call_id="good", tool_success=True))
        session.add_message(Message.tool("no such file", tool_call_id="bad", tool_success=False))
        session.add_message(Message.tool("late", tool_call_id="stranger"))
        session.set_pending_question(PendingQuestion("asks", "ask", "Really?"))
        await sessions.create(session)

    cli.store(fill)
    out = cli.ok("show", "a").out
    assert '→ good({"n":1}) ✓ 42' in out
    assert '→ bad({"n":1}) ✗ failed: no such file' in out
    assert '→ gone({"n":1}) … no result' in out
    assert '→ asks({"n":1}) … waits for an answer' in out
    assert "= late  (of stranger)" in out
    unfolded = cli.ok("show", "a", "--tools").out
    assert "… no result" in unfolded
    assert "= result of stranger" in unfolded


def test_reused_ids_of_calls(cli: Cli) -> None:
    """Providers reuse ids of calls: each result is shown with the call that it followed."""

    async def fill(sessions: SessionRepository) -> None:
        session = Session("a")
        for text in ("first", "second"):
            session.add_message(Message.assistant(tool_calls=[ToolCall("call_0", "f", text)]))
            session.add_message(Message.tool(f"{text} result", tool_call_id="call_0"))
        await sessions.create(session)

    cli.store(fill)
    lines = cli.ok("show", "a").out.splitlines()
    assert lines[-2:] == ["  → f(first) = first result", "  → f(second) = second result"]


def test_the_pending_question_comes_first(cli: Cli) -> None:
    """What an agent asks stands on top, with its options and how to answer."""

    async def fill(sessions: SessionRepository) -> None:
        await sessions.create(Session("a", title="Refund"))
        options = ("full", QuestionOption("half", "one half"))
        await sessions.ask("a", PendingQuestion("call", "ask", "How much?", options=options, source="billing", id="q1"))

    cli.store(fill)
    out = cli.ok("show", "a").out
    head, question = out.index("Refund"), out.index("How much?")
    assert head < question < out.index("• full") < out.index("• one half") < out.index("or any other text")
    assert "question q1 · billing" in out
    assert "bamboo-sessions answer a TEXT" in out
    document = cli.ok("show", "a", "--json").json["session"]
    assert document["pending_question"]["question"] == "How much?"
    assert document["has_question"] is True


def test_the_newest_messages(cli: Cli) -> None:
    """Without `--all` the newest messages are shown, and it is said that there are earlier ones."""
    _import(cli, conversation("a", *(f"Text {number}" for number in range(1, 121))))
    out = cli.ok("show", "a").out
    assert "Text 71\n" in out
    assert "Text 70\n" not in out
    assert "earlier messages are left out" in out
    everything = cli.ok("show", "a", "--all").out
    assert "Text 1\n" in everything
    assert "left out" not in everything
    document = cli.ok("show", "a", "--limit", "3", "--json").json
    assert [message["content"] for message in document["messages"]] == ["Text 118", "Text 119", "Text 120"]
    assert document["has_earlier"] is True


def test_a_limit_above_a_page(cli: Cli) -> None:
    """More messages than a page holds are read page by page, in order and without gaps."""
    _import(cli, conversation("a", *(str(number) for number in range(2_500))))
    for args, first in ((("--limit", "2400"), 100), (("--all", "--revision", "1"), 0)):
        messages = cli.ok("show", "a", "--json", *args).json["messages"]
        assert [message["content"] for message in messages] == [str(number) for number in range(first, 2_500)]


def test_an_earlier_revision(cli: Cli) -> None:
    """`--revision` shows the messages as they were; one that never was is wrong usage."""
    cli.ok("append", "--create", "a", "One")
    cli.ok("append", "a", "Two")
    messages = cli.ok("show", "a", "--revision", "1", "--json").json["messages"]
    assert [message["content"] for message in messages] == ["One"]
    assert cli("show", "a", "--revision", "9").code == 2


def test_the_model_view(cli: Cli) -> None:
    """`--model-view` leaves out what can't be sent to a model."""
    cli.ok("append", "--create", "a", "Hello")
    cli.ok("append", "a", "The run began.", "--role", "event")
    cli.ok("append", "a", "Still there?")
    view = cli.ok("show", "a", "--model-view", "--json").json
    assert [message["content"] for message in view["messages"]] == ["Hello", "Still there?"]
    newest = cli.ok("show", "a", "--model-view", "--limit", "1", "--json").json
    assert [message["content"] for message in newest["messages"]] == ["Still there?"]
    assert newest["has_earlier"] is True


def test_parts_and_thinking(cli: Cli) -> None:
    """Images, files and recordings show their address, thinking its beginning."""

    async def fill(sessions: SessionRepository) -> None:
        session = Session("a")
        parts = (
            TextPart("Look:"),
            ImagePart("https://example.org/cat.png"),
            FilePart("file:///report.pdf"),
            AudioPart("https://example.org/a.mp3", transcript="Meow."),
        )
        session.add_message(Message.user(parts))
        session.add_message(Message.assistant("A cat.", reasoning="It meows, so…", name="vision"))
        await sessions.create(session)

    cli.store(fill)
    out = cli.ok("show", "a").out
    for text in ("Look:", "[image] https://example.org/cat.png", "[file] file:///report.pdf", "[audio] ", "Meow."):
        assert text in out
    assert "thinking: It meows, so…" in out
    assert "assistant vision" in out


def test_where_a_session_comes_from(cli: Cli) -> None:
    """A fork names its original, a child its parent."""

    async def fill(sessions: SessionRepository) -> None:
        root = await sessions.create(Session("root", owner="ann"))
        await sessions.create(root.new_child("child"))
        await sessions.fork("root", new_id="twin")

    cli.store(fill)
    assert "child of root" in cli.ok("show", "child").out
    assert "fork of root" in cli.ok("show", "twin").out
    assert "owner ann" in cli.ok("show", "root").out
    assert "No messages." in cli.ok("show", "root").out


def test_a_terminal_can_not_be_commanded(cli: Cli) -> None:
    """Control characters in what is stored are shown, never sent: neither by `show` nor by `list`."""
    cli.ok("append", "--create", "a", "red: \x1b[31m, bell: \x07, null: \x00, half: \ud83d, c1: \x9b31m")
    cli.ok("rename", "a", "\x1b]0;owned\x07")
    for outcome in (cli.ok("show", "a"), cli.ok("list"), cli.in_terminal("show", "a")):
        assert "\x1b[31m" not in outcome.out
        assert not {"\x1b", "\x07", "\x00", "\x9b"} & set(outcome.bare)
    assert "red: ␛[31m, bell: ␇, null: ␀, half: \N{REPLACEMENT CHARACTER}" in cli.ok("show", "a").out


def test_json_is_lossless(cli: Cli) -> None:
    """L94: NUL and lone surrogates come through `--json` as they are."""
    text = "null: \x00, half: \ud83d, whole: 🦊"
    cli.ok("append", "--create", "a", text)
    assert cli.ok("show", "a", "--json").json["messages"][0]["content"] == text


def test_the_native_item_is_part_of_the_json(cli: Cli) -> None:
    """`--json` shows what is kept of an imported item."""
    _import(cli, {"id": "a", "messages": [{"role": "user", "content": "Hi", "weight": 1}]})
    native = cli.ok("show", "a", "--json").json["messages"][0]["native"]
    assert native == {"format": "openai-chat", "data": '{"role":"user","content":"Hi","weight":1}'}


def test_text_is_wrapped_on_a_terminal_only(cli: Cli) -> None:
    """A terminal gets lines that fit it; a pipe gets each line whole, so that grep finds it."""
    cli.ok("append", "--create", "a", "word " * 60)
    assert any(len(line) > 200 for line in cli.ok("show", "a").out.splitlines())
    terminal = cli.in_terminal("show", "a", columns=60, environment={"NO_COLOR": "1"}).bare
    assert all(len(line.rstrip()) <= 60 for line in terminal.splitlines())


def test_times_are_shown(cli: Cli) -> None:
    """Each speaker has the time of the message: in UTC, and on a terminal in the zone of the user, which is named."""
    when = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)

    async def fill(sessions: SessionRepository) -> None:
        session = Session("a")
        session.add_message(Message.user("Hello", created_at=when))
        await sessions.create(session)

    cli.store(fill)
    assert "user  2026-03-01T12:30:05Z\n" in cli.ok("show", "a").out
    shown = cli.in_terminal("show", "a", environment={"TZ": "Europe/Berlin"}).bare
    assert "user  2026-03-01 13:30:05 CET" in shown


def test_ids_are_shown(cli: Cli) -> None:
    """With `--ids` each message has its id, on the line of its speaker."""
    cli.ok("append", "--create", "a", "Hello", "--message-id", "m1")
    assert "m1" not in cli.ok("show", "a").out
    assert cli.ok("show", "a", "--ids").out.splitlines()[3].endswith("Z  m1")


def test_messages_stand_apart(cli: Cli) -> None:
    """There is an empty line before each speaker, on a terminal as elsewhere."""
    cli.ok("append", "--create", "a", "Hello")
    cli.ok("append", "a", "Anybody there?")
    for shown in (cli.in_terminal("show", "a").bare, cli.ok("show", "a").out):
        lines = shown.splitlines()
        speakers = [number for number, line in enumerate(lines) if line.startswith("user ")]
        assert [lines[number - 1] for number in speakers] == ["", ""]
