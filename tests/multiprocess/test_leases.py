"""Processes fight for the lease of one session, while they are stopped and killed (G12, L87)."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bamboo_sessions import SessionRepository, StoreAdmin
from tests.multiprocess.fencing import Written, violations, written_through_leases
from tests.multiprocess.processes import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

TTL_SECONDS = 0.5
FROZEN_SECONDS_MAX = 2.0
"""A process may be stopped while it holds SQLite's lock: then nobody gets on before it goes on."""
QUIET_SECONDS_MAX = 30.0


class Fight:
    """Four processes that run one after another, and what they told."""

    def __init__(self, path: Path, seed: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self.told: Counter[str] = Counter()
        self._path = path
        self._chance = random.Random(seed)
        self._lines: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._workers: dict[str, Worker] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self._newest = 0
        self._holder = ""

    async def fight(self, rounds: int) -> None:
        """Stop one of them so many times, and kill every fourth time; then let them end."""
        async with self._stack:
            for _ in range(4):
                await self._start()
            for _ in range(rounds):
                await self._hear_a_new_run()
                await self._hear(self._chance.randint(0, 10))
                if self.told["frozen"] % 4 == 3:
                    await self._replace()
                await self._freeze_one()
            for worker in self._workers.values():
                worker.tell("stop")
            await asyncio.gather(*self._readers)
            while not self._lines.empty():
                self._note(*self._lines.get_nowait())

    async def _start(self) -> None:
        name = f"worker-{len(self._readers)}"
        worker = await self._stack.enter_async_context(Worker("run_leased", self._path, "chat", name, TTL_SECONDS))
        await worker.ready()
        worker.tell()
        self._workers[name] = worker
        self._readers.append(asyncio.create_task(self._read(name, worker)))

    async def _read(self, name: str, worker: Worker) -> None:
        async for line in worker.lines():
            self._lines.put_nowait((name, json.loads(line)))

    async def _hear_a_new_run(self) -> None:
        before = self._newest
        while self._newest == before:
            await self._hear(1)

    async def _hear(self, count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(QUIET_SECONDS_MAX):
                self._note(*await self._lines.get())

    def _note(self, name: str, line: dict[str, Any]) -> None:
        if "lost" in line:
            self.told["refused"] += 1
            return
        self.acknowledged[line["id"]] = line["token"]
        if line["token"] > self._newest:
            self._newest, self._holder = line["token"], name

    async def _replace(self) -> None:
        name = self._chance.choice(list(self._workers))
        self._workers.pop(name).kill()
        self.told["killed"] += 1
        await self._start()

    async def _freeze_one(self) -> None:
        """Stop whoever runs, mostly, until another one took over; or anybody, for a while."""
        anybody = self._chance.random() < 0.25 or self._holder not in self._workers
        victim = self._workers[self._chance.choice(list(self._workers)) if anybody else self._holder]
        victim.freeze()
        self.told["frozen"] += 1
        try:
            async with asyncio.timeout(FROZEN_SECONDS_MAX):
                await self._hear_a_new_run()
        except TimeoutError:
            self.told["in the way"] += 1
        finally:
            victim.thaw()


async def _fight(path: Path, rounds: int) -> Fight:
    async with SessionRepository.open(path) as sessions:
        async with sessions.lease("chat", create=True):
            pass
        fight = Fight(path, seed=random.randrange(2**32))
        await fight.fight(rounds)
        session = await sessions.get("chat")
        assert (await StoreAdmin(sessions.storage).check()).ok
        assert await sessions.lease_of("chat") is None
    written = written_through_leases(path, "chat")
    assert violations(written) == []
    assert {each.message_id: each.token for each in written}.items() >= fight.acknowledged.items()
    ids = [message.id for message in session.messages]
    assert len(ids) == len(set(ids)) == len(written)
    print(dict(fight.told), len(fight.acknowledged), "acknowledged,", len({w.token for w in written}), "runs")  # noqa: T201
    return fight


async def test_L87_four_processes_run_one_at_a_time(tmp_path: Path) -> None:
    """While one is stopped and one is killed and replaced, no two runs' commits mingle, and nothing told is lost."""
    fight = await _fight(tmp_path / "sessions.db", 3)
    assert fight.acknowledged
    assert fight.told["frozen"]


@pytest.mark.long
async def test_L87_four_processes_run_one_at_a_time_for_long(tmp_path: Path) -> None:
    """As above for 20 rounds, in which stopped runs do wake up and are refused, and others are killed."""
    fight = await _fight(tmp_path / "sessions.db", 20)
    assert min(fight.told["refused"], fight.told["killed"]) > 0


def test_the_checker_notices() -> None:
    """A commit of an older token, a token of two runs, and a step that is missing are each found."""
    sound = [Written(1, "a", 1, "x", 0), Written(2, "b", 1, "x", 1), Written(3, "c", 2, "y", 0)]
    assert violations(sound) == []
    for broken, found in (
        ([*sound, Written(4, "d", 1, "x", 2)], "came after"),
        ([*sound, Written(4, "d", 2, "x", 1)], "given to"),
        ([*sound, Written(4, "d", 2, "y", 2)], "wrote the steps"),
    ):
        assert [found in violation for violation in violations(broken)] == [True]
