"""Work that waits for storage to come back: for each session a chain of overlays, and what of it was refused.

This is the one home of such work; the cache knows nothing of it. What loads show is what is committed with the chain on
top, and a copy loaded meanwhile has that as its base, so that what is done to waiting messages is recorded like all
else. When storage is back, the overlays are saved in order, before anything newer of the session and under its lock. A
refused one is told, and the later ones go on without it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from bamboo_sessions.coordination.saving import SavePlan
from bamboo_sessions.domain.clock import Clock
from bamboo_sessions.domain.errors import BambooSessionsError, LeaseLostError, SessionDeletedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import DIRTY_BYTES_MAX, UNSAVED_WORK_MAX
from bamboo_sessions.domain.merge import rebase
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.overlay import Overlay, accepted, nothing_on
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.working_copy import (
    copy_of,
    copy_without_base,
    forget_base,
    freeze,
    link_of,
    rebase_copy,
)
from bamboo_sessions.storage.commit import SessionKey

_log: Final = logging.getLogger("bamboo_sessions")


class Waiting(msgspec.Struct, eq=False):
    """One accepted state.

    Args:
        overlay: What it does.
        commit_id: The one that it was, and will be, saved with: an unknown outcome settles itself.
        fence: The token of the run lease that it was written through.
        earlier: An earlier save of the copy that nobody knows the outcome of, and whose changes are in it, too.
        mine: The copy then: when the outcome is known, it is told anew what of it is new.
        is_done: Whether it waits no longer.
        is_called_off: Whether that is since the session was deleted.
        outcome: What was committed then; `None`: nothing.
    """

    overlay: Overlay
    commit_id: str
    fence: int | None = None
    earlier: SavePlan | None = None
    mine: Draft | None = None
    is_done: bool = False
    is_called_off: bool = False
    outcome: Snapshot | None = None

    def give_outcome_to(self, session: Session, *, creating: bool = False) -> bool:
        """Make a copy that has this work in it one of what became of that, with what was done to it since.

        Whether there was an outcome: not if it still waits, or if nothing of the session was ever committed.

        Raises:
            SessionDeletedError: It was to create the session, which was deleted before, and isn't created anew (G9).
        """
        link = link_of(session)
        if not self.is_done:
            return False
        if self.outcome is None and self.is_called_off and not creating:
            raise SessionDeletedError(session.id)
        link.unsettled = None
        if self.outcome is None:
            forget_base(session)
            return False
        if link.base is not None:
            head, messages = rebase(link.base, freeze(session), self.outcome)
            rebase_copy(session, self.outcome, head, messages)
        return True


class _Chain:
    """The overlays of one session, and the newest committed state that they are known to be on."""

    def __init__(self, committed: Snapshot | None) -> None:
        self.committed = committed
        self.items: deque[Waiting] = deque()
        self.gone: dict[str, list[Message]] = {}
        self._stored: set[str] = set()
        self.view: Snapshot | None = None

    @property
    def incarnation(self) -> int:
        """The life of the session that it belongs to; 0: one that it will begin."""
        before = self.items[0].overlay.before
        return before.head.incarnation if before is not None else 0

    def is_of(self, state: Snapshot) -> bool:
        """Whether it belongs to this life of the session (G9)."""
        return self.incarnation in {0, state.head.incarnation}

    def add(self, item: Waiting, view: Snapshot) -> None:
        """Put `item` behind all others; `view` is what loads show then."""
        self.items.append(item)
        self.view = view
        for message in item.overlay.gone:
            self.gone.setdefault(message.id, []).append(message)

    def knows_all_versions(self, id_: str) -> bool:
        """Whether a message was nowhere but in the work that waits: else only storage knows all its versions (G4)."""
        committed = self.committed
        return id_ not in self._stored and (committed is None or committed.messages.find(id_) is None)

    def remove(self, item: Waiting) -> None:
        """It waits no longer."""
        self.items.remove(item)
        self._stored.update(message.id for message in item.overlay.gone)
        self.view = None

    def move_to(self, committed: Snapshot | None) -> None:
        """Be on top of `committed`, if that is newer than what it was on."""
        known = self.committed
        if committed is not None and (known is None or committed.revision > known.revision):
            self.committed = committed
            self.view = None


class WaitingWork:
    """All work that waits, and what of it was refused for good.

    Args:
        clock: Dates what was refused.
        bytes_max: Bound of the work that waits, in bytes, roughly counted.
    """

    def __init__(self, clock: Clock, bytes_max: int = DIRTY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self._clock = clock
        self._chains: dict[SessionKey, _Chain] = {}
        self._refused: deque[UnsavedWork] = deque()

    def __contains__(self, key: SessionKey) -> bool:
        """Whether work of this session waits."""
        return key in self._chains

    def sessions(self) -> tuple[SessionKey, ...]:
        """The sessions whose work waits, each behind the one above it if that waits, too."""
        ordered: dict[SessionKey, None] = {}
        for key in self._chains:
            path: dict[SessionKey, None] = {}
            above: SessionKey | None = key
            while above is not None and above not in path and above not in ordered:
                path[above] = None
                above = self._waiting_parent(above)
            ordered.update(dict.fromkeys(reversed(path)))
        return tuple(ordered)

    def _waiting_parent(self, key: SessionKey) -> SessionKey | None:
        """The session above this one, if this one is yet to be created, and work of that waits, too."""
        first = self._chains[key].items[0].overlay
        parent = first.draft.head.parent_session_id
        above = SessionKey(key.namespace, parent) if first.before is None and parent is not None else None
        return above if above in self._chains else None

    # --- accepting

    def accept(self, session: Session, plan: SavePlan, committed: Snapshot | None) -> Snapshot | None:
        """Let what `plan` would have saved wait, behind all other; what loads show then.

        `None`: the bound would be passed. `committed` is the newest state that is known. The copy isn't touched but for
        the note that it has this work in it.

        Raises:
            LeaseLostError: It is of an older run lease than other work that waits.
            MessageIdConflictError: A message that it adds has an id that waiting work gave to other content.
        """
        self._fence_off(plan.key, plan.fence)
        link, chain = link_of(session), self._chain_of(plan, committed)
        state, base, earlier, gone = self._view(chain), plan.base, link.unsettled, chain.gone
        if not isinstance(earlier, SavePlan) or earlier.commit_id == plan.commit_id:
            earlier = None
        elif state is not None and base is not None:
            base = _with_those_in(base, state, earlier.added())
        elif state is not None:  # it was to create the session
            gone = {**gone, **_versions_in(state, plan.draft, earlier.added())}
        overlay = accepted(base, plan.draft, state, gone, chain.knows_all_versions, now=self._clock.now())
        if overlay is None and state is not None and earlier is not None:
            overlay = nothing_on(state)  # more may be told of it when the earlier save is settled
        if overlay is None:  # all of it waits already, or was committed
            link.unsettled = chain.items[-1] if chain.items else None
            return state
        if self.bytes + overlay.size > self.bytes_max:
            return None
        item = Waiting(overlay, plan.commit_id, plan.fence, earlier, plan.draft if earlier is not None else None)
        view = Snapshot(overlay.draft.head, overlay.draft.messages, is_committed=False)
        self._chains[plan.key] = chain
        chain.add(item, view)
        self.bytes += overlay.size
        link.unsettled = item
        return view

    def _chain_of(self, plan: SavePlan, committed: Snapshot | None) -> _Chain:
        """The session's chain on top of `committed`, which the copy has to be of, too (G9)."""
        key, base = plan.key, plan.base
        if base is not None and committed is not None and base.head.incarnation not in {0, committed.head.incarnation}:
            raise SessionDeletedError(key.session_id)
        chain = self._chains.get(key)
        if chain is not None and committed is not None and not chain.is_of(committed):
            for item in tuple(chain.items):
                self.refuse(key, item, SessionDeletedError(key.session_id))
            chain = None
        if chain is None:
            return _Chain(committed)
        chain.move_to(committed)
        return chain

    def _fence_off(self, key: SessionKey, fence: int | None) -> None:
        """The work of an older run lease is refused, so that loads show nothing that can't be saved (G12)."""
        chain = self._chains.get(key)
        for item in tuple(chain.items) if chain is not None and fence is not None else ():
            if item.fence is None or item.fence == fence:
                continue
            if item.fence > (fence or 0):
                raise LeaseLostError(key.session_id, token=fence or 0, newer_token=item.fence)
            self.refuse(key, item, LeaseLostError(key.session_id, token=item.fence, newer_token=fence))

    # --- saving

    def has(self, key: SessionKey, commit_id: str) -> bool:
        """Whether work that was accepted with this commit id waits."""
        return key in self._chains and any(item.commit_id == commit_id for item in self._chains[key].items)

    def has_waiting_parent(self, key: SessionKey) -> bool:
        """Whether the oldest work of a session creates it below one whose work waits, too."""
        return self._waiting_parent(key) is not None

    def creates(self, key: SessionKey) -> bool:
        """Whether work waits that creates the session."""
        return key in self._chains and not self._chains[key].incarnation and self._chains[key].committed is None

    def first(self, key: SessionKey) -> Waiting | None:
        """The oldest waiting work of a session."""
        chain = self._chains.get(key)
        return chain.items[0] if chain is not None else None

    def plan(self, key: SessionKey, item: Waiting, if_revision: int | None) -> SavePlan:
        """The save of the oldest waiting work."""
        base = self._chains[key].committed
        now = self._clock.now()
        return SavePlan(
            key=key,
            base=base,
            draft=item.overlay.on(base, now=now),
            now=now,
            commit_id=item.commit_id,
            fence=item.fence,
            if_revision=if_revision,
            repeated=item.overlay.repeated_on(base),
        )

    def settled(self, key: SessionKey, item: Waiting, committed: Snapshot | None) -> None:
        """The earlier save that it has in it was made, and led to `committed`; `None`: it wasn't made."""
        earlier, mine = item.earlier, item.mine
        item.earlier = item.mine = None
        if committed is None or earlier is None or mine is None:
            return
        chain = self._chains[key]
        chain.move_to(committed)
        chain.view = None
        now = self._clock.now()
        rest = accepted(earlier.sent(), mine, committed, {}, chain.knows_all_versions, now=now) or nothing_on(committed)
        item.overlay = msgspec.structs.replace(rest, size=item.overlay.size)

    def durable(self, key: SessionKey, item: Waiting, after: Snapshot) -> None:
        """It waits no longer: it was saved, and `after` is what is committed now."""
        chain = self._chains[key]
        chain.move_to(after)
        self._remove(key, chain, item)

    def refuse(self, key: SessionKey, item: Waiting, exc: BambooSessionsError) -> None:
        """It waits no longer: it never can be saved, and has to be told (L22)."""
        _log.error("session %r: work that waited in memory was refused: %s", key.session_id, exc)
        if len(self._refused) >= UNSAVED_WORK_MAX:
            _log.error("the list of refused work is full; dropped the oldest: %r", self._refused.popleft())
        item.is_called_off = isinstance(exc, SessionDeletedError)
        self._refused.append(self._unsaved(key, item, exc.code, str(exc)))
        self._remove(key, self._chains[key], item)

    def _remove(self, key: SessionKey, chain: _Chain, item: Waiting) -> None:
        item.is_done, item.outcome = True, chain.committed
        chain.remove(item)
        self.bytes -= item.overlay.size
        if not chain.items:
            del self._chains[key]

    # --- for those who read and ask

    def load(self, key: SessionKey, committed: Snapshot | None, clock: Clock) -> Session | None:
        """A copy of what is committed with what waits on top."""
        view = self.view(key, committed)
        if view is None:
            return None
        session = copy_of(view, clock)
        if not view.is_committed:
            link_of(session).unsettled = self._chains[key].items[-1]
        return session

    def view(self, key: SessionKey, committed: Snapshot | None) -> Snapshot | None:
        """What is committed with what waits on top; work of a former life isn't shown (G9)."""
        chain = self._chains.get(key)
        if chain is None or (committed is not None and not chain.is_of(committed)):
            return committed
        chain.move_to(committed)
        return self._view(chain)

    def heads(self, namespace: str) -> list[tuple[SessionHead, SessionHead | None]]:
        """Of each session whose work waits the head that loads show, and the committed one, as far as it is known."""
        found = []
        for key, chain in self._chains.items():
            view = self._view(chain) if key.namespace == namespace else None
            if view is not None:
                found.append((view.head, chain.committed.head if chain.committed is not None else None))
        return found

    def sessions_with(self, namespace: str, message_id: str) -> list[SessionKey]:
        """The sessions whose work waits, and that have this message with it."""
        views = ((key, self._view(chain)) for key, chain in self._chains.items() if key.namespace == namespace)
        return [key for key, view in views if view is not None and view.messages.find(message_id) is not None]

    def _view(self, chain: _Chain) -> Snapshot | None:
        if chain.view is None:
            chain.view = chain.committed
            for item in chain.items:
                draft = item.overlay.on(chain.view, now=self._clock.now())
                chain.view = Snapshot(draft.head, draft.messages, is_committed=False)
        return chain.view

    def unsaved(self, namespace: str | None) -> tuple[UnsavedWork, ...]:
        """What was refused, told once, and what waits, of a namespace or of all."""
        refused = tuple(work for work in self._refused if namespace in {None, work.namespace})
        self._refused = deque(work for work in self._refused if namespace not in {None, work.namespace})
        error = "Storage could not be reached; the work is kept in memory and retried."
        waiting = tuple(
            self._unsaved(key, item, "storage_unavailable", error)
            for key, chain in self._chains.items()
            for item in chain.items
            if namespace in {None, key.namespace}
        )
        return (*refused, *waiting)

    def _unsaved(self, key: SessionKey, item: Waiting, code: str, error: str) -> UnsavedWork:
        head = item.overlay.draft.head
        before, messages = item.overlay.as_told()
        if before is None:
            session = copy_without_base(head, messages, self._clock)
        else:
            session = copy_of(before, self._clock)
            rebase_copy(session, before, head, messages)
        link = link_of(session)
        link.unsettled, link.fence = item, item.fence
        at = self._clock.now()
        return UnsavedWork(
            namespace=key.namespace, session_id=key.session_id, error=error, code=code, at=at, session=session
        )

    def stats(self, namespace: str | None) -> dict[str, int]:
        """How many sessions have waiting work, and how much work was refused: of a namespace, or of all."""
        return {
            "dirty_sessions": sum(namespace in {None, key.namespace} for key in self._chains),
            "refused_saves": sum(namespace in {None, work.namespace} for work in self._refused),
        }


def _versions_in(state: Snapshot, mine: Draft, added: Sequence[Message]) -> dict[str, list[Message]]:
    """What the copy has of those of `added` that are in `state`: it contradicts nothing before that is settled."""
    found = (mine.messages.find(message.id) for message in added if state.messages.find(message.id) is not None)
    return {message.id: [message] for message in found if message is not None}


def _with_those_in(base: Snapshot, state: Snapshot, added: Sequence[Message]) -> Snapshot:
    """`base` with those of `added` that are in `state`, whoever brought them: what was done to them since are edits.

    It doesn't say that the save which was to add them was made: somebody may have appended one of them.
    """
    there = tuple(message for message in added if state.messages.find(message.id) is not None)
    return Snapshot(base.head, base.messages.extended(there), is_committed=False) if there else base
