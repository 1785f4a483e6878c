"""`BambooSession`: a session of the OpenAI Agents SDK, kept in a `SessionRepository`.

```python
session = BambooSession("chat-42", "sqlite:///agents.db")
result = await Runner.run(agent, "Where is my order?", session=session)
```

Items come back as they were given. What the model gives in one go is one message of the assistant, every other item a
message of its own (`formats.openai_responses`), so that listings, search, forks and other frameworks work on what the
SDK stores. Items are kept exactly in their order. Messages that others add show as items as far as the format has any;
events don't.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from agents import RunHooks
from agents.memory import SessionSettings

from bamboo_sessions.adapters.opening import Store, finished
from bamboo_sessions.domain.errors import PreconditionFailedError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.formats.items import NOT_UNDERSTOOD, REASONING
from bamboo_sessions.formats.openai_responses import from_messages, to_messages
from bamboo_sessions.repository import SessionRepository
from bamboo_sessions.repository.leases import OnBusy
from bamboo_sessions.repository.run_lease import RunLease

Item = dict[str, Any]
"""An item of the Responses API, as JSON."""

Items = list[Item]

T = TypeVar("T")


class BambooSession:
    """One conversation, as the SDK's `Session`: any number of these objects, in any processes, may be of one.

    Writing calls are atomic and durable on return (G1). A cancelled one ends when its outcome is there, as the SDK
    wants it. Making the object costs nothing and touches no file.

    Args:
        session_id: Which conversation; it is made with the first items.
        sessions: An open repository, or the URL or path of a store, which is opened on first use.
        owner, title, model: Of a session that is made.
        session_settings: The SDK's settings, such as the `limit` of `get_items`.
        lease: Write through this run lease; `run` makes one.

    Raises:
        InputError: `sessions` is no repository, URL or path.
    """

    def __init__(
        self,
        session_id: str,
        sessions: SessionRepository | str | Path = "sqlite:///agents.db",
        *,
        owner: str | None = None,
        title: str | None = None,
        model: str | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        lease: RunLease | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = _settings(session_settings)
        self._store = Store(sessions)
        self._owner, self._title, self._model = owner, title, model
        self._lease = lease
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<BambooSession {self.session_id!r}{', closed' if self._is_closed else ''}>"

    # --- the SDK's Session

    async def get_items(self, limit: int | None = None) -> Items:
        """The items, oldest first.

        Args:
            limit: The newest so many; 0: none; `None`: as the settings say, or all; negative: all.
        """
        sessions = await self._repository()
        session = await sessions.load(self.session_id)
        count = limit if limit is not None else self.session_settings.limit
        return _newest(session.messages if session is not None else (), count)

    async def add_items(self, items: Items) -> None:
        """Add items at the end, in one commit."""
        sessions = await self._repository()
        messages = to_messages(items)
        if not messages:
            return
        if self._lease is not None:
            await finished(self._lease.append(*messages, in_order=True))
        else:
            await finished(sessions.append(self.session_id, *messages, create=self._first(sessions), in_order=True))

    async def pop_item(self) -> Item | None:
        """Remove the newest item and return it; `None` if there is none. Two callers never get the same."""
        return await finished(self._popped())

    async def clear_session(self) -> None:
        """Remove all items. The session stays, with its title and what else people see of it."""
        await finished(self._changed(_clear))

    # --- what the SDK looks for by name, to compact a history in one step

    async def _atomic_replace_items(self, items: Items) -> bool:
        if self._is_changed:
            return False
        await finished(self._replaced(to_messages(items), None))
        return True

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[Item], bool] | None = None
    ) -> Snapshot | None:
        if self._is_changed:
            return None
        sessions = await self._repository()
        session = await sessions.load(self.session_id)
        items = _newest(session.messages, None) if session is not None else []
        seen = items[-limit:] if limit > 0 else []

        async def replace_suffix(start: int, output: Items) -> bool:
            return bool(seen[start:]) and await finished(self._suffix_replaced(seen[start:], output, prune_prefix))

        return Snapshot(seen, len(seen) == len(items), replace_suffix)

    async def _suffix_replaced(
        self, suffix: Sequence[Item], output: Sequence[Item], prune_prefix: Callable[[Item], bool] | None
    ) -> bool:
        sessions = await self._repository()
        while (session := await sessions.load(self.session_id, fresh=True)) is not None:
            messages = list(session.messages)
            for expected in reversed(suffix):
                if _pop_from(messages) != expected:
                    return False
            if prune_prefix is not None:
                _prune(messages, prune_prefix)
            try:
                await self._replaced([*messages, *to_messages(output)], session)
            except PreconditionFailedError:  # somebody was faster; perhaps with something else
                continue
            return True
        return False

    async def _replaced(self, messages: Sequence[Message], seen: Session | None) -> None:
        """Make these the history, if it is still as it was `seen`."""
        sessions = await self._repository()
        if self._lease is not None:
            last = None if seen is None else seen.messages[-1].id
            await self._lease.replace_history(messages, if_last_message=last)
            return
        revision = None if seen is None else seen.revision
        try:
            await sessions.replace_history(self.session_id, messages, if_revision=revision)
        except SessionNotFoundError:
            if messages:
                await sessions.append(self.session_id, *messages, create=self._first(sessions), in_order=True)

    # --- more than the SDK asks for

    async def head(self) -> SessionHead | None:
        """Title, owner, times and all else but the messages; `None` if there is no such session yet."""
        session = await (await self._repository()).load(self.session_id)
        return None if session is None else freeze(session).head

    async def add_usage(self, *records: TokenUsageRecord) -> None:
        """Add model calls to the session's token ledger; a record that is there already changes nothing."""
        sessions = await self._repository()
        await finished(sessions.append(self.session_id, usage=records, create=self._first(sessions)))

    async def rename(self, title: str) -> SessionHead:
        """Give it a title, as a person does: no run takes it back (G5). Raises `SessionNotFoundError`."""
        return await (await self._repository()).rename(self.session_id, title)

    async def fork(self, new_id: str | None = None) -> BambooSession:
        """An independent session that begins with this one's history. Raises `SessionNotFoundError`."""
        sessions = await self._repository()
        forked = await sessions.fork(self.session_id, new_id=new_id)
        return BambooSession(forked.id, sessions, session_settings=self.session_settings)

    @asynccontextmanager
    async def run(
        self,
        *,
        on_busy: OnBusy = "wait",
        timeout: float | None = None,  # noqa: ASYNC109 - as that of `lease`, to which it is handed
    ) -> AsyncIterator[BambooSession]:
        """`async with session.run() as session:` runs an agent on it while nobody else does.

        Without it two runs at once lose nothing, but their turns are woven into one conversation. What is written
        through the session of the block is refused once somebody else has taken over (G12).

        Args:
            on_busy: If somebody runs it: `"wait"` for one's turn, `"reject"`, or `"fork"`: go on in a fork.
            timeout: With `"wait"`: for how many seconds at most; `None`: for ever.

        Raises:
            SessionBusyError: Somebody runs it, or the `timeout` has passed.
        """
        sessions = await self._repository()
        first = self._first(sessions)
        async with sessions.lease(self.session_id, on_busy=on_busy, timeout=timeout, create=first) as lease:
            yield BambooSession(lease.session.id, sessions, session_settings=self.session_settings, lease=lease)

    @classmethod
    async def list(
        cls,
        sessions: SessionRepository | str | Path = "sqlite:///agents.db",
        *,
        owner: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[BambooSession]:
        """The sessions of an owner, or all, the newest first; `limit` of them at most."""
        repository = await Store(sessions).repository()
        left = limit
        async for head in repository.iter_sessions(owner=owner):
            if left is not None and left <= 0:
                return
            left = None if left is None else left - 1
            yield cls(head.id, sessions)

    @staticmethod
    async def search(
        sessions: SessionRepository | str | Path, text: str, *, owner: str | None = None, limit: int = 20
    ) -> SearchPage:
        """The titles and messages that match, best first; see `SessionRepository.search`."""
        return await (await Store(sessions).repository()).search(text, owner=owner, limit=limit)

    def close(self) -> None:
        """Refuse calls from now on. The store stays open for others, until the event loop ends."""
        self._is_closed = True

    async def aclose(self) -> None:
        """As `close`."""
        self.close()

    # --- parts

    @property
    def _is_changed(self) -> bool:
        """Whether a subclass has calls of its own, which one step for several of them would pass by."""
        calls = ("get_items", "add_items", "pop_item", "clear_session")
        return any(getattr(type(self), call) is not getattr(BambooSession, call) for call in calls)

    async def _repository(self) -> SessionRepository:
        if self._is_closed:
            raise RuntimeError(f"{type(self).__name__} is closed: make another one, which costs nothing.")
        return await self._store.repository()

    def _first(self, sessions: SessionRepository) -> Session:
        """The session to make if there is none."""
        return Session(self.session_id, self._model, title=self._title, owner=self._owner, namespace=sessions.namespace)

    async def _popped(self) -> Item | None:
        """As a removal of the last message, which is a short commit, where that is one item."""
        sessions = await self._repository()
        session = await sessions.load(self.session_id)
        items = from_messages(session.messages[-1:]) if session is not None else []
        if session is None or len(items) != 1 or self._lease is not None:
            return await self._changed(_pop)
        try:
            await sessions.remove_last(self.session_id, if_revision=session.revision)
        except PreconditionFailedError:  # somebody was faster
            return await self._changed(_pop)
        return items[0]

    async def _changed(self, change: Callable[[Session], T]) -> T | None:
        """Change the newest state; what `change` returned for what was committed. `None`: there is no session."""
        sessions = await self._repository()
        returned: list[T] = []
        if self._lease is not None:
            copy = await sessions.get(self.session_id)
            returned.append(change(copy))
            await self._lease.save(copy)
            return returned[-1]
        try:
            await sessions.update(self.session_id, lambda session: returned.append(change(session)))
        except SessionNotFoundError:
            return None
        return returned[-1]


class Snapshot(NamedTuple):
    """The newest items of a session, and the way to replace some of them if nobody was faster."""

    items: Sequence[Item]
    complete: bool
    replace_suffix: Callable[[int, Items], Awaitable[bool]]


class UsageHooks(RunHooks):  # type: ignore[misc,unused-ignore]  # without the SDK it has no type
    """Writes each model call of a run into the token ledger: `Runner.run(…, hooks=UsageHooks(session))`.

    Args:
        session: Whose ledger.
    """

    def __init__(self, session: BambooSession) -> None:
        self._session = session

    async def on_llm_end(self, context: object, agent: Any, response: Any) -> None:  # noqa: ANN401 - the SDK's objects
        """Called by the SDK."""
        usage = response.usage
        record = TokenUsageRecord(
            model=agent.model if isinstance(agent.model, str) else None,
            provider="openai",
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_input_tokens=usage.input_tokens_details.cached_tokens or 0,
            thinking_tokens=usage.output_tokens_details.reasoning_tokens or 0,
            metadata={} if response.response_id is None else {"response_id": response.response_id},
        )
        await self._session.add_usage(record)


def _settings(settings: SessionSettings | dict[str, Any] | None) -> SessionSettings:
    if isinstance(settings, dict):
        unknown = sorted(settings.keys() - {field.name for field in dataclasses.fields(SessionSettings)})
        if unknown:
            raise TypeError(f"Unknown session settings: {', '.join(unknown)}")
        return SessionSettings(**settings)
    return settings if settings is not None else SessionSettings()


# --- items and messages


def _newest(messages: Sequence[Message], count: int | None) -> Items:
    """The newest `count` items, in order; `None` or negative: all. Reads no more messages than it takes."""
    if count is None or count < 0:
        return from_messages(messages)
    items: Items = []
    for message in reversed(messages):
        if len(items) >= count:
            break
        items[:0] = from_messages([message])
    return items[len(items) - count :] if count < len(items) else items


def _pop(session: Session) -> Item | None:
    return _pop_from(session.messages)


def _clear(session: Session) -> None:
    del session.messages[:]


def _pop_from(messages: Any) -> Item | None:  # noqa: ANN401 - a list of messages, or what a copy has for one
    """Take the newest item out of the messages. Messages that aren't items, as events, stay."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        items = from_messages([message])
        if not items:
            continue
        *others, newest = items
        if others:
            messages[index] = _without_end(message, others)
        else:
            del messages[index]
        return newest
    return None


def _prune(messages: list[Message], is_over: Callable[[Item], bool]) -> None:
    """Take out the oldest messages, as far as all their items are over."""
    count = 0
    for message in messages:
        if not all(map(is_over, from_messages([message]))):
            break
        count += 1
    del messages[:count]


def _without_end(message: Message, items: Sequence[Item]) -> Message:
    """The message of a response of which only these items are left."""
    (left,) = to_messages(items)
    kept = {key: value for key, value in message.metadata.items() if key not in {REASONING, NOT_UNDERSTOOD}}
    return msgspec.structs.replace(
        left, id=message.id, created_at=message.created_at, name=message.name, metadata={**kept, **left.metadata}
    )
