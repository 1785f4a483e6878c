"""The other process: `worker.py ROLE FILE …`. It prints a line for each step, and waits for lines on its input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import apsw

from bamboo_sessions import (
    LeaseLostError,
    Message,
    PreconditionFailedError,
    RecordWrite,
    RunLease,
    Session,
    SessionRepository,
    SqliteStorage,
)
from bamboo_sessions.storage.sqlite.search.file import discard, index_path
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.others import Others
from bamboo_sessions.storage.sqlite.transactions.writer import Writer

COPIES = 8
"""Working copies of a saver. It takes them in turn, so each is some turns old when it is saved."""

STEPS = 30
"""Saves of one run under a lease."""


def say(line: object) -> None:
    """Tell the test."""
    print(line, flush=True)  # noqa: T201 - this is how it talks


async def told() -> str:
    """Wait for a line from the test; empty once it has nothing more to say."""
    line: str = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.strip()


async def barrier() -> None:
    """Say that everything is prepared, and wait for the others."""
    say("ready")
    await told()


def add_turn(session: Session, name: str) -> None:
    """A question and its answer, named."""
    session.add_message(Message.user(f"{name} question"))
    session.add_message(Message.assistant(f"{name} answer"))


async def save_turns(path: str, session_id: str, name: str, count: str) -> None:
    """Save turns from copies that are stale; tell each."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        copies = [await sessions.get(session_id) for _ in range(COPIES)]
        await barrier()
        for number in range(int(count)):
            copy = copies[number % COPIES]
            add_turn(copy, f"{name}{number}")
            copy.metadata[name] = number  # so that each save writes the head as well, which others change
            await sessions.save(copy)
            say(number)


async def author(path: str, session_id: str, count: str) -> None:
    """Change what people change, again and again; tell each round."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        await barrier()
        for number in range(int(count)):
            await sessions.rename(session_id, f"title {number}")
            await sessions.pin(session_id, pinned=number % 2 == 0)
            await sessions.set_value(session_id, f"key {number}", number)
            say(number)


async def open_and_save(path: str, name: str) -> None:
    """Open the file at the same moment as all others, and save a session."""
    await barrier()
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        session = await sessions.load_or_create(name)
        session.add_message(Message.user(f"from {name}"))
        await sessions.save(session)
    say("saved")


async def put_records(path: str, session_id: str, name: str, count: str) -> None:
    """Put records of its own into one session by blind commits, and into a counter of all by compare-and-put."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        await barrier()
        for number in range(int(count)):
            await sessions.append(
                session_id, Message.user(f"{name}{number}"), records=[RecordWrite("own", f"{name}{number}", b"")]
            )
            await count_up(sessions)
            say(number)


async def count_up(sessions: SessionRepository) -> None:
    """Add one to a number that is kept in a record."""
    while True:
        record = await sessions.records.get("counter", "all", shared="app")
        value = str(int(record.value) + 1 if record else 1).encode()
        try:
            if record is None:
                await sessions.records.put("counter", "all", value, shared="app", if_absent=True)
            else:
                await sessions.records.put("counter", "all", value, shared="app", if_version=record.version)
        except PreconditionFailedError:
            continue
        return


async def append_on_request(path: str, session_id: str, turn_wait_seconds: str = "") -> None:
    """Append each line that comes, and tell when it is acknowledged."""
    if turn_wait_seconds:
        setattr(tuning, "TURN_WAIT_SECONDS", float(turn_wait_seconds))  # noqa: B010 - it is a constant elsewhere
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        say("ready")
        while line := await told():
            await sessions.append(session_id, Message.user(line))
            say(line)


STEPS_OF_A_TURN: dict[str, tuple[type, str]] = {
    "before it begins": (Writer, "_begin"),
    "before COMMIT": (Writer, "_commit"),
    "after COMMIT": (Others, "tell"),
    "after telling": (Others, "give_turn"),
}


