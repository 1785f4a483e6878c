"""JSON on stdout: equal to what is stored, and nothing in it that a terminal obeys."""

import json

import pytest

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository
from tests.cli.support import Cli, conversation

CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
DIRECTIONS = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TEXT = f"é 🦊 שלום {CONTROLS}{DIRECTIONS} \ud800 end"


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """A session that has them in every place where text can be."""

    async def fill(sessions: SessionRepository) -> None:
        session = Session("a", title=TEXT, owner="team\u202e", metadata={TEXT: TEXT})
        session.add_message(Message.user(TEXT))
        await sessions.create(session)
        await sessions.ask("a", PendingQuestion("call", "ask", TEXT, options=(TEXT,)))

    cli.store(fill)
    return cli


@pytest.mark.parametrize(
    "args",
    [
        ("list", "--json"),
        ("list", "--json", "--all"),
        ("show", "a", "--json"),
        ("tail", "a", "--no-follow", "--json"),
        ("search", "end", "--json"),
        ("pin", "a", "--json"),
        ("export",),
    ],
    ids=" ".join,
)
def test_json_commands_no_terminal(filled: Cli, args: tuple[str, ...]) -> None:
    """Controls and marks of direction are escapes; all other text of any script is as it is."""
    out = filled.ok(*args).out
    assert not set(out) & (set(CONTROLS) - {"\n"} | set(DIRECTIONS))
    assert "\\u009b" in out
    assert "\\u202e" in out
    assert "é 🦊 שלום" in out


def test_escapes_are_equal_json(filled: Cli) -> None:
    """What is read from the JSON is the text that was stored, to the last character."""
    shown = filled.ok("show", "a", "--json").json
    assert shown["messages"][0]["content"] == TEXT
    assert shown["session"]["title"] == TEXT
    assert shown["session"]["metadata"] == {TEXT: TEXT}
    assert filled.ok("export").lines[0]["messages"][0]["content"] == TEXT


def test_on_a_terminal_too(cli: Cli) -> None:
    """What a terminal gets of JSON, `export` included, has no byte that begins a command."""
    cli.ok("import", "openai-chat", cli.write("in.jsonl", [conversation("a", "\x9b31m \u202e \x1b[31m")]))
    for args in (("show", "a", "--json"), ("export",)):
        out = cli.in_terminal(*args).out
        assert "\\u009b31m \\u202e \\u001b[31m" in out
        assert not set(out) & {"\x9b", "\u202e", "\x1b"}
        assert json.loads(out) is not None
