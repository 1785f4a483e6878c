"""Running the command line: in this process, as a process of its own, and in a terminal."""

import asyncio
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from click.testing import CliRunner

from bamboo_sessions import SessionRepository
from bamboo_sessions.cli.app import program

T = TypeVar("T")

PROGRAM = Path(sys.executable).parent / "bamboo-sessions"


class Outcome(NamedTuple):
    """What a run printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def bare(self) -> str:
        """Stdout without the codes that style it."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.out)

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """The command line on one store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'sessions.db'}"

    def __call__(self, *args: str, stdin: str | bytes | None = None) -> Outcome:
        """Run a command in this process."""
        result = CliRunner().invoke(program, ["--url", self.url, *args], input=stdin)
        assert "Traceback" not in result.stderr
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def ok(self, *args: str, stdin: str | bytes | None = None) -> Outcome:
        """As a call, and it has to succeed."""
        outcome = self(*args, stdin=stdin)
        assert outcome.code == 0, outcome.err
        return outcome

    def store(self, work: Callable[[SessionRepository], Awaitable[T]]) -> T:
        """Do something with the store that the command line can't."""

        async def run() -> T:
            async with SessionRepository.open(self.url) as sessions:
                return await work(sessions)

        return asyncio.run(run())

    def write(self, name: str, lines: Iterable[object]) -> str:
        """A file of JSON lines; its path."""
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return str(path)

    def process(self, *args: str, **options: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401 - as Popen takes them
        """Start a command as a process of its own."""
        return subprocess.Popen([PROGRAM, "--url", self.url, *args], **options)

    def in_terminal(
        self, *args: str, columns: int = 80, environment: Mapping[str, str] | None = None, typed: str = ""
    ) -> Outcome:
        """Run a command in a terminal of its own; stdout and stderr come as one."""
        fcntl, pty, termios = (__import__(name) for name in ("fcntl", "pty", "termios"))  # not on Windows
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        plain = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
        env = {**plain, "TERM": "xterm-256color", "PAGER": "cat", **(environment or {})}
        with self.process(*args, stdin=slave, stdout=slave, stderr=slave, env=env) as process:
            os.close(slave)
            os.write(master, typed.encode())
            out = b"".join(iter(lambda: _read(master), b""))
        os.close(master)
        return Outcome(process.returncode, out.decode().replace("\r\n", "\n"), "")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other side is closed
        return b""


def conversation(id: str, *texts: str, **fields: object) -> dict[str, Any]:
    """A conversation in which user and assistant take turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return {"id": id, "model": "gpt-5.2", "messages": messages, "metadata": {}, **fields}


def with_tools(id: str) -> dict[str, Any]:
    """A conversation with a system prompt, two tool calls and their results."""
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": '{"order": "A-7"}'}}
        for name in ("get_order", "get_invoice")
    ]
    return {
        "id": id,
        "model": "gpt-5.2",
        "messages": [
            {"role": "system", "content": "\n".join(f"Rule {number}." for number in range(40))},
            {"role": "user", "content": "Where is my order?"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_get_order", "name": "get_order", "content": '{"status": "shipped"}'},
            {"role": "tool", "tool_call_id": "call_get_invoice", "name": "get_invoice", "content": ""},
            {"role": "assistant", "content": "It was shipped yesterday."},
        ],
        "metadata": {"reward": 1.0},
    }
