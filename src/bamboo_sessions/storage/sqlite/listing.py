"""Pages of living sessions: filters first, then the page; never a message (L53, L92)."""

from __future__ import annotations

from typing import Final

import apsw

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.storage.query import Cursor, HeadPage, ListQuery
from bamboo_sessions.storage.sqlite.connection import reading, rows_of, value_of
from bamboo_sessions.storage.sqlite.sessions import COLUMNS, SessionRow, read_head, storable
from bamboo_sessions.storage.sqlite.tuning import LOOP_HEADS_MAX

_Args = list[str | int | None]

_EQUAL: Final = {"owner": "owner", "kind": "kind", "parent": "parent_id", "root": "root_id", "run_status": "run_status"}


def list_heads(connection: apsw.Connection, query: ListQuery) -> HeadPage:
    """A page of living sessions."""
    where, args = _filters(query)
    field = query.order.lstrip("-")
    descending = query.order.startswith("-")
    page_where, page_args = list(where), list(args)
    if query.cursor is not None:
        page_where.append(f"({field}, session_id) {'<' if descending else '>'} (?, ?)")
        page_args += [query.cursor.micros, query.cursor.session_id]
    way = "DESC" if descending else "ASC"
    sql = (
        f"SELECT {COLUMNS} FROM sessions WHERE {' AND '.join(page_where)} "  # noqa: S608 - fixed names
        f"ORDER BY {field} {way}, session_id {way} LIMIT ?"
    )
    with reading(connection):
        found = rows_of(connection, sql, (*page_args, query.limit + 1))
        rows = [SessionRow(*columns) for columns in found[: query.limit]]
        heads = tuple(read_head(connection, row) for row in rows)
        total = None
        if query.total:
            total = value_of(connection, f"SELECT count(*) FROM sessions WHERE {' AND '.join(where)}", tuple(args))  # noqa: S608
    cursor = None
    if len(found) > query.limit:
        last = rows[-1]
        cursor = Cursor(query.order, last.updated_at if field == "updated_at" else last.created_at, last.session_id)
    return HeadPage(heads, cursor, total)


def _filters(query: ListQuery) -> tuple[list[str], _Args]:
    where = ["namespace = ?", "deleted_at IS NULL"]
    args: _Args = [query.namespace]
    for name, column in _EQUAL.items():
        wanted = getattr(query, name)
        if wanted is not None:
            where.append(f"{column} = ?")
            args.append(storable(wanted))
    if query.owner_prefix:
        where.append("owner >= ? AND substr(owner, 1, ?) = ?")
        args += [query.owner_prefix, len(query.owner_prefix), query.owner_prefix]
    for flag, column in ((query.pinned, "pinned"), (query.archived, "archived")):
        if flag is not None:
            where.append(f"{column} = {int(flag)}")
    if query.has_question is not None:
        where.append("open_questions > 0" if query.has_question else "open_questions = 0")
    if query.updated_before is not None:
        where.append("updated_at < ?")
        args.append(to_micros(query.updated_before))
    return where, args


def is_cheap(query: ListQuery) -> bool:
    """Whether an index brings the page in order, so that it costs as much as its rows."""
    filters: list[object] = [query.owner_prefix, query.kind, query.archived, query.parent, query.root]
    filters += [query.run_status, query.pinned, query.has_question]
    if "created_at" in query.order:
        filters += [query.owner, query.updated_before]
    return all(wanted is None for wanted in filters) and not query.total and query.limit <= LOOP_HEADS_MAX
