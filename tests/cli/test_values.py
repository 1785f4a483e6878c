"""`set`, `unset`, `owner` and `truncate`."""

from __future__ import annotations

import json

import pytest

from bamboo_sessions import Session, SessionRepository
from tests.cli.support import Cli


@pytest.fixture(autouse=True)
def _session(cli: Cli) -> None:
    cli.ok("append", "--create", "a", "One", "--message-id", "m1")
    cli.ok("append", "a", "Two", "--message-id", "m2")


def _metadata(cli: Cli) -> object:
    return cli.ok("show", "a", "--json").json["session"]["metadata"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("high", "high"),
        ("42", 42),
        ("null", None),
        ('{"tokens": [1, true]}', {"tokens": [1, True]}),
        ("{broken", "{broken"),
        ("1e999", "1e999"),
    ],
)
def test_a_value_is_json_or_text(cli: Cli, given: str, stored: object) -> None:
    """What is JSON is stored as such, anything else as text; `--text` takes it as text in any case."""
    outcome = cli.ok("set", "a", "key", given)
    assert _metadata(cli) == {"key": stored}
    assert outcome.err == f"key is {json.dumps(stored)} now.\n"
    cli.ok("set", "a", "key", given, "--text")
    assert _metadata(cli) == {"key": given}


def test_a_value_is_a_person_s(cli: Cli) -> None:
    """G5: neither a value that was set nor one that was removed is undone by an agent that runs."""

    async def save(sessions: SessionRepository) -> None:
        copy = await sessions.get("a")
        await sessions.set_value("a", "key", "theirs")
        copy.metadata["key"] = "mine"
        await sessions.save(copy)

    cli.store(save)
    assert _metadata(cli) == {"key": "theirs"}
    head = cli.ok("unset", "a", "key", "--json").json
    assert (head["metadata"], head["metadata_version"]) == ({}, 2)
    assert cli("unset", "nobody", "key").code == 3


def test_a_session_changes_hands_with_its_tree(cli: Cli) -> None:
    """`owner` gives a session and what is below it to somebody, or to nobody."""
    cli.store(lambda sessions: sessions.create(Session("child", parent_session_id="a")))
    cli.ok("owner", "a", "ann")
    owned = cli.ok("list", "--owner", "ann", "--json").json["sessions"]
    assert {session["id"] for session in owned} == {"a", "child"}
    assert cli.ok("owner", "a", "--nobody", "--json").json["owner"] is None
    for args in (("owner", "a"), ("owner", "a", "ann", "--nobody"), ("owner", "a", "")):
        assert cli(*args).code == 2
    assert cli("owner", "nobody", "ann").code == 3


def test_the_end_of_a_conversation_is_removed(cli: Cli) -> None:
    """`truncate` removes what is behind a message, and says what is left; earlier revisions keep it."""
    assert cli.ok("truncate", "a", "m1").err == "1 message left, revision 3.\n"
    assert [message["id"] for message in cli.ok("show", "a", "--json").json["messages"]] == ["m1"]
    assert len(cli.ok("show", "a", "--revision", "2", "--json").json["messages"]) == 2
    assert cli("truncate", "a", "nothing").code == 3


def test_an_empty_text_is_not_appended(cli: Cli) -> None:
    """A text without a word is wrong usage, however it comes; a tool may have nothing to say."""
    for args, stdin in ((("",), None), ((" \n",), None), (("-",), "\n\n")):
        outcome = cli("append", "a", *args, stdin=stdin)
        assert outcome.code == 2
        assert "An empty text isn't appended." in outcome.err
    assert cli.ok("append", "a", "", "--tool-call-id", "call").err == "Appended; 3 messages now, revision 3.\n"


def test_appending_to_a_new_id_names_create(cli: Cli) -> None:
    """Whoever appends to an id that isn't there is told how to begin a session, and where it was looked for."""
    outcome = cli("append", "b", "Hello")
    assert outcome.code == 3
    assert outcome.err.startswith(f"Error: There is no session 'b' in {cli.url}.\nHint: ")
    assert "--create begins a new session" in outcome.err
