"""The first half of the demo: what a person does with a store, by the very commands that a person types."""

from __future__ import annotations

import asyncio
import shlex
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from bamboo_sessions.cli.app import program
from bamboo_sessions.cli.demo.conversations import BUILT_IN
from bamboo_sessions.cli.output import Line, print_lines
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.repository import SessionRepository

SHOWN: Final = "support-01"
_CALL: Final = ToolCall("call_ask_01", "ask_a_person", '{"question":"Send a second tent?"}')
_QUESTION: Final = PendingQuestion(
    _CALL.id, _CALL.name, "The tent may come too late. Send a second one ahead?", ("Send it", "Wait until Friday")
)


def show_around(store: Path) -> None:
    """Fill `store` with the built-in conversations, and do with them what people do."""
    with as_file(files(__package__) / BUILT_IN) as conversations:
        _run(store, "import", str(conversations), shown=f"import {BUILT_IN}")
    _run(store, "rename", SHOWN, "A tent before Friday")
    _run(store, "show", SHOWN, "--limit", "8")
    _say("An agent asks a person, and waits. Whoever answers first is heard:")
    asyncio.run(_ask(store))
    _run(store, "list", "--has-question")
    _run(store, "answer", SHOWN, "Send it")
    _run(store, "answer", SHOWN, "Wait until Friday")
    _say("Everything that was said can be found:")
    _run(store, "search", "flat number")


async def _ask(store: Path) -> None:
    """What an agent does in its program: it calls a tool that asks."""
    async with SessionRepository.open(store) as sessions:
        await sessions.append(SHOWN, Message.assistant("I'll ask a colleague.", [_CALL]))
        await sessions.ask(SHOWN, _QUESTION)


def _run(store: Path, *args: str, shown: str | None = None) -> None:
    """Type a command: it is shown, and then really run; one that fails has said why."""
    _say(f"$ bamboo-sessions {shlex.join(args) if shown is None else shown}", style="bold")
    where = ("--url", str(store), "--namespace", "default", "--no-pager")
    program.main([*where, *args], prog_name="bamboo-sessions", standalone_mode=False)


def _say(text: str, *, style: str = "") -> None:
    print_lines([Line(), Line(((text, style),))])
    sys.stdout.flush()  # what a command says on stderr comes behind it