async def end_in_a_turn(path: str, step: str, how: str) -> None:
    """Take the turn to write; when told, commit, for others too, and send oneself a signal at a step of that."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        storage = sessions.storage
        assert isinstance(storage, SqliteStorage)
        assert storage._engine._others.take_turn_at_once()
        await barrier()
        owner, name = STEPS_OF_A_TURN[step]
        setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.Signals[how]))
        await sessions.append("its", Message.user("its"), create=True)


async def write_for_ever(path: str, name: str) -> None:
    """Write to four sessions in turn, by appends and by stale saves, telling each change, until somebody kills this."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        copies = [await sessions.load_or_create(f"chat-{number}") for number in range(4)]
        await barrier()
        number = 0
        while True:
            copy = copies[number % 4]
            message = Message.user("x", id=f"{name}-{number}")
            if number % 3:
                revision = (await sessions.append(copy.id, message, create=True)).revision
            else:
                copy.add_message(message)
                revision = (await sessions.save(copy)).revision
            say(json.dumps([copy.id, revision, message.id]))
            number += 1


async def follow(path: str, after: str) -> None:
    """Tell each change behind a position, line by line, until somebody kills this process."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        async for change in sessions.changes(after=after):
            say(json.dumps([change.position, change.session_id, change.revision, change.message_ids]))


async def hold_iteration(path: str) -> None:
    """Stop in the middle of a listing, until told to go on; tell how many came."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        count = 0
        async for _ in sessions.iter_sessions(page_size=10, order="created_at"):
            count += 1
            if count == 15:
                await barrier()
        say(count)


async def hold_read(path: str) -> None:
    """Keep a read transaction open, as another program might, until told to end it."""
    storage = SqliteStorage(path)
    await storage.open()
    connection = apsw.Connection(path)
    connection.execute("BEGIN")
    before = connection.execute("SELECT sum(lines) FROM commits").fetchall()
    await barrier()
    after = connection.execute("SELECT sum(lines) FROM commits").fetchall()
    connection.close()
    await storage.aclose()
    say("same" if before == after else "changed")


async def run_leased(path: str, session_id: str, name: str, ttl: str) -> None:
    """Run after run, each under a lease and many saves long, until told to stop; tell each acknowledged message."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        await barrier()
        stop = asyncio.create_task(told())
        while not stop.done():
            async with sessions.lease(session_id, ttl=float(ttl), holder=name, on_busy="wait") as lease:
                try:
                    for step in range(STEPS):
                        await _step(lease, name, step)
                except LeaseLostError:
                    say(json.dumps({"lost": lease.token}))


async def _step(lease: RunLease, name: str, step: int) -> None:
    """Write in one of the ways in which a run can, in turn; told once it is acknowledged."""
    message = Message.assistant(f"{name} {step}", metadata={"token": lease.token, "name": name, "step": step})
    if step % 4 == 3:
        await lease.append(message)
    else:
        lease.session.add_message(message)
        await (lease.checkpoint() if step % 4 == 2 else lease.save())
    say(json.dumps({"token": lease.token, "id": message.id}))


async def search_for_ever(path: str, text: str) -> None:
    """Make the index anew and search, again and again, telling each step, until killed."""
    while True:
        discard(index_path(path))
        async with SessionRepository.open(f"sqlite:///{path}") as sessions:
            say("building")
            await sessions.search(text, on_progress=lambda done, _: say(done))
            say("built")


async def search_on_request(path: str) -> None:
    """Search for each line that comes, and tell the ids of what was found."""
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        say("ready")
        while line := await told():
            say(",".join(str(hit.message_id) for hit in (await sessions.search(line)).hits))


ROLES: dict[str, Callable[..., Awaitable[None]]] = {
    role.__name__: role
    for role in (
        append_on_request,
        author,
        end_in_a_turn,
        follow,
        hold_iteration,
        hold_read,
        open_and_save,
        put_records,
        run_leased,
        save_turns,
        write_for_ever,
        search_for_ever,
        search_on_request,
    )
}


async def main() -> None:
    """Play the role that the command line names."""
    role, *arguments = sys.argv[1:]
    await ROLES[role](*arguments)


if __name__ == "__main__":
    asyncio.run(main())
