"""What a search gives: a page of hits with their snippets. What matches is worked out in `search_match`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from bamboo_sessions.domain.message import Role
from bamboo_sessions.domain.values import Value

Place = Literal["title", "summary", "message", "tool_call"]


class SnippetPiece(Value, frozen=True):
    """A stretch of a snippet: plain text, never markup. `is_match`: it is what was looked for."""

    text: str
    is_match: bool = False


class Snippet(Value, frozen=True):
    """The part of a text that matches best, in pieces, one after another; and whether text was left out."""

    pieces: tuple[SnippetPiece, ...]
    cut_before: bool = False
    cut_after: bool = False

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(piece.text for piece in self.pieces)


class SearchHit(Value, frozen=True, kw_only=True):
    """One text that matches.

    Args:
        session_id: The session that it is in.
        title: The session's title.
        place: Where: in a `"title"`, a `"summary"`, the text of a `"message"`, or the arguments of a `"tool_call"`.
        message_id: The message; `None` for titles and summaries.
        role: Its role, likewise.
        at: When the message was made; for titles and summaries, when the session last changed.
        snippet: The part that matches best.
        score: How well it matches, above 0; above 1 if all was found as whole words. Compare within one page only.
    """

    session_id: str
    title: str | None
    place: Place
    message_id: str | None
    role: Role | None
    at: datetime
    snippet: Snippet
    score: float


class SearchPage(Value, frozen=True, kw_only=True):
    """The best hits, best first. `has_more`: there are more than were asked for."""

    hits: tuple[SearchHit, ...]
    has_more: bool = False

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)
