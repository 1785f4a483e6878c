"""Several processes save one session from stale copies (G2, G3, G5, G7)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import Message, Session, SessionRepository, StoreAdmin
from tests.multiprocess.processes import Worker, together

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

TURNS = 300
ROUNDS = 60


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with a session `chat` that holds one message."""
    path = tmp_path / "sessions.db"
    async with SessionRepository.open(path) as sessions:
        session = await sessions.load_or_create("chat")
        session.add_message(Message.system("Be brief."))
        await sessions.save(session)
    return path


def assert_whole_turns(session: Session, names: list[str], turns: int) -> None:
    """Each turn of each writer once, in one piece, and each writer's in order."""
    texts = [message.text for message in session.messages]
    assert texts[0] == "Be brief."
    assert len(texts) == 1 + 2 * turns * len(names)
    questions, answers = texts[1::2], texts[2::2]
    assert [text.replace("question", "answer") for text in questions] == answers
    for name in names:
        mine = [text for text in questions if text.startswith(name)]
        assert mine == [f"{name}{number} question" for number in range(turns)]
    assert len({message.id for message in session.messages}) == len(texts)


async def test_two_processes_lose_nothing_and_tear_no_turn(path: Path) -> None:
    """600 turns, saved from stale copies by two processes: 1,200 messages, each once, each turn in one piece."""
    workers = [Worker("save_turns", path, "chat", name, TURNS) for name in ("a", "b")]
    async with together(*workers):
        counts = await asyncio.gather(*(_count(worker) for worker in workers))
    assert counts == [TURNS, TURNS]
    async with SessionRepository.open(path) as sessions:
        session = await sessions.get("chat")
        assert_whole_turns(session, ["a", "b"], TURNS)
        assert session.revision == 1 + 2 * TURNS
        assert session.metadata == {"a": TURNS - 1, "b": TURNS - 1}
        assert (await StoreAdmin(sessions.storage).check()).ok


async def _count(worker: Worker) -> int:
    return len([line async for line in worker.lines()])


async def test_sixteen_tasks_lose_nothing_and_tear_no_turn(path: Path) -> None:
    """600 turns, saved from stale copies by sixteen tasks of one process: each once, in one piece."""
    names, turns = [f"{letter}" for letter in "abcdefghijklmnop"], TURNS * 2 // 16
    async with SessionRepository.open(path) as sessions:

        async def save_turns(name: str) -> None:
            copies = [await sessions.get("chat") for _ in range(4)]
            for number in range(turns):
                copy = copies[number % 4]
                copy.add_message(Message.user(f"{name}{number} question"))
                copy.add_message(Message.assistant(f"{name}{number} answer"))
                await sessions.save(copy)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(save_turns, name)
        assert_whole_turns(await sessions.get("chat"), names, turns)
    async with SessionRepository.open(path) as sessions:
        assert_whole_turns(await sessions.get("chat"), names, turns)


async def test_what_a_person_sets_survives_all_those_saves(path: Path) -> None:
    """Renames, pins and values from a third process are all there at the end, and no reader saw them go back."""
    savers = [Worker("save_turns", path, "chat", name, TURNS // 2) for name in ("a", "b")]
    person = Worker("author", path, "chat", ROUNDS)
    samples: list[Session] = []
    async with SessionRepository.open(path) as sessions, together(*savers, person):

        async def sample(worker: Worker) -> None:
            async for _ in worker.lines():
                session = await sessions.get("chat")
                samples.append(session)  # all workers' in one list: reads of one repository never go back

        await asyncio.gather(*(sample(worker) for worker in (*savers, person)))
        final = await sessions.get("chat")
    assert_whole_turns(final, ["a", "b"], TURNS // 2)
    assert (final.title, final.pinned) == (f"title {ROUNDS - 1}", (ROUNDS - 1) % 2 == 0)
    last = TURNS // 2 - 1
    assert final.metadata == {**{f"key {number}": number for number in range(ROUNDS)}, "a": last, "b": last}
    assert final.metadata_version == 3 * ROUNDS
    for attribute in ("metadata_version", "revision", "message_count", "title_version"):
        seen = [getattr(session, attribute) for session in samples]
        assert seen == sorted(seen)
    assert len(samples) == TURNS + ROUNDS


async def test_a_cached_load_sees_what_another_process_committed(path: Path) -> None:
    """Right after another process's append is acknowledged, `load` here has it, two hundred times in a row (G7)."""
    writer = Worker("append_on_request", path, "chat")
    async with SessionRepository.open(path) as sessions, writer:
        await writer.ready()
        for number in range(200):
            cached = await sessions.get("chat")
            assert len(cached.messages) == 1 + number
            writer.tell(f"message {number}")
            assert await writer.line() == f"message {number}"
            found = await sessions.get("chat")
            assert found.messages[-1].text == f"message {number}"
        assert sessions.persistence.stats()["cache_hits"] >= 199  # and it was the cache that noticed
        writer.tell("")
