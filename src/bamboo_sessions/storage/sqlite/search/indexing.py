"""Brings the search index up to date, in short transactions of its own, in any number of processes (L41, L46).

Under the index's write lock it asks again how far the index is, then follows the log of commits from there, in one
snapshot: what they added, ended and deleted, and whose titles they changed. Heads are read first, by their numbers, for
commits that made a head may be pruned. Rows, and how far they go, are written in one transaction: killed in the middle,
whoever comes next goes on at the right place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import apsw

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import head_from_document
from bamboo_sessions.domain.message import from_body
from bamboo_sessions.domain.runs import Shape
from bamboo_sessions.domain.search_match import texts_of_head, texts_of_message
from bamboo_sessions.domain.search_text import fold
from bamboo_sessions.storage.sqlite.history.lines import Line, bits_of, lines_of, shape_of, text_of
from bamboo_sessions.storage.sqlite.search.file import Main, Mark, belongs, end_of, read_mark, remake, write_mark
from bamboo_sessions.storage.sqlite.search.terms import class_mark, mark, segmented
from bamboo_sessions.storage.sqlite.transactions.connection import Row, row_of, rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import SEARCH_CHUNK_BYTES, SEARCH_CHUNK_ROWS

_COMMITS: Final = f"""
    SELECT position, session, namespace, deleted_at IS NULL, kinds, commit_id, shape, body FROM commits
    JOIN sessions ON sessions.key = commits.session WHERE position > ? AND position <= ?
    ORDER BY position LIMIT {SEARCH_CHUNK_ROWS}"""  # noqa: S608 - constants
_HEADS: Final = """
    SELECT key, namespace, document FROM sessions JOIN heads ON heads.session = sessions.key
    WHERE key > ? AND deleted_at IS NULL ORDER BY key"""
_HEAD: Final = """
    SELECT key, namespace, document FROM sessions JOIN heads ON heads.session = sessions.key
    WHERE key = ? AND deleted_at IS NULL"""
_ROWS_BETWEEN: Final = "SELECT id FROM words_docsize WHERE id >= ? AND id < ?"
_ROWS_OF: Final = "SELECT rowid FROM words WHERE words MATCH ?"
_OF_HEADS: Final = bits_of(("created", "authoritative", "head", "deleted"))
"""What may change a title or a summary."""
_DELETED: Final = bits_of(("deleted",))
MESSAGE_TABLES: Final = ("words", "parts")
HEAD_TABLES: Final = ("head_words", "head_parts")


class _Row(NamedTuple):
    """A row of `words` and `parts`: its number, its three marks, its folded text."""

    number: int
    namespace: str
    session: str
    role: str
    text: str


class _HeadRow(NamedTuple):
    """A row of `head_words` and `head_parts`, likewise."""

    number: int
    namespace: str
    session: str
    text: str


class Progress(NamedTuple):
    """How far the index has come, and how far the main file is."""

    mark: Mark
    end: Mark

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self.mark == self.end

    def has(self, goal: Mark) -> bool:
        """Whether all is indexed that there was at `goal`."""
        return all(one >= other for one, other in zip(self.mark[1:3], goal[1:3], strict=True))


@contextmanager
def writing(index: apsw.Connection) -> Iterator[None]:
    """One write transaction on the index."""
    index.execute("BEGIN IMMEDIATE")
    try:
        yield
        index.execute("COMMIT")
    except BaseException:
        if index.in_transaction:
            index.execute("ROLLBACK")
        raise


def is_current(index: apsw.Connection, main: Main) -> bool:
    """Whether the index has all of the main file; both inside a transaction, the index's the older one."""
    return read_mark(index) == end_of(main)


def advance(index: apsw.Connection, main: Main) -> Progress:
    """Index a chunk, in one transaction."""
    with writing(index), main.reading():
        return advance_within(index, main)


def advance_within(index: apsw.Connection, main: Main) -> Progress:
    """As `advance`, inside transactions of the caller's."""
    end = end_of(main)
    before = read_mark(index)
    start = before
    if start is None or not belongs(start, main, end):
        remake(index)
        start = end._replace(key=0, position=0, commit_id="")
    after = _step(index, main, start, end)
    if after != before:
        write_mark(index, after)
    return Progress(after, end)


def _step(index: apsw.Connection, main: Main, done: Mark, end: Mark) -> Mark:
    if done.key < end.key:
        done = done._replace(key=_add_heads(index, main, done.key) or end.key)
    if done.key == end.key and done.position < end.position:
        done = _follow(index, main, done, end)
    return done


# --- messages


def _rows_of_line(line: Line, namespace: str, session: str) -> Iterator[_Row]:
    try:
        message = from_body(line.body)
    except StorageCorruptError:  # `check` reports it; it must not keep all others from being found
        return
    for text in texts_of_message(message, ""):
        is_call = text.place == "tool_call"
        kind = class_mark("call" if is_call else message.role)
        yield _Row(2 * line.address + is_call, namespace, session, kind, fold(text.text))


