"""`watch` and `tail`, as processes that are read while others write."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository, ToolCall
from tests.cli.support import Cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")

PIPE = subprocess.PIPE


class Live:
    """A command that runs, and what it prints."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out = process.stdout
        self.err = process.stderr

    def line(self) -> str:
        """The next line."""
        return self.out.readline().decode().rstrip("\n")

    def until(self, text: str) -> list[str]:
        """The lines up to the first that has `text`."""
        lines = [self.line()]
        while text not in lines[-1]:
            assert lines[-1] or self.process.poll() is None, self.err.read()
            lines.append(self.line())
        return lines

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The next line's document."""
        return json.loads(self.line())

    def interrupt(self) -> tuple[int, bytes]:
        """Ctrl-C: the exit code, and what was said besides."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60), self.err.read()


@contextmanager
def live(cli: Cli, *args: str) -> Iterator[Live]:
    """A command of its own process; ended if the test didn't."""
    with cli.process(*args, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE) as process:
        try:
            yield Live(process)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _store(cli: Cli) -> None:
    """The store is there: nothing that only reads makes one."""
    cli.ok("migrate")


# --- watch


def test_watch_tells_what_other_processes_commit(cli: Cli) -> None:
    """Each commit is a line at once, with its position; Ctrl-C ends it without a word."""
    with live(cli, "watch", "--from-start", "--json") as watch:
        cli.ok("append", "--create", "a", "Hello", "--message-id", "m1")
        first = watch.json()
        cli.ok("rename", "a", "Title")
        second = watch.json()
        assert watch.interrupt() == (-signal.SIGINT, b"")
    assert (first["session_id"], first["kinds"], first["message_ids"]) == ("a", ["created", "messages"], ["m1"])
    assert (second["revision"], second["kinds"]) == (2, ["authoritative"])
    again = cli.ok("watch", "--after", first["position"], "--no-follow", "--json")
    assert again.lines == [second]


def test_watch_begins_now(cli: Cli) -> None:
    """Without an option nothing of the past is shown."""
    cli.ok("append", "--create", "a", "Hello")
    assert cli.ok("watch", "--no-follow").out == ""


def test_watch_filters_and_ends(cli: Cli) -> None:
    """Kinds and sessions can be chosen; after so many changes it ends by itself."""
    for session in "ab":
        cli.ok("append", "--create", session, "Hello")
        cli.ok("pin", session)
    lines = cli.ok("watch", "--from-start", "--no-follow").out.splitlines()
    assert [line.split("\t")[1:5] for line in lines] == [
        ["a", "1", "created,messages", "1"],
        ["a", "2", "authoritative", "0"],
        ["b", "1", "created,messages", "1"],
        ["b", "2", "authoritative", "0"],
    ]
    chosen = cli.ok("watch", "--from-start", "--no-follow", "--kind", "authoritative", "--session", "b", "--json")
    assert [(line["session_id"], line["revision"]) for line in chosen.lines] == [("b", 2)]
    assert len(cli.ok("watch", "--from-start", "--limit", "3", "--json").lines) == 3


def test_watch_speaks_to_people(cli: Cli) -> None:
    """A person reads when, which session by id and title, and what happened, in words."""

    async def set_both(sessions: SessionRepository) -> None:
        def change(session: Session) -> None:
            session.title, session.pinned = "Order 17", True

        await sessions.update("a", change)

    cli.ok("append", "--create", "a", "Hello")
    told = [["a", "“Order 17”", "renamed to “Order 17”, pinned"]]
    with live(cli, "watch", "--color", "always") as watch:
        assert watch.err.readline().decode() == f"Waiting for changes in {cli.url}; Ctrl-C ends.\n"
        cli.store(set_both)
        lines = [watch.line()]
        for args, words in (
            (("append", "a", "Any news?"), "1 new message"),
            (("archive", "a"), "archived"),
            (("set", "a", "priority", "high"), "priority set"),
            (("owner", "a", "ann"), "given to ann"),
            (("delete", "a", "--yes"), "deleted"),
        ):
            cli.ok(*args)
            told.append(["a", "“Order 17”", words])
            lines.append(watch.line())
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert [line.split("  ")[1:] for line in bare] == told


def test_watch_names_what_it_can_of_the_past(cli: Cli) -> None:
    """Of what was overtaken, the feed knows the kind alone."""
    cli.ok("append", "--create", "a", "Hello")
    cli.ok("pin", "a")
    cli.ok("unpin", "a")
    shown = cli.in_terminal("watch", "--from-start", "--no-follow", columns=120).bare
    assert [line.split("  ")[2:] for line in shown.splitlines()] == [
        ["created, 1 new message"],
        ["title, pin, owner or values set"],
        ["title, pin, owner or values set"],
    ]


