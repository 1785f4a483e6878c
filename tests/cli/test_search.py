"""`search`."""

import pytest

from bamboo_sessions import Message, SessionRepository
from tests.cli.support import Cli, conversation


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Two conversations, one with a title."""
    lines = [conversation("one", "Where is my order?", "Reordering it."), conversation("two", "订单 \x1b[31m", "Fine")]
    cli.ok("import", "openai-chat", cli.write("in.jsonl", lines))
    cli.ok("rename", "one", "A late parcel")
    return cli


def test_a_line_for_each_hit(filled: Cli) -> None:
    """Outside a terminal a hit is a line of fields with tabs between them, best first, and harmless."""
    lines = [line.split("\t") for line in filled.ok("search", "order").out.splitlines()]
    assert [(line[0], line[2], line[4]) for line in lines] == [
        ("one", "user", "Where is my order?"),
        ("one", "assistant", "Reordering it."),
    ]
    assert all(line[1] and line[3].endswith("Z") for line in lines)
    assert filled.ok("search", "parcel").out.split("\t")[1:3] == ["", "title"]
    assert "\x1b" not in filled.ok("search", "订单").out


def test_blocks_on_a_terminal(filled: Cli) -> None:
    """On a terminal each hit has title, id, role and age, and what matches is in colour."""
    outcome = filled.in_terminal("search", "order")
    assert "A late parcel  one  user" in outcome.bare
    assert "\x1b[1;33morder" in outcome.out


def test_a_session_that_is_not_there(filled: Cli) -> None:
    """A search in a session that isn't there is no search without hits: exit code 3, in JSON too."""
    for options in ((), ("--json",)):
        outcome = filled("search", "order", "--session", "three", *options)
        assert (outcome.code, outcome.out) == (3, "")
        assert f"There is no session 'three' in {filled.url}." in outcome.err
    filled.ok("delete", "--yes", "two")
    assert filled("search", "Fine", "--session", "two").code == 3
    assert filled.ok("search", "nowhere", "--session", "one").err.strip() == f"Nothing found in {filled.url}."


def test_nothing_found(filled: Cli) -> None:
    """Nothing found is no failure: exit code 0, a word on stderr, an empty list in JSON."""
    outcome = filled.ok("search", "nowhere")
    assert (outcome.out, outcome.err.strip()) == ("", f"Nothing found in {filled.url}.")
    assert filled.ok("search", "nowhere", "--json").json == {"hits": [], "has_more": False}


def test_json_and_more(filled: Cli) -> None:
    """JSON has the hits with their snippets in pieces; that there is more is said."""
    page = filled.ok("search", "order", "--json", "--limit", "1").json
    assert page["has_more"]
    assert page["hits"][0]["snippet"]["pieces"][1] == {"text": "order", "is_match": True}
    assert "--limit" in filled.ok("search", "order", "--limit", "1").err


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--role", "assistant"], 1),
        (["--session", "two"], 0),
        (["--since", "3d"], 2),
        (["--until", "2020-01-01"], 0),
        (["--since", "2020-01-01T10:00Z"], 2),
        (["--not-archived", "--kind", "root"], 2),
        (["--tools", "--archived"], 0),
    ],
)
def test_options(filled: Cli, options: list[str], count: int) -> None:
    """Each option narrows the search."""
    assert len(filled.ok("search", "order", *options).out.splitlines()) == count


def test_wrong_usage(filled: Cli) -> None:
    """No text, a wrong time, only a negation: exit code 2, and what to do."""
    for arguments in (
        ["search"],
        ["search", "x", "--since", "yesterday"],
        ["search", "x", "--since", "999999w"],
        ["search", "x", "--limit", "0"],
    ):
        assert filled(*arguments).code == 2
    outcome = filled("search", "--", "-draft")
    assert outcome.code == 2
    assert "only says what not to find" in outcome.err


def test_words_and_negations(filled: Cli) -> None:
    """Several arguments are one search; a negation goes after `--`."""
    assert len(filled.ok("search", "my", "order").out.splitlines()) == 1
    assert filled.ok("search", "--", "order", "-my").out.split("\t")[2] == "assistant"


def test_tool_results(cli: Cli) -> None:
    """`--tools` looks in results of tools, too."""

    async def fill(sessions: SessionRepository) -> None:
        await sessions.append("s", Message.tool("found it", tool_call_id="1"), create=True)

    cli.store(fill)
    assert cli.ok("search", "found").out == ""
    assert cli.ok("search", "found", "--tools").out.split("\t")[2] == "tool"
