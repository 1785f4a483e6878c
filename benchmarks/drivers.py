"""The harness's ends of the pipes: one worker process for each store."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.environments import ROOT, clean_environment, python_of


class Subject(msgspec.Struct, frozen=True):
    """A store to measure: its short name, the module under `benchmarks.stores`, and where that runs."""

    name: str
    module: str
    title: str
    environment: str | None = None
    package: str | None = None
    note: str = ""
    durable: bool = True
    """Whether a turn survives a power cut; only such peers are compared where something is written."""


OURS = Subject("ours", "ours", "bamboo-sessions", note="WAL, fsync at each group commit")
FLOOR = Subject("floor", "floor", "floor", note="apsw and msgspec by hand: WAL, fsync at each transaction")
PEERS = (
    Subject("agents", "agents", "OpenAI Agents `SQLiteSession`", "agents", "openai-agents", "WAL, fsync at each turn"),
    Subject(
        "langgraph",
        "langgraph",
        "LangGraph `AsyncSqliteSaver`",
        "langgraph",
        "langgraph-checkpoint-sqlite",
        "WAL, fsync at each checkpoint, one checkpoint a turn",
    ),
    Subject(
        "adk-db",
        "adk_database",
        "Google ADK `DatabaseSessionService`",
        "adk",
        "google-adk",
        "rollback journal, fsyncs at each message",
    ),
    Subject(
        "adk-sqlite",
        "adk_sqlite",
        "Google ADK `SqliteSessionService`",
        "adk",
        "google-adk",
        "rollback journal, fsyncs at each message",
    ),
    Subject(
        "strands",
        "strands",
        "Strands `FileSessionManager`",
        "strands",
        "strands-agents",
        "a file for each message, never fsync: not durable in a power cut",
        durable=False,
    ),
    Subject("agno", "agno", "Agno `SqliteDb`", "agno", "agno", "WAL, two fsyncs at each turn"),
)


class Failed(Exception):
    """A call failed in the worker."""


class Driver:
    """One worker process.

    Args:
        subject: Which store.
        folder: Where its log goes.
        conversations: Where the texts come from.
        module: Another module to drive, in the same environment.
    """

    def __init__(
        self, subject: Subject, folder: Path, conversations: Path | None = None, *, module: str | None = None
    ) -> None:
        self.subject = subject
        module = module or subject.module
        self._log = (folder / f"{module}.log").open("wb")
        arguments = [python_of(subject.environment), "-m", "benchmarks.worker", module]
        self._process = subprocess.Popen(
            [*arguments, *([str(conversations)] if conversations else [])],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._is_ready = False

    def wait_until_ready(self) -> None:
        """Wait until the worker has imported its store."""
        if not self._is_ready:
            self._is_ready = self.receive() == "ready"

    @property
    def name(self) -> str:
        """The store's short name."""
        return self.subject.name

    def send(self, call: str, **arguments: object) -> None:
        """Start a call; `receive` brings its result."""
        self.wait_until_ready()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:  # noqa: ANN401 - any JSON
        """The result; `None` if the store has no such thing. Raises `Failed`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = Path(self._log.name).read_text(encoding="utf-8", errors="replace")
            raise Failed(f"{self.name}: the worker ended.\n{log[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer.get("result")

    def call(self, call: str, **arguments: object) -> Any:  # noqa: ANN401 - any JSON
        """`send` and `receive`."""
        self.send(call, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._log.close()
