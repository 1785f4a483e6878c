"""Answers a search: candidates from the index, checked one by one against the living rows, in one snapshot (L46).

First come the rows that have all words as whole words, then those that have them as parts. Either way the newest come
first, and once enough of them match, the rest isn't looked at. What matches, and how well, is decided by
`domain.search_match` on the real text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import apsw

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.limits import SEARCH_RANKED
from bamboo_sessions.domain.message import from_body
from bamboo_sessions.domain.runs import Order, position_of
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.search_match import (
    Match,
    Text,
    best,
    hit,
    match,
    texts_of_head,
    texts_of_message,
)
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.search_query import SearchQuery
from bamboo_sessions.storage.sqlite.history.lines import Line, lines_of
from bamboo_sessions.storage.sqlite.search.file import Main
from bamboo_sessions.storage.sqlite.search.indexing import HEAD_TABLES, MESSAGE_TABLES, namespace_mark
from bamboo_sessions.storage.sqlite.search.terms import (
    class_mark,
    is_for_parts,
    mark,
    parts_question,
    question,
    words_question,
)
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import COLUMNS, SessionRow, find
from bamboo_sessions.storage.sqlite.transactions.connection import Row
from bamboo_sessions.storage.sqlite.transactions.errors import translating
from bamboo_sessions.storage.sqlite.transactions.tuning import SEARCH_CANDIDATES

_WORDS: Final = "SELECT rowid FROM {words} WHERE {words} MATCH :words ORDER BY rowid DESC"
_PARTS: Final = "SELECT rowid FROM {parts} WHERE {parts} MATCH :parts ORDER BY rowid DESC"
_BOTH: Final = """
    SELECT rowid FROM {parts} WHERE {parts} MATCH :parts
    AND +rowid IN (SELECT rowid FROM {words} WHERE {words} MATCH :words) ORDER BY rowid DESC"""
_WANTED: Final = "(SELECT value AS number FROM json_each(?1)) AS wanted"
_SESSION: Final = "deleted_at IS NULL AND namespace = ?2"
_COMMITS: Final = f"""
    SELECT commits.position, key, session_id, body FROM {_WANTED}
    CROSS JOIN commits ON commits.position = wanted.number CROSS JOIN sessions ON sessions.key = commits.session
    WHERE lines > 0 AND {_SESSION}"""  # noqa: S608 - constants
_HEADS: Final = f"""
    SELECT {COLUMNS} FROM {_WANTED} CROSS JOIN sessions ON sessions.key = wanted.number
    WHERE {_SESSION}"""  # noqa: S608 - constants

Check = Callable[[], None]
"""Raises if nobody waits for the answer any more."""


class Question(NamedTuple):
    """SQL on the index that gives candidates, newest first, and its arguments."""

    sql: str
    words: str
    parts: str


class Source(NamedTuple):
    """Where to look: the tables with words and with parts, what brings the living texts, and marks of rows."""

    tables: tuple[str, str]
    texts: Callable[[Sequence[int]], Iterable[Text]]
    own: tuple[str, ...]
    among: str = ""
    without: tuple[str, ...] = ()

    def sql(self, pattern: str) -> str:
        """The SQL on these tables."""
        return pattern.format(words=self.tables[0], parts=self.tables[1])

    def ask(self, pieces: str) -> str:
        """The question for rows that have all `pieces` and are among those to look in."""
        return question(pieces, among=(*self.own, self.among), without=self.without)


class Search:
    """One search, inside read transactions on both files."""

    def __init__(self, index: apsw.Connection, main: Main, query: SearchQuery, check: Check) -> None:
        self._index = index
        self._main = main
        self._query = query
        self._check = check
        self._orders: dict[int, Order] = {}
        self._enough = max(SEARCH_RANKED, query.limit + 1)

    def page(self) -> SearchPage:
        """The best hits."""
        if (own := self._own_marks()) is None:
            return SearchPage(hits=())
        matches = self._matches(Source(MESSAGE_TABLES, self._texts_of_messages, own, *self._roles()))
        if self._query.role is None:
            matches += self._matches(Source(HEAD_TABLES, self._texts_of_heads, own))
        found, has_more = best(matches, self._query.limit)
        hits = tuple(hit(self._query.text, each, self._title(each.text.session_id)) for each in found)
        return SearchPage(hits=hits, has_more=has_more)

    def _own_marks(self) -> tuple[str, ...] | None:
        """The marks that a row must have to be this namespace's, and this session's; `None` if there can't be any."""
        query = self._query
        namespace = namespace_mark(self._index, query.namespace)
        if namespace is None or query.session is None:
            return (namespace,) if namespace else None
        row = self._session(query.session)
        return (namespace, mark("session", row.key)) if row else None

    def _roles(self) -> tuple[str, tuple[str, ...]]:
        """Marks of messages to look in (`""`: any), and of those not to."""
        query = self._query
        if query.role is not None:
            return class_mark(query.role) + (f" {class_mark('call')}" if query.include_tools else ""), ()
        return "", () if query.include_tools else (class_mark("tool"), class_mark("call"))

    def _title(self, session_id: str) -> str | None:
        row = self._session(session_id)
        with translating(self._main.path):
            return read_head(self._main.connection, row).title if row else None

    def _session(self, session_id: str) -> SessionRow | None:
        with translating(self._main.path):
            return find(self._main.connection, SessionKey(self._query.namespace, session_id))

    # --- candidates

    def _matches(self, source: Source) -> list[Match]:
        """The newest matches: of whole words, and if those are too few, of parts of words, too."""
        matches: list[Match] = []
        seen: set[int] = set()
        for asked in self._questions(source):
            for candidates in self._candidates(asked, seen):
                matches += self._matching(source.texts(candidates))
                if len(matches) >= self._enough:
                    break
            if sum(found.is_whole for found in matches) > self._query.limit:
                break
        return matches

    def _questions(self, source: Source) -> Iterator[Question]:
        terms = self._query.text.wanted
        if words := words_question(terms):
            yield Question(source.sql(_WORDS), source.ask(words), "")
        inside = [term for term in terms if is_for_parts(term)]
        if inside:
            others = words_question([term for term in terms if not is_for_parts(term)])
            yield Question(source.sql(_BOTH if others else _PARTS), others, source.ask(parts_question(inside)))

    def _candidates(self, asked: Question, seen: set[int]) -> Iterator[list[int]]:
        """Row numbers of the index that weren't there yet, some at a time."""
        arguments = {"words": asked.words, "parts": asked.parts}
        cursor = self._index.execute(asked.sql, arguments)
        try:
            while rows := [number for (number,) in islice(cursor, SEARCH_CANDIDATES)]:
                self._check()
                yield [number for number in rows if number not in seen]
                seen.update(rows)
        finally:
            cursor.close()

    def _matching(self, texts: Iterable[Text]) -> Iterator[Match]:
        for text in texts:
            if self._query.takes(text) and (found := match(self._query.text, text)) is not None:
                yield found

    def _texts_of_heads(self, keys: Sequence[int]) -> Iterator[Text]:
        for columns in self._look_up(_HEADS, keys):
            with suppress(StorageCorruptError), translating(self._main.path):  # `check` reports it
                yield from texts_of_head(read_head(self._main.connection, SessionRow(*columns)))

    def _texts_of_messages(self, candidates: Sequence[int]) -> Iterator[Text]:
        wanted = set(candidates)
        addresses = {number // 2 for number in candidates}
        positions = list(dict.fromkeys(position_of(number // 2) for number in candidates))
        for position, session, session_id, body in self._look_up(_COMMITS, positions):
            for line in lines_of(position, body):
                if line.address in addresses and self._order(session).lives(line.address):
                    yield from _texts_of(line, session_id, wanted)

    def _order(self, session: int) -> Order:
        if session not in self._orders:
            self._orders[session] = self._main.log(session).order
        return self._orders[session]

    def _look_up(self, sql: str, numbers: Sequence[int]) -> list[Row]:
        """Living rows of this namespace that pass the filters on sessions."""
        query = self._query
        filters = {"kind": query.kind, "owner": query.owner, "archived": query.archived}
        asked = {name: value for name, value in filters.items() if value is not None}
        conditions = "".join(f" AND sessions.{name} = ?{place}" for place, name in enumerate(asked, 3))
        return self._main.rows(sql + conditions, (json.dumps(numbers), query.namespace, *asked.values()))


def _texts_of(line: Line, session_id: str, wanted: AbstractSet[int]) -> Iterator[Text]:
    """The texts of a message that are among the rows of the index that are `wanted`."""
    try:
        texts = texts_of_message(from_body(line.body), session_id)
    except StorageCorruptError:  # it could be read when it was indexed; `check` reports it
        return
    yield from (text for text in texts if 2 * line.address + (text.place == "tool_call") in wanted)
