"""Tolerant savers in an outage, at random: what they do, and what has to come of it.

`python -m tests.unit.coordination.outage RUNS [SEED]` runs many; each prints its seed if it fails.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys

from bamboo_sessions import (
    MemoryStorage,
    Message,
    Session,
    SessionRepository,
    StorageError,
    StorageUnavailableError,
)
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.testing import FaultyStorage

STEPS = 30
FAULTY_CALLS = ("commit", "commit", "commit", "find_commit", "read", "read_newer", "read_head")


class Copy:
    """A working copy of a saver, and what was done to it that no save has accepted yet."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.added: list[str] = []
        self.removed: set[str] = set()
        self.edited: dict[str, str] = {}
        self.is_uncertain = False


class Outage:
    """One run. The oracle knows what was accepted: nothing of it may be lost, doubled, undone or out of order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.storage = FaultyStorage(MemoryStorage())
        self.sessions = SessionRepository.open(self.storage)._handle
        self.others = SessionRepository.open(self.storage.inner)._handle
        self.sessions._bound.tiers.tolerant._backoff = Backoff(1, 1, sleep=_for_ever)
        self.sessions.persistence._committer._backoff = Backoff(1, 1, sleep=_at_once)
        self.accepted: list[str] = []
        self.foreign: list[str] = []
        self.removed: set[str] = set()
        self.removed_elsewhere: set[str] = set()
        self.edited: dict[str, str] = {}
        self.uncertain: set[str] = set()
        self.number = 0

    async def run(self) -> None:
        """Let two savers work through an outage that comes and goes; then all has to be durable."""
        is_new = self.chance.random() < 0.3
        first = Session("chat")
        if not is_new:
            await self.others.create(Session("chat"))
            first = await self.sessions.get("chat")
        copies = [Copy(first), Copy(first.copy())]
        for _ in range(STEPS):
            await self.step(copies)
        self.storage.heal()
        for copy in copies:
            assert await self.sessions.save_best_effort(copy.session)
            self.accept(copy)
        assert await self.sessions.aclose() == ()
        await self.check_stored()

    async def step(self, copies: list[Copy]) -> None:
        """One thing that happens."""
        place = self.chance.randrange(2)
        copy = copies[place]
        match self.chance.randrange(12):
            case 0 | 1 | 2:
                self.add(copy)
            case 3:
                self.edit(copy)
            case 4:
                self.remove(copy)
            case 5 | 6:
                await self.sessions.save_best_effort(copy.session)
                self.accept(copy)
            case 7:
                await self.save(copy)
            case 8:
                copies[place] = await self.load(copy)
            case 9:
                assert all(work.code == "storage_unavailable" for work in await self.sessions.flush())
            case 10:
                await self.break_something()
            case _:
                await self.let_others_work()

    # --- what savers do

    def add(self, copy: Copy) -> None:
        """Add a message at the end."""
        self.number += 1
        id_ = f"m{self.number}"
        copy.session.add_message(Message.user(id_, id=id_))
        copy.added.append(id_)

    def edit(self, copy: Copy) -> None:
        """Edit some message, perhaps one that waits."""
        if copy.session.messages:
            self.number += 1
            index = self.chance.randrange(len(copy.session.messages))
            id_ = copy.session.messages[index].id
            copy.session.messages[index] = Message.user(f"e{self.number}", id=id_)
            copy.edited[id_] = f"e{self.number}"

    def remove(self, copy: Copy) -> None:
        """Take some message out, perhaps one that waits."""
        if copy.session.messages:
            index = self.chance.randrange(len(copy.session.messages))
            id_ = copy.session.messages[index].id
            del copy.session.messages[index]
            copy.edited.pop(id_, None)
            if id_ in copy.added and not copy.is_uncertain:
                copy.added.remove(id_)  # nobody has seen it
            else:
                copy.removed.add(id_)

    async def save(self, copy: Copy) -> None:
        """Save by a call that raises if storage fails."""
        try:
            await self.sessions.save(copy.session)
        except StorageError:
            copy.is_uncertain = True
            self.uncertain |= {*copy.added, *copy.removed, *copy.edited}
        else:
            self.accept(copy)

    async def load(self, copy: Copy) -> Copy:
        """A new copy in the place of one that has nothing to lose; it shows all that was accepted."""
        if copy.added or copy.removed or copy.edited or copy.is_uncertain:
            return copy
        try:
            session = await self.sessions.load("chat")
        except StorageError:
            return copy
        if session is None:
            assert not self.accepted
            return copy
        self.check(session)
        return Copy(session)

    async def let_others_work(self) -> None:
        """Another process, which the outage doesn't concern."""
        if await self.others.load("chat") is None:
            return
        if self.chance.random() < 0.7:
            self.number += 1
            id_ = f"o{self.number}"
            await self.others.append("chat", Message.user(id_, id=id_))
            self.foreign.append(id_)
            return
        gone: list[str] = []

        def take_out(session: Session) -> None:
            if session.messages:
                index = self.chance.randrange(len(session.messages))
                gone.append(session.messages[index].id)
                del session.messages[index]

        await self.others.update("chat", take_out)
        self.removed |= set(gone[-1:])
        self.removed_elsewhere |= set(gone[-1:])

    async def break_something(self) -> None:
        """A fault before a call, or after it; or all is well for a while."""
        if self.chance.random() < 0.25:
            self.storage.heal()
            await self.check_views()
            return
        call = self.chance.choice(FAULTY_CALLS)
        after = call == "commit" and self.chance.random() < 0.4
        self.storage.fail(call, StorageUnavailableError, times=self.chance.randint(1, 4), after=after)
        if after and self.chance.random() < 0.7:
            self.storage.fail("find_commit", StorageUnavailableError, times=self.chance.randint(1, 3))

    # --- the oracle

    def accept(self, copy: Copy) -> None:
        """What was done to the copy counts from now on; what of it others see is told when the last save is settled."""
        if copy.is_uncertain:
            self.uncertain |= {*copy.added, *copy.removed, *copy.edited}
        self.accepted += copy.added
        self.removed |= copy.removed
        for id_, text in copy.edited.items():
            self.edited[id_] = text
        copy.added, copy.removed, copy.edited, copy.is_uncertain = [], set(), {}, False

    def check(self, session: Session) -> None:
        """All that was accepted is there once, and nothing that was taken out; edits too, and the order."""
        ids = [message.id for message in session.messages]
        assert len(ids) == len(set(ids)), f"doubled: {ids}"
        wanted = [id_ for id_ in self.accepted if id_ not in self.removed]
        assert set(wanted) - self.uncertain <= set(ids), f"lost: {set(wanted) - set(ids)} of {ids}"
        back = self.removed - self.uncertain - self.removed_elsewhere  # which perhaps can't be read just now
        assert not back & set(ids), f"came back: {back & set(ids)}"
        certain = [id_ for id_ in wanted if id_ not in self.uncertain]
        assert [id_ for id_ in ids if id_ in set(certain)] == certain, f"out of order: {ids}, not {certain}"
        for message in session.messages:
            if message.id in self.edited and message.id not in self.uncertain:
                assert message.text == self.edited[message.id], f"{message.id}: {message.text}"

    async def check_views(self) -> None:
        """A list and look-ups by id show what a load shows."""
        session = await self.sessions.load("chat")
        heads = (await self.sessions.list_sessions(total=True)).sessions
        shown = [] if session is None else [("chat", len(session.messages), session.updated_at)]
        assert [(head.id, head.message_count, head.updated_at) for head in heads] == shown
        messages = {} if session is None else {message.id: message for message in session.messages}
        for id_ in {*messages, *self.accepted}:
            found = await self.sessions.find_message(id_)
            assert found == (("chat", messages[id_]) if id_ in messages else None), f"{id_}: {found}"

    async def check_stored(self) -> None:
        """The same of what is stored in the end, with nothing uncertain any more."""
        session = await self.others.load("chat")
        if session is None:
            assert not self.accepted
            return
        uncertain, self.uncertain = self.uncertain, set()
        ids = {message.id for message in session.messages}
        assert not ids & self.removed, f"came back: {ids & self.removed}"
        assert {*self.accepted, *self.foreign} - self.removed == ids
        self.uncertain = uncertain
        self.check(session)


async def _for_ever(_: float) -> None:
    await asyncio.get_running_loop().create_future()


async def _at_once(_: float) -> None:
    return


async def run(seeds: range) -> None:
    """Run one world for each seed; the first that fails tells its seed."""
    for seed in seeds:
        try:
            await Outage(seed).run()
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    runs, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    asyncio.run(run(range(first, first + runs)))
    print(f"{runs:,} runs from seed {first}: nothing lost, doubled, undone or out of order")  # noqa: T201
