"""Completion in a shell: commands, options, and ids of sessions."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.cli.support import PROGRAM, Cli


def _completed(*words: str, **environment: str) -> list[str]:
    """What bash is offered for the last word."""
    env = {
        **os.environ,
        "_BAMBOO_SESSIONS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("bamboo-sessions", *words)),
        "COMP_CWORD": str(len(words)),
        **environment,
    }
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split(",", 1)[1] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    "command", [("show",), ("tail",), ("delete", "chat-1"), ("lease", "show"), ("list", "--parent"), ("export",)]
)
def test_ids_of_sessions_are_completed(cli: Cli, command: tuple[str, ...]) -> None:
    """An id is completed from the store that is named, wherever the name stands."""
    for session_id in ("chat-1", "chat-2", "other"):
        cli.ok("append", "--create", session_id, "Hello")
    assert _completed(*command, "ch", BAMBOO_SESSIONS_URL=cli.url) == ["chat-2", "chat-1"]
    assert _completed("--url", cli.folder.as_posix() + "/sessions.db", *command, "o") == ["other"]


def test_nothing_is_in_the_way_of_a_shell(cli: Cli) -> None:
    """Without a store, or with a broken one, there is nothing to complete: no word, and no file."""
    assert _completed("show", "c", BAMBOO_SESSIONS_URL=cli.url) == []
    assert list(cli.folder.iterdir()) == []
    (cli.folder / "sessions.db").write_text("This is no database. " * 100)
    assert _completed("show", "c", BAMBOO_SESSIONS_URL=cli.url) == []


def test_commands_and_options_are_completed() -> None:
    """Commands by their beginnings, options behind a dash."""
    assert _completed("arch") == ["archive"]
    assert "--jsonl" in _completed("list", "--js")
