"""A subscriber that is killed again and again under load (G11)."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from bamboo_sessions import SessionRepository
from tests.multiprocess.processes import Worker, together

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

LINES_MAX = 200


class Told(NamedTuple):
    """A change as a subscriber told it."""

    position: str
    session_id: str
    revision: int
    message_ids: list[str]


class Subscriber:
    """The lives of a subscriber: what all of them told, and the position that the last one reached."""

    def __init__(self, path: Path, position: str) -> None:
        self.path = path
        self.position = position
        self.told: list[Told] = []

    async def live(self, *, lines: int | None = None, until: str | None = None) -> None:
        """Start it at the last position, and kill it after so many lines, or at a position."""
        if until == self.position:
            return
        async with Worker("follow", self.path, self.position) as worker:
            while lines is None or lines > 0:
                assert self._took(await worker.line())
                if self.position == until:
                    break
                lines = None if lines is None else lines - 1
            worker.kill()
            while self._took(await worker.line()):
                pass

    def _took(self, line: str) -> bool:
        if line:
            self.told.append(Told(*json.loads(line)))
            self.position = self.told[-1].position
        return bool(line)


async def _noted(writer: Worker, into: list[tuple[str, int, str]]) -> None:
    into.extend([tuple(json.loads(line)) async for line in writer.lines()])


@pytest.mark.parametrize(
    "kills", [15, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1200)])], ids="{} kills".format
)
async def test_a_killed_subscriber_sees_every_commit_once_in_order(tmp_path: Path, kills: int) -> None:
    """Over SIGKILLs at random moments, resuming where it was, a subscriber gets each commit of three writers once."""
    path = tmp_path / "sessions.db"
    rng = random.Random(2026)
    async with SessionRepository.open(path) as sessions:
        subscriber = Subscriber(path, await sessions.feed_position())
    writers = [Worker("write_for_ever", path, name) for name in "abc"]
    acknowledged: list[list[tuple[str, int, str]]] = [[] for _ in writers]
    async with together(*writers), asyncio.TaskGroup() as readers:
        for writer, into in zip(writers, acknowledged, strict=True):
            readers.create_task(_noted(writer, into))
        for _ in range(kills):
            await subscriber.live(lines=rng.choice([0, 1, rng.randint(2, LINES_MAX)]))
        for writer in writers:
            writer.kill()
    async with SessionRepository.open(path) as sessions:
        await subscriber.live(until=await sessions.feed_position())
        _check_against_log(path, subscriber.told)
        _check_against_writers(subscriber.told, acknowledged)
        await _check_against_sessions(sessions, subscriber.told)
    print(f"{kills} kills, {len(subscriber.told)} commits, {sum(map(len, acknowledged))} acknowledged")  # noqa: T201 - for whoever runs it with -s


def _check_against_log(path: Path, told: list[Told]) -> None:
    """What was told is the log of commits, row by row."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT position, session_id, commits.revision FROM commits JOIN sessions ON key = session ORDER BY position"
    ).fetchall()
    connection.close()
    assert [(int(each.position.split(":")[1]), each.session_id, each.revision) for each in told] == rows
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))


def _check_against_writers(told: list[Told], acknowledged: list[list[tuple[str, int, str]]]) -> None:
    """Each acknowledged commit was told once, in its writer's order; besides those at most one for each kill."""
    places = {id_: place for place, each in enumerate(told) for id_ in each.message_ids}
    assert len(places) == sum(len(each.message_ids) for each in told)
    for own in acknowledged:
        assert own
        seen = [places[message_id] for _, _, message_id in own]
        assert seen == sorted(seen)
        assert [(told[place].session_id, told[place].revision) for place in seen] == [each[:2] for each in own]
    assert len(places) - sum(map(len, acknowledged)) <= len(acknowledged)


async def _check_against_sessions(sessions: SessionRepository, told: list[Told]) -> None:
    """For each session the revisions were told without a gap, and the messages are those that it has."""
    for session_id in {each.session_id for each in told}:
        own = [each for each in told if each.session_id == session_id]
        session = await sessions.get(session_id)
        assert [each.revision for each in own] == list(range(1, session.revision + 1))
        assert {id_ for each in own for id_ in each.message_ids} == {message.id for message in session.messages}
