"""Where the messages of a commit go, and how that is reported.

Behind all, a tool's result joins the group of its call (see `domain.placing`), which is read from the newest living
message that makes the call up to what ends the group. What names the message that it goes behind, or is `in_order`,
was placed already and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bamboo_sessions.domain.call_groups import Kind, call_groups
from bamboo_sessions.domain.message import Message, StoredMessage
from bamboo_sessions.domain.placing import CommittedGroup, arranged
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.storage.commit import Commit, StoredInsertion
from bamboo_sessions.storage.sqlite.history.versions import HistoryWriter
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of


def place(history: HistoryWriter, commit: Commit, insertions: Sequence[StoredInsertion]) -> tuple[Insertion, ...]:
    """Write `insertions`, those of `commit` that are new; returns where they really came to stand."""
    reshaped_before, history.reshaped = history.reshaped, False
    for insertion in insertions:
        if insertion.after is not None:
            history.insert_behind(insertion.after, insertion.messages)
        elif commit.replace:
            history.append(insertion.messages, known=frozenset(commit.removals))
        elif insertion.in_order or all(stored.message.role != "tool" for stored in insertion.messages):
            history.append(insertion.messages)
        else:
            _append(history, insertion.messages)
    placed = _placed(history)
    history.reshaped |= reshaped_before
    return placed


def _append(history: HistoryWriter, messages: Sequence[StoredMessage]) -> None:
    by_id = {stored.message.id: stored for stored in messages}
    joined, tail = arranged([stored.message for stored in messages], lambda call_id: _newest_group(history, call_id))
    for row, run in joined:
        history.insert_behind_row(row, [by_id[message.id] for message in run])
    history.append([by_id[message.id] for message in tail])


def _newest_group(history: HistoryWriter, call_id: str) -> CommittedGroup | None:
    """The group of the newest living message that makes a call, read from there on; its name is its last row."""
    call = history.newest_call(call_id)
    if call is None:
        return None
    rows, position = [call[0]], call[1]

    def read() -> Iterator[Kind]:
        yield Kind.CALL
        for row, kind in history.behind(position):
            rows.append(row)
            yield kind

    group = next(call_groups(read()))
    return CommittedGroup(
        last=rows[group.end - 1],
        behind=len(rows) - group.end,
        is_open=group.reach == len(rows),
        in_run=group.in_run,
        text_since=group.text < group.reach,
    )


def _placed(history: HistoryWriter) -> tuple[Insertion, ...]:
    """The runs of added messages, each with the message before it that was there already."""
    if not history.added:
        return ()
    if not history.reshaped:
        return (Insertion(tuple([message for _, message in history.added]), None),)
    messages = dict(history.added)
    first, last = history.added[0][0], history.added[-1][0]
    rows = rows_of(
        history.connection,
        "SELECT row, position FROM messages WHERE row BETWEEN ? AND ? ORDER BY position",
        (min(first, last), max(first, last)),
    )
    runs: list[tuple[list[Message], str | None]] = []
    for row, position in rows:
        before = history.before(position)
        if before is not None and before[0] in messages:
            runs[-1][0].append(messages[row])
        else:
            runs.append(([messages[row]], FRONT if before is None else before[1]))
    if history.is_last(rows[-1][1]):
        runs[-1] = (runs[-1][0], None)
    return tuple(Insertion(tuple(run), after) for run, after in runs)
