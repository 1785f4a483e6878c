"""append, answer, rename, pin, archive, fork and delete."""

from typing import Any

import pytest

from bamboo_sessions import PendingQuestion, Session, SessionRepository
from tests.cli.support import Cli


def _ask(cli: Cli, *, allow_custom: bool = False) -> None:
    async def fill(sessions: SessionRepository) -> None:
        await sessions.create(Session("a"))
        options = ("yes", "no")
        await sessions.ask(
            "a", PendingQuestion("call", "ask", "Go?", options=options, allow_custom=allow_custom, id="q")
        )

    cli.store(fill)


def _messages(cli: Cli) -> list[Any]:
    messages: list[Any] = cli.ok("show", "a", "--json", "--all").json["messages"]
    return messages


def test_append(cli: Cli) -> None:
    """`append` adds a message and says how many there are; nothing goes to stdout."""
    outcome = cli.ok("append", "--create", "a", "Hello", "--model", "gpt-5.2")
    assert (outcome.out, outcome.err) == ("", "Appended; 1 message now, revision 1.\n")
    assert cli.ok("show", "a", "--json").json["session"]["model"] == "gpt-5.2"
    appended = cli.ok("append", "a", "Hi!", "--role", "assistant", "--json").json
    assert (appended["revision"], appended["message_count"], appended["duplicates"]) == (2, 2, [])
    assert [(message["role"], message["content"]) for message in _messages(cli)] == [
        ("user", "Hello"),
        ("assistant", "Hi!"),
    ]


def test_append_a_result(cli: Cli) -> None:
    """With a tool call's id the message is its result."""
    cli.ok("append", "--create", "a", "42", "--tool-call-id", "call")
    assert [(message["role"], message["tool_call_id"]) for message in _messages(cli)] == [("tool", "call")]


def test_append_again_changes_nothing(cli: Cli) -> None:
    """G4: the same message id and text again is a no-op; other text under that id is refused."""
    cli.ok("append", "--create", "a", "Hello", "--message-id", "m1")
    assert "nothing was changed" in cli.ok("append", "a", "Hello", "--message-id", "m1").err
    assert cli("append", "a", "Bye", "--message-id", "m1").code == 1
    assert len(_messages(cli)) == 1


@pytest.mark.parametrize(("given", "kept"), [("Hello\n", "Hello"), ("a\r\nb\r\n", "a\r\nb"), ("x\n\n", "x\n")])
def test_append_from_stdin(cli: Cli, given: str, kept: str) -> None:
    """`-` reads the text from stdin, less the one line end that `echo` adds."""
    cli.ok("append", "--create", "a", "-", stdin=given)
    assert _messages(cli)[0]["content"] == kept


@pytest.mark.parametrize("given", [b"", b"\xff\xfe"])
def test_append_of_no_text(cli: Cli, given: bytes) -> None:
    """Nothing on stdin, or what isn't text, is wrong usage, and no session is made."""
    assert cli("append", "--create", "a", "-", stdin=given).code == 2
    assert cli("show", "a").code == 3


def test_a_text_that_begins_with_a_dash(cli: Cli) -> None:
    """Behind `--` a text may begin with a dash."""
    cli.ok("append", "--create", "a", "--", "-5 degrees")
    assert _messages(cli)[0]["content"] == "-5 degrees"


def test_answer_the_pending_question(cli: Cli) -> None:
    """G6: the pending question is answered once; the result stands behind its call."""
    _ask(cli)
    cli.ok("answer", "a", "yes")
    assert [(message["content"], message["tool_call_id"]) for message in _messages(cli)] == [("yes", "call")]
    for late in (cli("answer", "a", "no"), cli("answer", "a", "no", "--question", "q")):
        assert (late.code, late.err.splitlines()[0]) == (
            1,
            "Error: Question 'q' of session 'a' was answered already; that answer stands.",
        )


def test_nothing_was_asked(cli: Cli) -> None:
    """An answer to a session without any question is "not found"."""
    cli.ok("append", "--create", "a", "Hello")
    assert cli("answer", "a", "yes").code == 3


