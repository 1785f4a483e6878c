"""Pages of living sessions: filters first, then the page; never a message (L53, L92).

SQLite walks the index of the wished order and takes what passes the filters: quick if many pass. A filter that few
sessions pass has an index of its own, and its few sessions are sorted. Which of the two it is, is asked first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import apsw

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.storage.query import Cursor, HeadPage, ListQuery
from bamboo_sessions.storage.sqlite.sessions.heads import COUNTERS, heads_of
from bamboo_sessions.storage.sqlite.sessions.rows import storable
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded, bounded_rows
from bamboo_sessions.storage.sqlite.transactions.connection import Row, reading, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import FEW_SESSIONS_MAX, LOOP_HEADS_MAX

_HEADS: Final = "LEFT JOIN heads ON heads.session = key"
_Args = tuple[str | int | None, ...]


class _Filter(NamedTuple):
    """A condition, its arguments, and the index that has just the sessions that pass it, if there is one."""

    condition: str
    args: _Args = ()
    own_index: str | None = None


def list_heads(connection: apsw.Connection, query: ListQuery, *, small: bool = False) -> HeadPage:
    """A page of living sessions; `small` refuses long reads with `TooLong`."""
    budget = Budget() if small else None
    filters = [_Filter("namespace = ?", (query.namespace,)), _Filter("deleted_at IS NULL"), *_filters(query)]
    with reading(connection):
        source = f"sessions {_best_index(connection, filters)}"
        found = _page(connection, source, filters, query, budget)
        heads = tuple(heads_of(connection, found[: query.limit], budget))
        total = None
        if query.total:
            where, args = _joined(filters)
            total = value_of(connection, f"SELECT count(*) FROM {source} WHERE {where}", args)  # noqa: S608 - fixed names
    cursor = None
    if len(found) > query.limit:
        _, _, last, *_, created_at, updated_at, _ = found[query.limit - 1]
        micros = updated_at if query.order.endswith("updated_at") else created_at
        cursor = Cursor(query.order, micros, last)
    return HeadPage(heads, cursor, total)


def _page(
    connection: apsw.Connection, source: str, filters: Sequence[_Filter], query: ListQuery, budget: Budget | None
) -> list[Row]:
    """The rows of the page, as `heads_of` takes them, and one more if there is one.

    Rows that have to be sorted are sorted without their documents, which can be long.
    """
    field = query.order.lstrip("-")
    descending = query.order.startswith("-")
    if query.cursor is not None:
        place = (query.cursor.micros, query.cursor.session_id)
        filters = [*filters, _Filter(f"({field}, session_id) {'<' if descending else '>'} (?, ?)", place)]
    where, args = _joined(filters)
    way = "DESC" if descending else "ASC"
    order = f"ORDER BY {field} {way}, session_id {way}"
    document = bounded("document", budget)
    if is_cheap(query):
        sql = f"SELECT {COUNTERS}, {document} FROM {source} {_HEADS} WHERE {where} {order} LIMIT ?"  # noqa: S608 - fixed names
    else:
        page = f"SELECT {COUNTERS} FROM {source} WHERE {where} {order} LIMIT ?"  # noqa: S608 - fixed names
        sql = f"SELECT {COUNTERS}, {document} FROM ({page}) {_HEADS} {order}"  # noqa: S608 - fixed names
    return bounded_rows(connection, sql, (*args, query.limit + 1), budget)


def _joined(filters: Sequence[_Filter]) -> tuple[str, _Args]:
    where = " AND ".join(each.condition for each in filters)
    return where, tuple(arg for each in filters for arg in each.args)


def _best_index(connection: apsw.Connection, filters: Sequence[_Filter]) -> str:
    """The index of a filter that few sessions pass, or nothing, so that the order's index is walked."""
    for each in filters:
        if each.own_index is not None:
            where, args = _joined([*filters[:2], each])
            source = f"SELECT 1 FROM sessions INDEXED BY {each.own_index} WHERE {where} LIMIT ?"  # noqa: S608 - fixed names
            if value_of(connection, f"SELECT count(*) FROM ({source})", (*args, FEW_SESSIONS_MAX)) < FEW_SESSIONS_MAX:  # noqa: S608
                return f"INDEXED BY {each.own_index}"
    return ""


def _filters(query: ListQuery) -> Iterator[_Filter]:
    if query.parent is not None:
        yield _Filter("parent_id = ?", (query.parent,), "sessions_parent")
    if query.root is not None:
        yield _Filter("root_id = ?", (query.root,), "sessions_root")
    if query.pinned is not None:
        yield _Filter("pinned = 1", (), "sessions_pinned") if query.pinned else _Filter("pinned = 0")
    if query.archived is not None:
        yield _Filter("archived = 1", (), "sessions_archived") if query.archived else _Filter("archived = 0")
    if query.has_question is not None:
        asking = _Filter("open_questions > 0", (), "sessions_asking")
        yield asking if query.has_question else _Filter("open_questions = 0")
    if query.run_status is not None:
        yield _Filter("run_status = ?", (storable(query.run_status),), "sessions_run_status")
    if query.kind is not None:
        other = _Filter("kind = ? AND kind <> 'root'", (query.kind,), "sessions_kind")
        yield other if query.kind != "root" else _Filter("kind = ?", (query.kind,))
    if query.owner is not None:
        yield _Filter("owner = ?", (query.owner,), "sessions_owner" if "created" in query.order else None)
    if query.owner_prefix:
        prefix = query.owner_prefix
        yield _Filter("owner >= ? AND substr(owner, 1, ?) = ?", (prefix, len(prefix), prefix))
    if query.updated_before is not None:
        yield _Filter("updated_at < ?", (to_micros(query.updated_before),))


def is_cheap(query: ListQuery) -> bool:
    """Whether an index brings the page in order, so that it costs as much as its rows."""
    filters: list[object] = [query.owner_prefix, query.kind, query.archived, query.parent, query.root]
    filters += [query.run_status, query.pinned, query.has_question]
    if "created_at" in query.order:
        filters += [query.owner, query.updated_before]
    return filters.count(None) == len(filters) and not query.total and query.limit <= LOOP_HEADS_MAX
