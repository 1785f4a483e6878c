"""Work that waits for storage to come back: one state of each working copy whose tolerant save failed, in order.

Each is saved on its own, the oldest first, and before anything newer of its session: nothing is ever united, so
nothing can get lost in between, and older work is never merged on top of newer work. A copy that has waiting work in
it, as the one it is a state of or because it was loaded meanwhile, notes that. Its next save goes on from what became
of that work, and puts nothing back. All this happens under the session's lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import Clock
from bamboo_sessions.domain.errors import BambooSessionsError, LeaseLostError
from bamboo_sessions.domain.limits import UNSAVED_WORK_MAX
from bamboo_sessions.domain.merge import merge, rebase
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.working_copy import copy_of, copy_without_base, freeze, link_of, rebase_copy
from bamboo_sessions.storage.commit import SessionKey

_log: Final = logging.getLogger("bamboo_sessions")

_NEVER_A_BASE: Final = -1
"""The revision of a state that isn't committed: no copy was loaded at it."""


class Waiting(msgspec.Struct, eq=False):
    """Waiting work.

    Args:
        maker: The working copy that it is a state of.
        work: That state, which is saved in the place of the maker.
        is_durable: Whether that was done; `work` is what came of it then.
    """

    maker: Session
    work: Session
    is_durable: bool = False


class Included(msgspec.Struct, frozen=True):
    """What a copy notes that has waiting work in it.

    Args:
        items: The work.
        draft: The copy when that was all that it had.
    """

    items: tuple[Waiting, ...]
    draft: Draft

    def adopt(self, session: Session) -> bool:
        """Make `session` what became of the work, with what was done to it since; whether its own work is durable.

        What was refused is still in the copy, whose own save will be refused for the same reason.
        """
        link_of(session).unsettled = None
        if not all(item.is_durable for item in self.items):
            return False
        newest = link_of(max((item.work for item in self.items), key=lambda work: work.revision)).base
        assert newest is not None  # noqa: S101 - it is durable
        _go_on(session, self.draft, newest, newest)
        return any(item.maker is session for item in self.items)


