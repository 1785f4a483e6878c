"""Random histories: a session that is changed in every way, from a seed, with the snapshot after each commit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from bamboo_sessions.domain.message import Message, to_stored
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey, StoredInsertion
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.conformance.kit import (
    appending,
    call,
    change,
    creation,
    edited,
    insertion,
    result,
    snapshot_of,
    user,
)

Step = Callable[[Snapshot], Commit]


class History:
    """One session under random changes. `snapshots[n]` is how storage showed it at revision `n + 1`."""

    def __init__(self, storage: SessionStorage, seed: int, session_id: str = "s") -> None:
        self.storage = storage
        self.session_id = session_id
        self.key = SessionKey("default", session_id)
        self.snapshots: list[Snapshot] = []
        self.outcomes: list[tuple[Commit, Committed]] = []
        self.ids: list[str] = []
        self._random = random.Random(seed)

    async def run(self, steps: int) -> None:
        """Create the session and change it `steps` times."""
        await self._commit(creation(self.session_id, *self._messages()))
        for _ in range(steps):
            state = self.snapshots[-1]
            step = self._random.choice([self._append, self._append, self._insert, self._edit, self._remove, self._head])
            commit = step(state) if state.messages else self._append(state)
            await self._commit(commit)

    async def _commit(self, commit: Commit) -> None:
        self.outcomes.append((commit, await self.storage.commit(commit)))
        self.snapshots.append(await snapshot_of(self.storage, self.session_id))

    def _message(self) -> Message:
        id_ = f"{self.session_id}{len(self.ids)}"
        self.ids.append(id_)
        call_id = f"call{self._random.randrange(3)}"
        return self._random.choice([user(id_), user(id_), call(id_, call_id), result(id_, call_id)])

    def _messages(self) -> list[Message]:
        return [self._message() for _ in range(self._random.randint(1, 3))]

    def _some(self, state: Snapshot) -> Sequence[Message]:
        messages = list(state.messages)
        return self._random.sample(messages, min(len(messages), self._random.randint(1, 3)))

    def _append(self, state: Snapshot) -> Commit:
        return appending(self.session_id, *self._messages())

    def _insert(self, state: Snapshot) -> Commit:
        anchors = {FRONT, *(message.id for message in self._some(state))}
        in_order = [FRONT, *(message.id for message in state.messages)]
        places = sorted(anchors, key=in_order.index)
        return change(state, insertions=tuple(insertion(self._messages(), place) for place in places))

    def _edit(self, state: Snapshot) -> Commit:
        number = len(self.snapshots)
        return change(state, edits=tuple(to_stored(edited(m, f"edit {number}")) for m in self._some(state)))

    def _remove(self, state: Snapshot) -> Commit:
        insertions: tuple[StoredInsertion, ...] = ()
        if self._random.random() < 0.3:
            insertions = (insertion(self._messages()),)
        return change(state, removals=tuple(m.id for m in self._some(state)), insertions=insertions)

    def _head(self, state: Snapshot) -> Commit:
        head = msgspec.structs.replace(state.head, model=f"model {len(self.snapshots)}")
        return change(state, head=head)
