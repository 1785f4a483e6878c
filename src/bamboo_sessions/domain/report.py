"""What the operations return: reports, pages and totals. All frozen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.values import Value


class MergeConflict(Value, frozen=True):
    """Two writers changed the same thing, and how it was settled.

    `what` is a field (`"model"`), a metadata key (`"metadata.colour"`) or a message (`"message:<id>"`); `kept` says
    whose change stands: the saver's (`"mine"`), the committed one (`"durable"`), or a removal (`"removed"`).
    """

    what: str
    kept: Literal["mine", "durable", "removed"]


class MergeReport(Value, frozen=True, kw_only=True):
    """What a save did.

    Args:
        revision: The session's revision now.
        changed: Whether a commit was made; a save without changes makes none.
        merged: Ids of messages that others had committed and that this copy now has.
        removed: Ids of messages that this save took out.
        conflicts: What was changed on both sides, and how that was settled.
        authoritative_ignored: Fields that this copy had changed without the right to, because a person's
            state is as new or newer (G5).
        orphaned_tool_results: Ids of tool results whose call is gone; they are kept and hidden from models.
        duplicates: Ids of additions that weren't made, as the message was stored before with this content: it is
            there already, or was edited or removed since and stays so (G4).
    """

    revision: int
    changed: bool = False
    merged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    conflicts: tuple[MergeConflict, ...] = ()
    authoritative_ignored: tuple[str, ...] = ()
    orphaned_tool_results: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()


class Appended(Value, frozen=True, kw_only=True):
    """What an append did: the revision and the number of messages now, and the ids that weren't added.

    Those were stored before with this content, and are there already, or were edited or removed since (G4).
    """

    revision: int
    message_count: int
    duplicates: tuple[str, ...] = ()


class SessionPage(Value, frozen=True, kw_only=True):
    """A page of a listing, to iterate over: `len` counts its heads.

    `next_cursor` is `None` on the last one; `total` only if it was asked for.
    """

    sessions: tuple[SessionHead, ...]
    next_cursor: str | None = None
    total: int | None = None

    def __iter__(self) -> Iterator[SessionHead]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)


class HistoryPage(Value, frozen=True, kw_only=True):
    """A window of a history, to iterate over. `message_count` counts the whole history at `revision`."""

    messages: tuple[Message, ...]
    has_earlier: bool
    has_later: bool
    message_count: int
    revision: int

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


class CleanupFailure(Value, frozen=True):
    """A session that could not be deleted, and why. An empty `session_id`: further ones could not be listed."""

    session_id: str
    error: str


class CleanupReport(Value, frozen=True, kw_only=True):
    """What a clean-up deleted (every session, children too), and what it could not delete (L40)."""

    deleted: tuple[str, ...] = ()
    failed: tuple[CleanupFailure, ...] = ()


class UnsavedWork(Value, frozen=True, kw_only=True):
    """Work that storage refused for good after a tolerant save: which session, why, and when."""

    namespace: str
    session_id: str
    error: str
    code: str
    at: datetime
    session: Session


class Problem(Value, frozen=True, kw_only=True):
    """One finding of a check.

    `kind` is a stable word, `repair` says what `check(repair=True)` does about it (`None`: nothing).
    """

    kind: str
    detail: str
    session_id: str | None = None
    namespace: str | None = None
    repair: str | None = None
    repaired: bool = False


class CheckReport(Value, frozen=True, kw_only=True):
    """The outcome of a consistency check. `backup` is the copy made before a repair."""

    sessions: int
    messages: int
    problems: tuple[Problem, ...] = ()
    backup: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, or everything was repaired."""
        return all(problem.repaired for problem in self.problems)