class WaitingWork:
    """All work that waits, and what of it was refused for good."""

    def __init__(self, cache: SessionCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._items: dict[SessionKey, tuple[Waiting, ...]] = {}
        self._refused: deque[UnsavedWork] = deque()

    def first(self, key: SessionKey) -> Waiting | None:
        """The oldest waiting work of a session."""
        return next(iter(self._items.get(key, ())), None)

    def keep(self, session: Session) -> bool:
        """Let the present state of `session` wait, behind all other; `False` if the bound would be passed.

        That may be later than the save that failed, whose caller perhaps gave up waiting and went on.

        Raises:
            LeaseLostError: It is of an older run lease than other work that waits.
        """
        key = SessionKey(session.namespace, session.id)
        self._fence_off(key, link_of(session).fence)
        items = self._items.get(key, ())
        others = tuple(item for item in items if item.maker is not session)
        mine = next((item for item in items if item.maker is session), None)
        before, work = (mine.work, _later(mine)) if mine else (None, session.copy())
        mine = mine or Waiting(session, work)
        mine.work = work
        if not self._show(key, (*others, mine)):
            mine.work = before or work
            return False
        self._items[key] = (*others, mine)
        link_of(session).unsettled = Included((mine,), freeze(session))
        return True

    def _fence_off(self, key: SessionKey, fence: int | None) -> None:
        """The work of an older run lease is refused, so that loads show nothing that can't be saved (G12)."""
        for item in self._items.get(key, ()):
            other = link_of(item.work).fence
            if fence is None or other is None:
                continue
            if other > fence:
                raise LeaseLostError(key.session_id, token=fence, newer_token=other)
            if other < fence:
                self.refuse(key, item, LeaseLostError(key.session_id, token=other, newer_token=fence))

    def durable(self, key: SessionKey, item: Waiting) -> None:
        """It waits no longer: it was saved."""
        item.is_durable = True
        self._remove(key, item)

    def refuse(self, key: SessionKey, item: Waiting, exc: BambooSessionsError) -> None:
        """It waits no longer: it never can be saved, and has to be told (L22)."""
        _log.error("session %r: work that waited in memory was refused: %s", key.session_id, exc)
        if len(self._refused) >= UNSAVED_WORK_MAX:
            _log.error("the list of refused work is full; dropped the oldest: %r", self._refused.popleft())
        self._refused.append(_unsaved(key, item.work, exc.code, str(exc), self._clock))
        self._remove(key, item)

    def _remove(self, key: SessionKey, item: Waiting) -> None:
        left = tuple(other for other in self._items[key] if other is not item)
        if left:
            self._items[key] = left
            self._show(key, left)
        else:
            del self._items[key]
            self._cache.clear_dirty(key, self._cache.dirty()[key])

    def _show(self, key: SessionKey, items: Sequence[Waiting]) -> bool:
        """Pin in the cache what loads show; `False` if the bound on such work would be passed."""
        entry = self._cache.entry(key)
        known = entry.snapshot if entry is not None and not entry.by_hand else link_of(items[0].work).base
        shown = on_top(known, items, self._clock)
        return self._cache.set_dirty(key, shown, sum(_size(item.work) for item in items))

    # --- for those who read and ask

    def on_top(self, key: SessionKey, state: Snapshot | None) -> Session | None:
        """What is committed with what waits on top, so that the next save still writes the latter (L107)."""
        items = self._items.get(key, ())
        return None if state is None and not items else on_top(state, items, self._clock)

    def unsaved(self, namespace: str | None) -> tuple[UnsavedWork, ...]:
        """What was refused, told once, and what waits, of a namespace or of all."""
        refused = [work for work in self._refused if namespace in {None, work.namespace}]
        self._refused = deque(work for work in self._refused if work not in refused)
        error = "Storage could not be reached; the work is kept in memory and retried."
        waiting = [
            _unsaved(key, item.work.copy(), "storage_unavailable", error)
            for key, items in self._items.items()
            for item in items
            if namespace in {None, key.namespace}
        ]
        return (*refused, *waiting)

    def stats(self, namespace: str | None) -> dict[str, int]:
        """How many sessions have waiting work, and how much work was refused: of a namespace, or of all."""
        return {
            "dirty_sessions": sum(namespace in {None, key.namespace} for key in self._items),
            "refused_saves": sum(namespace in {None, work.namespace} for work in self._refused),
        }


def on_top(state: Snapshot | None, items: Sequence[Waiting], clock: Clock) -> Session:
    """A copy of `state` with the work of `items` in it, one after another; but no work of a former life (G9)."""
    if state is not None:
        items = tuple(item for item in items if _life(item.work) in {None, state.head.incarnation})
        if not items:
            return copy_of(state, clock)
    shown = state
    for item in items:
        merged = merge(link_of(item.work).base, freeze(item.work), shown, now=clock.now())
        head = msgspec.structs.replace(merged.head, revision=_NEVER_A_BASE)
        shown = Snapshot(head, merged.messages)
    assert shown is not None  # noqa: S101 - there is a state, or an item
    if state is None:
        head = msgspec.structs.replace(shown.head, revision=0)
        session = copy_without_base(head, shown.messages, clock)
    else:
        session = copy_of(state, clock)
        rebase_copy(session, state, shown.head, shown.messages)
    # Part of it was written through a run lease, and stays so (G12).
    link_of(session).fence = next(
        (link_of(item.work).fence for item in items if link_of(item.work).fence is not None), None
    )
    link_of(session).unsettled = Included(tuple(items), freeze(session))
    return session


def _later(mine: Waiting) -> Session:
    """The present state of the maker, in the place of the earlier one that waits."""
    work = mine.maker.copy()
    note = link_of(mine.maker).unsettled
    if (
        isinstance(note, Included) and link_of(mine.work).base is not link_of(mine.maker).base
    ):  # part of it turned out to be durable
        before = freeze(mine.work)
        _go_on(work, note.draft, link_of(mine.work).base, Snapshot(before.head, before.messages))
    link_of(work).unsettled = link_of(mine.work).unsettled
    return work


def _go_on(session: Session, before: Draft, base: Snapshot | None, after: Snapshot) -> None:
    """Make `session` a copy of `base` that has what was done to it since `before` on top of `after`."""
    assert base is not None  # noqa: S101 - it is what became of waiting work
    head, messages = rebase(Snapshot(before.head, before.messages), freeze(session), after)
    rebase_copy(session, base, head, messages)


def _life(work: Session) -> int | None:
    base = link_of(work).base
    return None if base is None else base.head.incarnation


def _unsaved(key: SessionKey, work: Session, code: str, error: str, clock: Clock | None = None) -> UnsavedWork:
    at = work.updated_at if clock is None else clock.now()
    return UnsavedWork(namespace=key.namespace, session_id=key.session_id, error=error, code=code, at=at, session=work)


def _size(work: Session) -> int:
    """Bytes of what is new or changed in `work`, roughly."""
    draft = freeze(work)
    known = {id(message) for message in work.messages.base}
    messages = sum(len(json.encode(message)) for message in draft.messages if id(message) not in known)
    base = link_of(work).base
    head = 0 if base is not None and draft.head is base.head else len(json.encode(draft.head))
    return messages + head