# --- heads


def _add_heads(index: apsw.Connection, main: Main, key: int) -> int | None:
    """Index heads of sessions behind `key`; the last one's key, or `None` if there are no more."""
    found = main.rows(_HEADS + " LIMIT ?", (key, SEARCH_CHUNK_ROWS))
    _write_heads(index, found)
    return found[-1][0] if len(found) == SEARCH_CHUNK_ROWS else None


def _rows_of_head(key: int, namespace: str, document: bytes) -> Iterator[_HeadRow]:
    try:
        texts = [text.text for text in texts_of_head(head_from_document(document, ""))]
    except StorageCorruptError:
        return
    if texts:
        yield _HeadRow(key, namespace, mark("session", key), "\n".join(map(fold, texts)))


def _write_heads(index: apsw.Connection, heads: list[Row]) -> None:
    marked = ((key, _namespace(index, namespace), document) for key, namespace, document in heads)
    rows = [row for head in marked for row in _rows_of_head(*head)]
    _write(index, HEAD_TABLES, "rowid, namespace, session, text", rows)


def _write(index: apsw.Connection, tables: tuple[str, str], columns: str, rows: Sequence[_Row | _HeadRow]) -> None:
    words, parts = tables
    marks = ", ".join("?" * (columns.count(",") + 1))
    separated = [(*row[:-1], segmented(row.text)) for row in rows]
    index.executemany(f"INSERT INTO {words} ({columns}) VALUES ({marks})", separated)  # noqa: S608 - constants
    index.executemany(f"INSERT INTO {parts} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - constants


def namespace_mark(index: apsw.Connection, name: str) -> str | None:
    """The mark of a namespace; `None` if nothing of it is indexed."""
    found = row_of(index, "SELECT number FROM namespaces WHERE name = ?", (name,))
    return mark("namespace", found[0]) if found else None


def _namespace(index: apsw.Connection, name: str) -> str:
    known = namespace_mark(index, name)
    if known is None:
        index.execute("INSERT INTO namespaces (name) VALUES (?)", (name,))
        known = mark("namespace", index.last_insert_rowid())
    return known


def expected_rows(main: Main) -> tuple[set[int], set[int]]:
    """The numbers of all rows that the index of this file has to have: for messages, and for heads."""
    numbers: set[int] = set()
    for (session,) in main.rows("SELECT key FROM sessions WHERE deleted_at IS NULL"):
        log = main.log(session)
        for line in main.lines(log):
            numbers.update(each.number for each in _rows_of_line(line, "", ""))
    heads = main.rows(_HEADS, (0,))
    return numbers, {row.number for head in heads for row in _rows_of_head(*head)}


# --- following the log


def _follow(index: apsw.Connection, main: Main, done: Mark, end: Mark) -> Mark:
    """Do what the log of commits says after `done`, for some of them."""
    rows: list[_Row] = []
    changed: set[int] = set()
    size = 0
    found = main.each(_COMMITS, (done.position, end.position))
    last = None
    for position, session, namespace, lives, kinds, commit_id, shape, body in found:
        if kinds & _DELETED:
            rows = [row for row in rows if row.session != mark("session", session)]
            _remove_session(index, session)
        changed |= {session} if kinds & _OF_HEADS else set()
        rows = _without_removed(index, rows, shape_of(shape))
        if lives and body is not None:
            marks = _namespace(index, namespace), mark("session", session)
            rows += [row for line in lines_of(position, body) for row in _rows_of_line(line, *marks)]
        last = position, text_of(commit_id)
        size += len(body or b"")
        if size >= SEARCH_CHUNK_BYTES or len(rows) >= SEARCH_CHUNK_ROWS:
            break
    found.close()
    _write(index, MESSAGE_TABLES, "rowid, namespace, session, role, text", rows)
    for session in changed:
        _remove(index, HEAD_TABLES, [session])
        _write_heads(index, main.rows(_HEAD, (session,)))
    if last is None:
        return end
    return done._replace(position=last[0], commit_id=last[1])


def _remove_session(index: apsw.Connection, session: int) -> None:
    numbers = [number for (number,) in rows_of(index, _ROWS_OF, (f'"{mark("session", session)}"',))]
    _remove(index, MESSAGE_TABLES, numbers)


def _without_removed(index: apsw.Connection, rows: list[_Row], shape: Shape) -> list[_Row]:
    """`rows`, and what is indexed, without the lines that a commit ended."""
    for start, stop in shape.removed:
        numbers = rows_of(index, _ROWS_BETWEEN, (2 * start, 2 * stop))
        _remove(index, MESSAGE_TABLES, [number for (number,) in numbers])
        rows = [row for row in rows if not 2 * start <= row.number < 2 * stop]
    return rows


def _remove(index: apsw.Connection, tables: tuple[str, str], numbers: list[int]) -> None:
    for table in tables:
        index.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(number,) for number in numbers])  # noqa: S608
