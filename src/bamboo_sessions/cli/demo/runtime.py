"""The runtime writers of one process: they replay conversations from working copies that are old when they are saved.

All writers of all processes replay the same conversations into the same sessions, each under message ids of its own.
They take the sessions a few at a time: every writer loads a copy of each, works, adds a turn to each copy, and saves
the whole copy. By then others have committed to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from bamboo_sessions.cli.demo.conversations import Conversation
from bamboo_sessions.cli.demo.link import Counters, Words
from bamboo_sessions.cli.demo.stores import Store
from bamboo_sessions.domain.session import Session
from bamboo_sessions.testing.history_checker import TurnAcknowledged

COPIES_AHEAD: Final = 8
"""Copies that a writer loads before it saves the first of them: the more, the older they get."""


async def replay(
    store: Store, conversations: Sequence[Conversation], counters: Counters, words: Words, *, name: str, writers: int
) -> None:
    """Wait for `load`, load the first copies, wait for `go`, and replay everything, or until `stop`."""
    counters.total = writers * sum(len(conversation.turns) for conversation in conversations)
    everybody = [_Writer(f"{name}.{number + 1}", store, counters) for number in range(writers)]
    await words.event("load").wait()
    # Everybody holds a copy of every session before anything else happens to it: these are sure to be old.
    await _load(everybody, conversations)
    counters.report("loaded")
    await words.event("go").wait()
    for number, some in _batches(conversations):
        if words.event("stop").is_set():
            break
        await _load(everybody, some)
        async with asyncio.TaskGroup() as group:
            for place, writer in enumerate(everybody):
                group.create_task(writer.save_turns([*some[place:], *some[:place]], number))
    counters.report("replayed")


def _batches(conversations: Sequence[Conversation]) -> Iterator[tuple[int, Sequence[Conversation]]]:
    """All first turns, a few sessions at a time, then all second ones, and so on."""
    for number in range(max(len(conversation.turns) for conversation in conversations)):
        going_on = [conversation for conversation in conversations if number < len(conversation.turns)]
        for start in range(0, len(going_on), COPIES_AHEAD):
            yield number, going_on[start : start + COPIES_AHEAD]


async def _load(writers: Sequence[_Writer], conversations: Sequence[Conversation]) -> None:
    for writer in writers:
        await writer.load(conversations)


class _Writer:
    """One runtime writer, with the working copies that it holds."""

    def __init__(self, name: str, store: Store, counters: Counters) -> None:
        self._name = name
        self._store = store
        self._counters = counters
        self._copies: dict[str, Session] = {}

    async def load(self, conversations: Sequence[Conversation]) -> None:
        """Load copies of those sessions of which it holds none."""
        for conversation in conversations:
            if conversation.id not in self._copies:
                self._copies[conversation.id] = await self._store.load(conversation.id)

    async def save_turns(self, conversations: Sequence[Conversation], number: int) -> None:
        """Add a turn to each copy, save it, and let it go."""
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
