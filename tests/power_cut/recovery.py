"""Records a workload, cuts the power in the recording, opens what is left with the ordinary engine, and judges it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions import wal as log
from bamboo_sessions.storage.sqlite.transactions.connection import Durability
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.disk import SimulatedDisk
from bamboo_sessions.testing.power_cut import Operation, Replay, Survival
from tests.power_cut.mirror import AFTER, Mirror, Moment, state_of
from tests.power_cut.workload import Workload, again

NAME = "sessions.db"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there


class Recording(msgspec.Struct):
    """A workload: what it did to the disk, and what was acknowledged when. `first` is the state before it."""

    durability: Durability
    operations: list[Operation]
    moments: list[Moment]
    first: str
    before: dict[str, bytes] = msgspec.field(default_factory=dict)


class Left(msgspec.Struct):
    """What was found on a disk after a power cut: a hash of all, the commits, and what is wrong with it."""

    state: str
    commits: frozenset[str] = frozenset()
    trouble: str | None = None


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory, if the system has one: real syncs prove nothing here."""
    place = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def record(durability: Durability, *, seed: int, rounds: int, failing_sync: int | None = None) -> Recording:
    """Run the workload with a log that is checkpointed and recycled often; closes, and opens once more.

    `failing_sync` is the number of a sync that fails. Then there are no groups: of a group that failed and is tried
    again one by one, either attempt may be found, and the model knows only the second.
    """

    async def run(path: Path, disk: SimulatedDisk) -> Mirror:
        mirror = Mirror(SqliteStorage(path, durability=durability), disk.mark)
        clock = ManualClock()
        async with SessionRepository.open(mirror, clock=clock) as sessions:
            await Workload(sessions, clock, path, seed, in_groups=failing_sync is None).run(rounds)
        await again(mirror, clock, seed)
        return mirror

    with folder() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "WAL_PAGES_CHECKPOINT", 60)
        patch.setattr(log, "WAL_PAGES_MAX", 90)
        patch.setattr(log, "LOG_PAGES_GROWN_FROM", 0)
        patch.setattr(log, "LOG_PAGES_AHEAD", 12)
        with SimulatedDisk(place) as disk:
            if failing_sync is not None:
                disk.fail("io", "sync", nth=failing_sync)
            mirror = asyncio.run(run(place / NAME, disk))
        first = asyncio.run(state_of(MemoryStorage()))
        return Recording(durability, disk.operations, mirror.moments, first)


def look(image: Mapping[str, bytes], moments: Iterable[Moment]) -> Left:
    """Open `image` with the ordinary engine, check it, read all of it, and write to it."""
    with folder() as place:
        for name, content in image.items():
            (place / name).write_bytes(content)
        try:
            return asyncio.run(_look(place / NAME, moments))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it must not happen
            return Left("unreadable", trouble=repr(exc))


async def _look(path: Path, moments: Iterable[Moment]) -> Left:
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    try:
        report = await storage.check()
        state = await state_of(storage)
        found = set()
        for moment in moments:
            if moment.commit_id is not None and moment.key is not None:
                revision = await storage.find_commit(SessionKey(*moment.key), moment.commit_id)
                if revision == moment.revision:
                    found.add(moment.commit_id)
                elif revision is not None:
                    return Left(state, trouble=f"commit {moment.commit_id} has another revision")
        after = SessionRepository.open(storage)._handle
        await after.append(AFTER, Message.user("after the cut"), create=True)
        return Left(state, frozenset(found), None if report.ok else repr(report.problems[:3]))
    finally:
        await storage.aclose()


class Judge:
    """Looks at each image once, and knows what may be found at which moment."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.cuts = 0
        self.seen: dict[bytes, Left] = {}

    def verdict(self, cut: int, survival: Survival, image: Mapping[str, bytes]) -> str | None:
        """What is wrong with `image`, found after `cut` operations; `None`: nothing."""
        self.cuts += 1
        key = _hash(image)
        if key not in self.seen:
            self.seen[key] = look(image, self.recording.moments)
        left = self.seen[key]
        wrong = left.trouble or self._misplaced(cut, left)
        return wrong and f"cut after operation {cut}, {survival.name}: {wrong}"

    def _misplaced(self, cut: int, left: Left) -> str | None:
        moments = self.recording.moments
        states = [self.recording.first, *(moment.state for moment in moments)]
        acked = sum(moment.acked <= cut for moment in moments)
        begun = sum(moment.begun <= cut for moment in moments)
        lowest = acked if self.recording.durability == "full" else 0
        fitting = [count for count in range(begun + 1) if states[count] == left.state]
        if not fitting:
            return "what is there was never the state of the store"
        fitting = [count for count in fitting if self._commits(count) == left.commits]
        if not fitting:
            return "the commit ids say something else than the sessions"
        if fitting[-1] < lowest:
            return f"{lowest} writes were acknowledged, {fitting[-1]} are there"
        return None

    def _commits(self, count: int) -> frozenset[str]:
        return frozenset(moment.commit_id for moment in self.recording.moments[:count] if moment.commit_id is not None)


def _hash(image: Mapping[str, bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, content in sorted(image.items()):
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()


def cut_everywhere(judge: Judge, survivals: Callable[[int], Iterable[Survival]]) -> list[str]:
    """The verdicts of cuts after each operation, at which `survivals` names what may survive."""
    replay = Replay(judge.recording.before)
    wrong: list[str] = []
    for cut in range(len(judge.recording.operations) + 1):
        if cut:
            replay.step(judge.recording.operations[cut - 1])
        for survival in survivals(cut):
            if (verdict := judge.verdict(cut, survival, replay.image(survival))) is not None:
                wrong.append(verdict)
                if len(wrong) >= 5:
                    return wrong
    return wrong


def keep(recording: Recording, place: Path) -> Path:
    """Write a recording down, for `tests.power_cut.repeat`."""
    path = place / "recording.msgpack"
    path.write_bytes(msgspec.msgpack.encode(recording))
    return path
