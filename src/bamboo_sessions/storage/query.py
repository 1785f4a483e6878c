"""Questions to storage: which sessions, which part of a history; and the opaque cursors of listings."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_DEFAULT, PAGE_MAX, RECORD_PAGE_BYTES_MAX
from bamboo_sessions.domain.message import Message

Order = Literal["-updated_at", "updated_at", "-created_at", "created_at"]
ORDERS: Final[tuple[str, ...]] = get_args(Order)


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the order, the last row's time in microseconds, and its session id as a tie-breaker."""

    order: str
    micros: int
    session_id: str


class ListQuery(msgspec.Struct, frozen=True):
    """Which sessions of one namespace, in which order. Filters apply before paging; `None` means any."""

    namespace: str
    limit: int = PAGE_DEFAULT
    cursor: Cursor | None = None
    order: Order = "-updated_at"
    owner: str | None = None
    owner_prefix: str | None = None
    kind: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    parent: str | None = None
    root: str | None = None
    has_question: bool | None = None
    run_status: str | None = None
    updated_before: datetime | None = None
    total: bool = False


class HeadPage(msgspec.Struct, frozen=True):
    """Rows of a listing. `next_cursor` is `None` on the last page."""

    heads: tuple[SessionHead, ...]
    next_cursor: Cursor | None
    total: int | None


class WindowQuery(msgspec.Struct, frozen=True):
    """A stretch of a history: the newest `count` messages, those before one, or those after one.

    `at_revision` reads the messages as they were at that revision of the current incarnation.
    """

    count: int
    after: str | None = None
    before: str | None = None
    at_revision: int | None = None


class Window(msgspec.Struct, frozen=True):
    """A stretch of a history as storage has it; call groups may be cut at its borders."""

    messages: tuple[Message, ...]
    has_earlier: bool
    has_later: bool
    message_count: int
    revision: int


class DeleteQuery(msgspec.Struct, frozen=True):
    """Which tree to delete, and what must hold inside the transaction, else nothing is deleted.

    Args:
        keep_pinned: Spare the whole tree if any session in it is pinned (L39).
        only_empty: Spare it if any session in it has messages.
        updated_before: Spare it if any session in it was updated at or after this time.
        force: Delete it although a run holds a session in it; else that is refused with `SessionBusyError`.
        if_revision: The revision that the session itself must have; else `PreconditionFailedError`. One that doesn't
            live is no error.
        commit_id: Made by the caller's side; the same id again answers with what was deleted then, and deletes nothing
            (G4). `None`: nobody will ask again.
    """

    at: datetime
    keep_pinned: bool = False
    only_empty: bool = False
    updated_before: datetime | None = None
    force: bool = False
    if_revision: int | None = None
    commit_id: str | None = None


class Record(msgspec.Struct, frozen=True):
    """One record: its key, its bytes, and its version.

    Versions come from one counter of the store, which never restarts: each write of a record gives it a higher one, and
    none is ever met again, not even after a deletion (L121).
    """

    key: str
    value: bytes
    version: int


class RecordQuery(msgspec.Struct, frozen=True):
    """Records of one kind in one scope, in the order of their keys by code point, or backwards.

    Args:
        kind: Of what kind.
        prefix: What the keys begin with.
        after: Go on behind this key, in the direction of the scan.
        start, end: The keys from `start` on and below `end`, in whichever direction. `None`: no such border.
        limit: How many at most.
        reverse: Backwards.
    """

    kind: str
    prefix: str = ""
    after: str | None = None
    limit: int = PAGE_DEFAULT
    reverse: bool = False
    start: str | None = None
    end: str | None = None


def page_of_records(found: Iterable[Record]) -> tuple[Record, ...]:
    """The first of `found`, up to where they have `RECORD_PAGE_BYTES_MAX` bytes; one at least."""
    page: list[Record] = []
    size = 0
    for record in found:
        page.append(record)
        size += len(record.value)
        if size >= RECORD_PAGE_BYTES_MAX:
            break
    return tuple(page)


def is_full(page: Sequence[Record], limit: int) -> bool:
    """Whether there may be more behind a page of records."""
    return len(page) >= limit or sum(len(record.value) for record in page) >= RECORD_PAGE_BYTES_MAX


def matches(head: SessionHead, query: ListQuery) -> bool:
    """Whether the filters of `query` let a session pass."""
    equal = {
        "owner": query.owner,
        "kind": query.kind,
        "pinned": query.pinned,
        "archived": query.archived,
        "parent_session_id": query.parent,
        "root_session_id": query.root,
        "has_question": query.has_question,
        "run_status": query.run_status,
    }
    if any(wanted is not None and getattr(head, name) != wanted for name, wanted in equal.items()):
        return False
    if query.owner_prefix is not None and not (head.owner or "").startswith(query.owner_prefix):
        return False
    return query.updated_before is None or head.updated_at < query.updated_before


def in_order(heads: Iterable[SessionHead], order: Order) -> list[SessionHead]:
    """These heads in the order of a listing."""
    return sorted(heads, key=lambda head: _place(head, order), reverse=order.startswith("-"))


def cursor_behind(head: SessionHead, order: Order) -> Cursor:
    """The cursor of a page that ends with `head`."""
    return Cursor(order, *_place(head, order))


def is_behind(head: SessionHead, cursor: Cursor) -> bool:
    """Whether `head` belongs to the pages behind `cursor`."""
    place, end = _place(head, cursor.order), (cursor.micros, cursor.session_id)
    return place < end if cursor.order.startswith("-") else place > end


def is_ahead(head: SessionHead, cursor: Cursor) -> bool:
    """Whether `head` stands before the one that `cursor` was made behind."""
    place, end = _place(head, cursor.order), (cursor.micros, cursor.session_id)
    return place > end if cursor.order.startswith("-") else place < end


def _place(head: SessionHead, order: str) -> tuple[int, str]:
    return to_micros(getattr(head, order.lstrip("-"))), head.id


def encode_cursor(cursor: Cursor) -> str:
    """The opaque text of a cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, order: str) -> Cursor:
    """The cursor in `text`; raises `InputError` if it isn't one, or belongs to another order."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(data, type=Cursor)
    except (binascii.Error, msgspec.DecodeError, ValueError) as exc:
        message = f"{text[:80]!r} is no cursor of a listing."
        raise InputError(message, hint="Pass `next_cursor` of the page before, or nothing.") from exc
    if cursor.order != order:
        message = f"The cursor belongs to the order {cursor.order!r}, not {order!r}."
        raise InputError(message, hint="Keep order and filters the same while paging.")
    return cursor


def check_page_limit(limit: int) -> int:
    """`limit` if a page may have that many rows, else `InputError`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_MAX:
        message = f"A page has 1 to {PAGE_MAX} rows, not {limit!r}."
        raise InputError(message, hint=f"Pass a limit of 1 to {PAGE_MAX}.")
    return limit


class FeedPage(msgspec.Struct, frozen=True):
    """A stretch of the feed, as one namespace sees it.

    Args:
        changes: The namespace's changes behind the position that was asked for, in commit order.
        through: The position that it ends with: the namespace has no other visible change up to there.
        is_end: Whether no commit behind `through` is visible now.
        look_again_in: Seconds after which commits may be visible that were acknowledged already and can't be told yet;
            `None`: there are none.
    """

    changes: tuple[SessionChange, ...]
    through: str
    is_end: bool
    look_again_in: float | None = None
