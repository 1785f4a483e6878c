"""The program of each process of the demo: `python -m bamboo_sessions.cli.demo.worker <order as JSON>`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bamboo_sessions.cli.demo import people, runtime
from bamboo_sessions.cli.demo.conversations import read_conversations
from bamboo_sessions.cli.demo.link import CHECKED, NAMESPACE, Checked, Counters, Order, Words, log_path
from bamboo_sessions.cli.demo.stores import DurableStore, NaiveStore, Store
from bamboo_sessions.repository import SessionRepository
from bamboo_sessions.testing.history_checker import Acknowledgement, StoredSession, check_history, read_lines


async def work(order: Order) -> None:
    """Play the part that `order` names."""
    words = Words()
    async with _store(order) as store:
        with log_path(order).open("ab", buffering=0) as log:
            counters = Counters(log)
            if order.role == "checker":
                await _check(store, order)
            else:
                path = Path(order.input) if order.input else None
                conversations = read_conversations(path, sessions=order.sessions)
                if order.role == "people":
                    await people.live(store, conversations, counters, words, name=order.name)
                else:
                    await runtime.replay(store, conversations, counters, words, name=order.name, writers=order.writers)
    counters.report("done")


@asynccontextmanager
async def _store(order: Order) -> AsyncIterator[Store]:
    if order.naive:
        yield NaiveStore(Path(order.store))
    else:
        async with SessionRepository.open(Path(order.store), namespace=NAMESPACE) as sessions:
            yield DurableStore(sessions)


async def _check(store: Store, order: Order) -> None:
    """Read everything back in this process, which wrote nothing, and compare it with all logs."""
    stored, commits = [], 0
    async for session in store.stored():
        stored.append(StoredSession.of(session))
        commits += session.revision
    folder = Path(order.folder)
    checked = Checked(check_history(_all_notes(folder), stored), commits)
    (folder / CHECKED).write_bytes(msgspec.json.encode(checked))


def _all_notes(folder: Path) -> list[Acknowledgement]:
    notes: list[Acknowledgement] = []
    for path in sorted(folder.glob("*.acknowledged.jsonl")):
        with path.open("rb") as lines:
            notes.extend(read_lines(lines))
    return notes


def main() -> None:
    """Run, deaf to Ctrl-C: the supervisor hears it, and ends everybody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(work(msgspec.json.decode(sys.argv[1], type=Order)))


if __name__ == "__main__":
    main()
