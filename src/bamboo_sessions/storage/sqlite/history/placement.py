"""Where the messages of a commit go, and what that does to the order of the history.

Behind all, a tool's result joins the group of its call (see `domain.placing`), which is looked for from the end of the
history backwards. What names the message that it goes behind, or is `in_order`, was placed already and stays as it is.
Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from bamboo_sessions.domain.call_groups import makes_call
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message, StoredMessage
from bamboo_sessions.domain.placing import CommittedGroup, arranged, newest_call, newest_group
from bamboo_sessions.domain.runs import FRONT_ADDRESS, Order, Shape, ended, grouped
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.storage.commit import Commit, StoredInsertion
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import Line, message_of
from bamboo_sessions.storage.sqlite.history.log import Log

_READ_BLINDLY: Final = 64
"""Messages from the end among which a call is looked for before the index of ids is asked."""


class Gap(msgspec.Struct):
    """What is put directly behind one line, whose message is `anchor`: perhaps its next version, and new messages."""

    behind: int
    anchor: str
    edited: StoredMessage | None = None
    messages: list[StoredMessage] = msgspec.field(default_factory=list)


class Placement(msgspec.Struct, frozen=True):
    """What a commit does to the history.

    Args:
        gaps: What is put inside, in the order of the history.
        tail: What is put at the end.
        removed: The lines that it ends.
        removed_bytes: Their bytes.
        inserted: The new messages as they come to stand, for whoever committed.
    """

    gaps: tuple[Gap, ...] = ()
    tail: tuple[StoredMessage, ...] = ()
    removed: tuple[int, ...] = ()
    removed_bytes: int = 0
    inserted: tuple[Insertion, ...] = ()

    def lines(self) -> list[StoredMessage]:
        """The lines that it adds to the log."""
        inside = [stored for gap in self.gaps for stored in _of(gap)]
        return [*inside, *self.tail]

    def shape(self, addresses: Sequence[int], known: frozenset[str], rows: Iterable[tuple[int, int]]) -> Shape:
        """What it does to the order.

        Args:
            addresses: Of its lines.
            known: Ids that the history had before: their messages aren't new to it.
            rows: Of the session, as `grouped` takes them.
        """
        placed: list[tuple[int, int, int]] = []
        quiet: list[int] = []
        number = 0
        for gap in self.gaps:
            length = len(_of(gap))
            placed.append((gap.behind, addresses[number], addresses[number + length - 1] + 1))
            quiet += addresses[number : number + 1] if gap.edited is not None else []
            number += length
        if known:
            quiet += (
                address
                for stored, address in zip(self.tail, addresses[number:], strict=True)
                if stored.message.id in known
            )
        return Shape(grouped(self.removed, rows), tuple(placed), grouped(quiet))


def _of(gap: Gap) -> list[StoredMessage]:
    return gap.messages if gap.edited is None else [gap.edited, *gap.messages]


def place(log: Log, commit: Commit, insertions: Sequence[StoredInsertion]) -> Placement:
    """Where the edits of `commit` go, and those of its insertions that are new."""
    inside = [insertion for insertion in insertions if insertion.after is not None]
    at_end = [insertion for insertion in insertions if insertion.after is None]
    if not (commit.removals or commit.edits or inside) and not any(_joins(commit, each) for each in at_end):
        tail = tuple([stored for insertion in at_end for stored in insertion.messages])
        return Placement(tail=tail, inserted=_inserted([], tail) if tail else ())
    targets = [*commit.removals, *(stored.message.id for stored in commit.edits)]
    lines = _living(log, [*targets, *(each.after for each in inside if each.after)])
    arranging = _Arranging(log, [lines[id_].address for id_ in commit.removals])
    for stored in commit.edits:
        arranging.gap(lines[stored.message.id].address, stored.message.id).edited = stored
    for insertion in inside:
        after = insertion.after or FRONT
        address = FRONT_ADDRESS if after == FRONT else lines[after].address
        arranging.gap(address, after).messages[:0] = insertion.messages
    for insertion in at_end:
        arranging.append(insertion.messages, joins=_joins(commit, insertion))
    ended = [lines[id_] for id_ in targets]
    return arranging.placement([line.address for line in ended], sum(len(line.body) for line in ended))


def _joins(commit: Commit, insertion: StoredInsertion) -> bool:
    """Whether it has results that go to their calls."""
    if commit.replace or insertion.in_order:
        return False
    return any(stored.message.role == "tool" for stored in insertion.messages)


def _living(log: Log, wanted: Sequence[str]) -> dict[str, Line]:
    """The living lines of messages that a merge has seen in the history."""
    found = ids.find(log.connection, log.session, ids.MESSAGE, frozenset(wanted))
    living = {id_: line for id_, lines in found.items() for line in lines if log.order.lives(line.address)}
    for id_ in wanted:
        if id_ not in living:
            raise StorageCorruptError(
                f"Session {log.session_id!r} has no living message {id_!r}; nothing was written.",
                hint="Please report this: a merge named a message that is gone.",
            )
    return living


class _Entry(NamedTuple):
    """A message of the history as it will be: in `home`, if it comes with this commit; else at `address`."""

    message: Message
    address: int
    home: list[StoredMessage] | None

    @property
    def name(self) -> int:
        """A number of its own."""
        return self.address or -id(self.message)


class _Arranging:
    """A history while a commit is put into it. Calls are looked for in its end, which is read backwards, or by ids."""

    def __init__(self, log: Log, removed: Sequence[int]) -> None:
        order = Order(ended(log.order.runs, grouped(removed))) if removed else log.order
        self._log = msgspec.structs.replace(log, order=order)
        self._gaps: dict[int, Gap] = {}
        self._tail: list[StoredMessage] = []
        self._end: list[_Entry] = []
        self._unread: Iterator[Line] | None = self._log.lines(order.living(), backwards=True)

    def gap(self, address: int, anchor: str) -> Gap:
        """The gap behind a line."""
        return self._gaps.setdefault(address, Gap(address, anchor))

    # --- at the end

    def append(self, messages: Sequence[StoredMessage], *, joins: bool) -> None:
        """Put messages at the end, or results into the groups of their calls."""
        if not joins:
            self._add(messages)
            return
        by_id = {stored.message.id: stored for stored in messages}
        groups: dict[int, _Entry] = {}
        joined, tail = arranged([stored.message for stored in messages], lambda call_id: self._group(call_id, groups))
        for name, run in joined:
            self._insert(groups[name], [by_id[message.id] for message in run])
        self._add([by_id[message.id] for message in tail])

    def _add(self, messages: Sequence[StoredMessage]) -> None:
        self._tail += messages
        self._end += (_Entry(stored.message, 0, self._tail) for stored in messages)

    def _insert(self, anchor: _Entry, messages: Sequence[StoredMessage]) -> None:
        """Put messages directly behind one."""
        home, at = anchor.home, 0
        if home is None:
            home = self.gap(anchor.address, anchor.message.id).messages
        else:
            at = 1 + next(at for at, stored in enumerate(home) if stored.message is anchor.message)
        home[at:at] = messages
        for index, entry in enumerate(self._end):
            if entry.name == anchor.name:
                self._end[index + 1 : index + 1] = [_Entry(stored.message, 0, home) for stored in messages]
                return

    def _group(self, call_id: str, groups: dict[int, _Entry]) -> CommittedGroup | None:
        """The group of the newest message that makes a call. Its name is that of its last message, put in `groups`."""
        while newest_call(_messages(self._end), call_id) is None and len(self._end) < _READ_BLINDLY and self._read():
            pass
        entries = self._end
        if newest_call(_messages(entries), call_id) is None:
            maker = self._newest_maker(call_id)
            if maker is None:
                return None
            entries = self._from(maker, call_id)
        group = newest_group(_messages(entries), call_id)
        if group is None:
            return None
        last = entries[group.last]
        groups[last.name] = last
        return group._replace(last=last.name)

    def _newest_maker(self, call_id: str) -> int | None:
        """The line of the newest message that makes a call, or behind which there is one; the index of ids tells."""
        found = ids.find(self._log.connection, self._log.session, ids.CALL, [call_id]).get(call_id, [])
        makers = [line.address for line in found if self._log.order.lives(line.address)]
        makers += [gap.behind for gap in self._gaps.values() if any(_makes(each, call_id) for each in _of(gap))]
        return max(makers, key=self._place, default=None)

    def _from(self, address: int, call_id: str) -> list[_Entry]:
        """The history from the newest message that makes a call on, up to what ends its group, or to the end."""
        spans = self._log.order.living(after=address) if address != FRONT_ADDRESS else self._log.order.living()
        own = [] if address == FRONT_ADDRESS else list(self._log.lines([(address, address + 1)]))
        entries = self._entries_behind(FRONT_ADDRESS) if address == FRONT_ADDRESS else []
        for line in chain(own, self._log.lines(spans)):
            entries += self._entries_of(line)
            group = newest_group(_messages(entries), call_id)
            if group is not None and not group.is_open:
                return entries
        return [*entries, *(_Entry(stored.message, 0, self._tail) for stored in self._tail)]

    def _read(self) -> bool:
        """Read one more line, from the end of the history on; whether there was one."""
        if self._unread is None:
            return False
        line = next(self._unread, None)
        if line is None:
            self._unread = None
            self._end[:0] = self._entries_behind(FRONT_ADDRESS)
            return False
        self._end[:0] = self._entries_of(line)
        return True

    def _entries_of(self, line: Line) -> list[_Entry]:
        """The message of a line as it will be, and what comes behind it."""
        gap = self._gaps.get(line.address)
        edited = None if gap is None else gap.edited
        message = message_of(self._log.session_id, line.body) if edited is None else edited.message
        return [_Entry(message, line.address, None), *self._entries_behind(line.address)]

    def _entries_behind(self, address: int) -> list[_Entry]:
        gap = self._gaps.get(address)
        return [] if gap is None else [_Entry(stored.message, 0, gap.messages) for stored in gap.messages]

    def _place(self, address: int) -> tuple[int, int]:
        return (-1, 0) if address == FRONT_ADDRESS else self._log.order.place(address)

    # --- the result

    def placement(self, ended: Sequence[int], ended_bytes: int) -> Placement:
        """What was done, where `ended` are the lines that were removed or edited."""
        gaps = sorted((gap for gap in self._gaps.values() if _of(gap)), key=lambda gap: self._place(gap.behind))
        tail = tuple(self._tail)
        last = self._log.last() if gaps else None
        at_end = FRONT_ADDRESS if last is None else last.address
        inside = [gap for gap in gaps if gap.messages]
        behind_all: tuple[StoredMessage, ...] = ()
        if inside and inside[-1].behind == at_end:
            behind_all = tuple(inside.pop().messages)
        return Placement(tuple(gaps), tail, tuple(ended), ended_bytes, _inserted(inside, (*behind_all, *tail)))


def _inserted(inside: Sequence[Gap], tail: Sequence[StoredMessage]) -> tuple[Insertion, ...]:
    placed = [Insertion(tuple([stored.message for stored in gap.messages]), gap.anchor) for gap in inside]
    if tail:
        placed.append(Insertion(tuple([stored.message for stored in tail])))
    return tuple(placed)


def _makes(stored: StoredMessage, call_id: str) -> bool:
    return makes_call(stored.message, call_id)


def _messages(entries: Sequence[_Entry]) -> list[Message]:
    return [entry.message for entry in entries]
