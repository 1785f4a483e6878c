"""The question of a search to storage. Imported with the first search, and so is all that decides what matches."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import SEARCH_DEFAULT
from bamboo_sessions.domain.message import Role
from bamboo_sessions.domain.search_match import Text
from bamboo_sessions.domain.search_query import TextQuery


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for, in which texts of one namespace. `None` means any; `since` is inclusive, `until` exclusive."""

    namespace: str
    text: TextQuery
    limit: int = SEARCH_DEFAULT
    kind: str | None = None
    role: Role | None = None
    session: str | None = None
    owner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    include_tools: bool = False
    archived: bool | None = None

    def takes(self, text: Text) -> bool:
        """Whether a text is one of those to look in, as far as its session is."""
        if text.place == "tool_call" and not self.include_tools:
            return False
        if text.role == "tool" and not (self.include_tools or self.role == "tool"):
            return False
        if self.role is not None and text.role != self.role:
            return False
        return (self.since is None or text.at >= self.since) and (self.until is None or text.at < self.until)

    def takes_session(self, head: SessionHead) -> bool:
        """Whether a session's texts are among those to look in."""
        wanted = ((self.kind, head.kind), (self.session, head.id), (self.owner, head.owner))
        if any(one is not None and one != other for one, other in wanted):
            return False
        return self.archived is None or self.archived == head.archived
