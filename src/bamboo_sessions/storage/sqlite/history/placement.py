"""Where the messages of a commit go, and how that is reported.

Behind all, a tool's result joins its call: it goes directly behind the newest living message that makes the call,
and the tool messages that follow this one already (see `domain.merge_history`). A result without a call goes to the
end. What names the message that it goes behind was placed by the merge and stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from bamboo_sessions.domain.merge_history import FRONT, Insertion
from bamboo_sessions.domain.message import Message, StoredMessage, is_tool_result
from bamboo_sessions.storage.commit import StoredInsertion
from bamboo_sessions.storage.sqlite.history.versions import HistoryWriter
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of


def place(history: HistoryWriter, insertions: Sequence[StoredInsertion], *, joining: bool) -> tuple[Insertion, ...]:
    """Write `insertions`; returns where they really came to stand. Without `joining` all stay as they come."""
    reshaped_before, history.reshaped = history.reshaped, False
    for insertion in insertions:
        if insertion.after is None and joining:
            _append(history, insertion.messages)
        elif insertion.after is None:
            history.append(insertion.messages)
        else:
            history.insert_behind(insertion.after, insertion.messages)
    placed = _placed(history)
    history.reshaped |= reshaped_before
    return placed


def _append(history: HistoryWriter, messages: Sequence[StoredMessage]) -> None:
    if not any(is_tool_result(stored.message) for stored in messages):
        history.append(messages)
        return
    tail: list[StoredMessage] = []
    calls: set[str | None] = set()
    for stored in messages:
        if not is_tool_result(stored.message):
            tail.append(stored)
            calls.update(call.id for call in stored.message.tool_calls)
        elif stored.message.tool_call_id in calls:
            tail.insert(_behind_results(tail, _newest_call(tail, stored.message) + 1), stored)
        else:
            _join_committed(history, tail, stored)
    history.append(tail)


def _join_committed(history: HistoryWriter, tail: list[StoredMessage], stored: StoredMessage) -> None:
    """Put a result behind a call that is committed, if there is one; `tail` will follow what is committed."""
    call_id = stored.message.tool_call_id
    if history.ends_with_call(call_id):  # the usual case: call ids are reused, so that the newest takes a search
        tail.insert(_behind_results(tail, 0), stored)
    elif (call := history.newest_call(call_id)) is None:
        tail.append(stored)
    elif (row := history.last_result(call[1])) is None:
        tail.insert(_behind_results(tail, 0), stored)
    else:
        history.insert_behind_row(row, [stored])


def _newest_call(tail: Sequence[StoredMessage], result: Message) -> int:
    return next(
        index
        for index in range(len(tail) - 1, -1, -1)
        if any(call.id == result.tool_call_id for call in tail[index].message.tool_calls)
    )


def _behind_results(tail: Sequence[StoredMessage], start: int) -> int:
    while start < len(tail) and tail[start].message.role == "tool":
        start += 1
    return start


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