def test_repeating_an_answer(cli: Cli) -> None:
    """Repeating an answer by the question's id, or by one's own key, succeeds and changes nothing."""
    _ask(cli, allow_custom=True)
    first = cli.ok("answer", "a", "-", "--question", "call", "--answer-id", "k", "--json", stdin="perhaps\n").json
    again = cli.ok("answer", "a", "perhaps", "--question", "q", "--answer-id", "k", "--json").json
    assert again["revision"] == first["revision"]
    assert cli.ok("answer", "a", "perhaps", "--answer-id", "k", "--json").json["revision"] == first["revision"]


def test_an_answer_that_is_not_offered(cli: Cli) -> None:
    """An answer that isn't among the options fails, shows them, and leaves the question open."""
    _ask(cli)
    outcome = cli("answer", "a", "perhaps")
    assert outcome.code == 1
    assert "Hint: Answer with one of: yes, no." in outcome.err
    assert cli.ok("show", "a", "--json").json["session"]["has_question"] is True


def test_what_people_set(cli: Cli) -> None:
    """Title, pin and archive are set and taken back; `--json` shows the session afterwards."""
    cli.ok("append", "--create", "a", "Hello")
    assert cli.ok("rename", "a", "Lost order", "--json").json["title"] == "Lost order"
    assert cli.ok("pin", "a", "--json").json["pinned"] is True
    assert cli.ok("unpin", "a", "--json").json["pinned"] is False
    assert cli.ok("archive", "a", "--json").json["archived"] is True
    head = cli.ok("unarchive", "a", "--json").json
    assert (head["archived"], head["metadata_version"]) == (False, 5)
    assert cli.ok("rename", "a", "Found").err == "Renamed to “Found”.\n"
    assert cli("rename", "a", " ").code == 2


def test_fork(cli: Cli) -> None:
    """`fork` prints the new id only; the fork has the history up to the message that is named."""
    cli.ok("append", "--create", "a", "One", "--message-id", "m1")
    cli.ok("append", "a", "Two")
    fresh = cli.ok("fork", "a").out.strip()
    assert len(cli.ok("show", fresh, "--json").json["messages"]) == 2
    assert cli.ok("fork", "a", "--new-id", "b", "--at-message", "m1").out == "b\n"
    assert [message["content"] for message in cli.ok("show", "b", "--json").json["messages"]] == ["One"]
    assert cli.ok("fork", "a", "--new-id", "c", "--at-revision", "1", "--json").json["message_count"] == 1
    assert cli("fork", "a", "--new-id", "b").code == 1
    assert cli("fork", "a", "--at-revision", "9").code == 2


def test_delete(cli: Cli) -> None:
    """G9: `delete` removes what is there and says what isn't; only if nothing was there it is exit code 3."""
    for name in ("a", "b", "c"):
        cli.ok("append", "--create", name, "Hello")
    outcome = cli.ok("delete", "a", "nope", "a")
    assert outcome.err == f"Deleted 1 session.\nNote: There is no session 'nope' in {cli.url}.\n"
    assert cli.ok("delete", "b", "c", "--yes", "--json").json == {"deleted": ["b", "c"], "not_found": []}
    assert cli("delete", "a", "b").code == 3
    assert cli("append", "a", "Hello", "--create").code == 1


def test_delete_asks_on_a_terminal(cli: Cli) -> None:
    """On a terminal `delete` says what goes, and goes on only after a yes, or with `--yes`."""
    cli.ok("append", "--create", "a", "Hello")
    refused = cli.in_terminal("delete", "a", typed="n\n")
    assert refused.code == 1
    assert "a, 1 message" in refused.out
    assert "Nothing was deleted." in refused.out
    assert cli.in_terminal("delete", "a", typed="y\n").code == 0
    assert cli("show", "a").code == 3
    cli.ok("append", "--create", "b", "Hello")
    assert cli.in_terminal("delete", "b", "--yes").code == 0
