"""Searching titles, summaries and messages of a namespace."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, Unpack, get_args

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.ids import check_name, check_session_id
from bamboo_sessions.domain.limits import SEARCH_DEFAULT
from bamboo_sessions.domain.message import Role
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.storage.port import Progress
from bamboo_sessions.storage.query import check_page_limit


class SearchFilters(TypedDict, total=False):
    """Where to look; one that is left out, or `None`, means anywhere.

    `session`, `kind`, `owner` and `archived` are the session's; `role` looks in messages of that role only; `since`
    (inclusive) and `until` (exclusive) are about when a message was made, or a session with such a title last changed.
    """

    kind: str | None
    role: Role | None
    session: str | None
    owner: str | None
    since: datetime | None
    until: datetime | None
    archived: bool | None


async def search(
    self: Handle,
    text: str,
    *,
    limit: int = SEARCH_DEFAULT,
    include_tools: bool = False,
    on_progress: Progress | None = None,
    **filters: Unpack[SearchFilters],
) -> SearchPage:
    """The texts of this namespace that match, best first.

    All of what `text` asks for has to be in one title, one summary or one message: words (of three letters or
    more also as a part of a word), `"phrases"`, `prefix*`, `-not`. Case and accents don't matter. What was
    acknowledged before the call is found, whoever wrote it; what was edited, removed or deleted is not (L46).
    Another namespace is never seen (L99).

    Of a text of more than `SEARCHED_CHARS_MAX` characters the beginning is searched. Where more than
    `SEARCH_RANKED` texts match, the newest are ranked. On SQLite the first search of a store builds the index,
    which takes about a minute for 300,000 messages and doesn't hold up anybody else. Cancelling stops it;
    what is indexed by then stays.

    Args:
        text: What to look for.
        limit: Hits at most, 1 to 1000.
        include_tools: Look in the results of tools, and in names and arguments of tool calls, too.
        on_progress: Called with messages indexed so far and in all, while an index is built first.
        filters: See `SearchFilters`.

    Raises:
        InputError: Nothing to look for, a wrong limit or filter (`LimitExceededError`: too long a text).
        StorageError: Storage failed; that is never read as "nothing found" (G8).
    """
    from bamboo_sessions.domain.search_query import parse  # here: most processes never search
    from bamboo_sessions.storage.search_query import SearchQuery

    _check_filters(filters)
    query = SearchQuery(
        namespace=self._bound.namespace,
        text=parse(text),
        limit=check_page_limit(limit),
        include_tools=include_tools,
        **filters,
    )
    return await self._bound.storage.search(query, on_progress=on_progress)


def _check_filters(filters: SearchFilters) -> None:
    for what, name in (("kind", filters.get("kind")), ("owner", filters.get("owner"))):
        if name is not None:
            check_name(name, what=what)
    if (session := filters.get("session")) is not None:
        check_session_id(session)
    role = filters.get("role")
    if role is not None and role not in get_args(Role):
        message = f"{role!r} is no role of a message."
        raise InputError(message, hint="Use one of: " + ", ".join(get_args(Role)) + ".")
    for name in ("since", "until"):
        moment = filters.get(name)
        if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
            message = f"{name} must be a time with a time zone, not {moment!r}."
            raise InputError(message, hint="Use datetime.now(timezone.utc), or set tzinfo.")