def test_watch_refuses_what_would_leave_a_gap(cli: Cli) -> None:
    """No position, two beginnings, and a position of before a restore are told, with a hint."""
    position = cli.store(lambda sessions: sessions.feed_position())
    assert cli("watch", "--after", "nonsense").code == 2
    assert cli("watch", "--after", position, "--from-start").code == 2
    assert json.loads(cli.ok("migrate", "--new-epoch", "--json").out)["new_epoch"] is True
    refused = cli("watch", "--after", position)
    assert refused.code == 1
    assert "another epoch" in refused.err
    assert "Hint: `watch --from-start`" in refused.err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that the other end of a pipe was closed")
@pytest.mark.parametrize("command", [("watch",), ("tail", "a")])
def test_a_reader_that_goes_away_ends_a_waiting_command(cli: Cli, command: tuple[str, ...]) -> None:
    """When nobody reads stdout any more, the command ends quietly, even if there is nothing to print."""
    cli.ok("append", "--create", "a", "Hello")
    reader, writer = os.pipe()
    with cli.process(*command, stdin=subprocess.DEVNULL, stdout=writer, stderr=PIPE) as process:
        os.close(writer)
        os.close(reader)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


# --- tail


def test_tail_prints_what_other_processes_write(cli: Cli) -> None:
    """The newest messages first, then each new one as it comes; Ctrl-C ends it without a word."""
    for number in range(5):
        cli.ok("append", "--create", "a", f"message {number}")
    with live(cli, "tail", "a", "-n", "2") as tail:
        begin = tail.until("message 4")
        assert "message 3" in "\n".join(begin)
        assert "message 2" not in "\n".join(begin)
        cli.ok("append", "a", "--role", "assistant", "a new one")
        assert any(line.startswith("assistant") for line in tail.until("a new one"))
        assert tail.interrupt() == (-signal.SIGINT, b"")


def test_tail_notes_edits_removals_and_questions(cli: Cli) -> None:
    """What is changed in the middle of a conversation is said shortly; a question is shown, and its answer."""
    call = Message.assistant("", [ToolCall("1", "ask", "{}")], id="call")

    async def ask(sessions: SessionRepository) -> None:
        await sessions.ask("a", PendingQuestion("1", "ask", "Shall I go on?", options=("yes", "no"), id="q"))

    async def edit(sessions: SessionRepository) -> None:
        session = await sessions.get("a")
        session.messages[0] = Message.user("better", id="m1")
        await sessions.save(session)

    cli.store(lambda sessions: sessions.append("a", Message.user("Hello", id="m1"), call, create=True))
    with live(cli, "tail", "a") as tail:
        assert tail.until("→ ask")[-1] == "  → ask({})"
        cli.store(ask)
        assert "The agent asks" in "\n".join(tail.until("Answer: "))
        cli.ok("answer", "a", "yes")
        assert "  = yes" in tail.until("✓ answered: yes")[-2].replace("✓ yes", "= yes")
        cli.store(edit)
        assert tail.line() == "✎ edited: better"
        cli.store(lambda sessions: sessions.remove_last("a"))
        assert tail.line() == "– 1 message removed"


def test_tail_ends_with_the_session(cli: Cli) -> None:
    """When the session is deleted, that is said, and the exit code is that of a session that isn't there."""
    cli.ok("append", "--create", "a", "Hello")
    with live(cli, "tail", "a") as tail:
        tail.until("Hello")
        cli.ok("delete", "--yes", "a")
        assert tail.process.wait(60) == 3
        assert tail.err.read() == b"Error: Session 'a' was deleted.\n"


def test_tail_of_a_session_that_is_not_there(cli: Cli) -> None:
    """It is not found, unless one wants to wait for it."""
    assert cli("tail", "a").code == 3
    with live(cli, "tail", "a", "--wait", "--json") as tail:
        assert tail.err.readline() == f"Waiting for session 'a' in {cli.url}.\n".encode()
        cli.ok("append", "--create", "b", "not this one")
        cli.ok("append", "--create", "a", "Hello")
        assert tail.json()["message"]["content"] == "Hello"


def test_tail_as_json(cli: Cli) -> None:
    """Each thing is a line with its type and the revision."""
    call = Message.assistant("", [ToolCall("1", "ask", "{}")], id="call")

    async def prepare(sessions: SessionRepository) -> Session:
        await sessions.append("a", *(Message.user("x", id=f"m{n}") for n in range(3)), call, create=True)
        return await sessions.ask("a", PendingQuestion("1", "ask", "Go?", id="q"))

    cli.store(prepare)
    shown = cli.ok("tail", "a", "--limit", "2", "--no-follow", "--json").lines
    assert [(line["type"], line["revision"]) for line in shown] == [("message", 2), ("message", 2), ("question", 2)]
    with live(cli, "tail", "a", "--limit", "0", "--json") as tail:
        assert tail.json()["question"]["id"] == "q"
        cli.store(lambda sessions: sessions.truncate("a", after_message_id="m1"))
        assert tail.json() == {"type": "removed", "revision": 3, "message_ids": ["m2", "call"]}
        cli.ok("append", "a", "new", "--message-id", "m9")
        line = tail.json()
        assert (line["type"], line["revision"], line["message"]["id"]) == ("message", 4, "m9")
