"""The runtime writers of one process: they replay conversations from working copies that are old when they are saved.

All writers of all processes replay the same conversations into the same sessions, each under message ids of its own.
They take the sessions a few at a time: load a copy of each, work, add a turn to each copy, save the whole copy. By then
others have committed to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from bamboo_sessions.cli.demo.conversations import Conversation
from bamboo_sessions.cli.demo.link import Counters, Words
from bamboo_sessions.cli.demo.stores import Store
from bamboo_sessions.domain.session import Session
from bamboo_sessions.testing.history_checker import TurnAcknowledged

COPIES_AHEAD: Final = 8
"""Copies that a writer loads before it saves the first of them: they get as old as the others are fast."""


async def replay(
    store: Store, conversations: Sequence[Conversation], counters: Counters, words: Words, *, name: str, writers: int
) -> None:
    """Wait for `load`, load the first copies, wait for `go`, and replay everything, or until `stop`."""
    names = [f"{name}.{number + 1}" for number in range(writers)]
    counters.total = writers * sum(len(conversation.turns) for conversation in conversations)
    await words.event("load").wait()
    # Everybody holds a copy of every session before anything else happens to it: these are sure to be old.
    first = [{c.id: await store.load(c.id) for c in conversations} for _ in names]
    counters.report("loaded")
    await words.event("go").wait()
    async with asyncio.TaskGroup() as group:
        for writer, copies in zip(names, first, strict=True):
            group.create_task(_Writer(writer, store, counters, words.event("stop"), copies).replay(conversations))
    counters.report("replayed")


class _Writer:
    def __init__(
        self, name: str, store: Store, counters: Counters, stop: asyncio.Event, copies: dict[str, Session]
    ) -> None:
        self._name = name
        self._store = store
        self._counters = counters
        self._stop = stop
        self._copies = copies

    async def replay(self, conversations: Sequence[Conversation]) -> None:
        for number in range(max(len(conversation.turns) for conversation in conversations)):
            going_on = [conversation for conversation in conversations if number < len(conversation.turns)]
            for some in _batches(going_on):
                if self._stop.is_set():
                    return
                await self._replay_turn(some, number)

    async def _replay_turn(self, conversations: Sequence[Conversation], number: int) -> None:
        for conversation in conversations:
            if conversation.id not in self._copies:
                self._copies[conversation.id] = await self._store.load(conversation.id)
        for conversation in conversations:
            await self._save_turn(self._copies.pop(conversation.id), conversation, number)

    async def _save_turn(self, session: Session, conversation: Conversation, number: int) -> None:
        messages = conversation.turn(number, writer=self._name)
        for message in messages:
            session.add_message(message)
            await asyncio.sleep(0)  # a model and its tools take their time; others go on meanwhile
        merged = await self._store.save(session)
        counters = self._counters
        counters.turns += 1
        counters.messages += len(messages)
        counters.merged += merged > 0
        counters.note(TurnAcknowledged(session.id, self._name, tuple(message.id for message in messages)))


def _batches(conversations: Sequence[Conversation]) -> Iterator[list[Conversation]]:
    remaining = iter(conversations)
    while some := list(islice(remaining, COPIES_AHEAD)):
        yield some
