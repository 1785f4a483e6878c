"""What can be found, how well a text matches, and the snippet that shows it. Pure; the same on every engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import SEARCHED_CHARS_MAX, SNIPPET_CHARS_MAX
from bamboo_sessions.domain.message import Message, Role
from bamboo_sessions.domain.search import Place, SearchHit, Snippet, SnippetPiece
from bamboo_sessions.domain.search_query import Term, TextQuery
from bamboo_sessions.domain.search_text import composed, fold, folded_lengths, place_in

_WEIGHTS: Final[dict[Place, float]] = {"title": 1.0, "summary": 0.8, "message": 0.7, "tool_call": 0.5}
_COUNTED_CHARS: Final = 20_000
"""Characters of a text in which terms are counted: what is rare in them is rare enough."""
_SHOWN_MAX: Final = 16
"""Occurrences of a term among which the best place for a snippet is looked for."""
_TYPICAL_CHARS: Final = 500
_LEAD_CHARS: Final = SNIPPET_CHARS_MAX // 4


class Text(msgspec.Struct, frozen=True):
    """A text that can be found: what it says, where, whose, and of when."""

    text: str
    place: Place
    session_id: str
    at: datetime
    message_id: str | None = None
    role: Role | None = None


class Match(msgspec.Struct, frozen=True):
    """A text that matches, and how well."""

    text: Text
    score: float

    @property
    def rank(self) -> tuple[float, int, str, str]:
        """Sorts worst first: the newer one wins between equals."""
        return self.score, to_micros(self.text.at), self.text.session_id, self.text.message_id or ""

    @property
    def is_whole(self) -> bool:
        """Whether all was found as whole words."""
        return self.score > 1


def texts_of_head(head: SessionHead) -> Iterator[Text]:
    """What can be found in a session's head."""
    if head.title:
        yield Text(head.title, "title", head.id, head.updated_at)
    if head.summary is not None and head.summary.text:
        yield Text(head.summary.text, "summary", head.id, head.updated_at)


def texts_of_message(message: Message, session_id: str) -> Iterator[Text]:
    """What can be found in a message: its readable text; and names and arguments of the tools that it calls."""
    about = (session_id, message.created_at, message.id, message.role)
    if text := message.text:
        yield Text(text, "message", *about)
    if message.tool_calls:
        calls = (f"{call.name} {call.arguments_text}" for call in message.tool_calls)
        yield Text("\n".join(calls), "tool_call", *about)


def match(query: TextQuery, text: Text) -> Match | None:
    """How well `text` matches, or `None` if it doesn't."""
    folded = fold(text.text)
    if not query.matches(folded):
        return None
    return Match(text, _score(query.wanted, folded, text.place))


def _score(terms: Sequence[Term], folded: str, place: Place) -> float:
    """Between 0 and 1, and one more if each term is there as a whole word: often is better, in a short text best."""
    length = 0.5 + 0.5 * len(folded) / _TYPICAL_CHARS
    whole = True
    total = 0.0
    for term in terms:
        is_whole = term.kind != "part" or term.whole.search(folded) is not None
        whole = whole and is_whole
        count = len((term.whole if is_whole else term.pattern).findall(folded, 0, _COUNTED_CHARS)) or 1
        total += count / (count + length)
    return _WEIGHTS[place] * total / len(terms) + whole


def best(matches: Iterable[Match], limit: int) -> tuple[tuple[Match, ...], bool]:
    """The best matches, best first, one for each message; and whether there are more."""
    found: dict[tuple[str, str], Match] = {}
    for each in sorted(matches, key=lambda match: match.rank, reverse=True):
        found.setdefault((each.text.session_id, each.text.message_id or each.text.place), each)
    return tuple(islice(found.values(), limit)), len(found) > limit


def hit(query: TextQuery, found: Match, title: str | None) -> SearchHit:
    """The hit for a match."""
    text = found.text
    return SearchHit(
        session_id=text.session_id,
        title=title,
        place=text.place,
        message_id=text.message_id,
        role=text.role,
        at=text.at,
        snippet=snippet(query, text.text),
        score=found.score,
    )


# --- snippets

_Span = tuple[int, int]


def snippet(query: TextQuery, text: str) -> Snippet:
    """The stretch of `text` that shows most of what was looked for; its letters and accents are put together (NFC)."""
    whole = composed(text)
    folded = fold(whole)
    first = place_in(whole, _best_start(_spans(query.wanted, folded)))
    start = _at_word(whole, max(0, first - _LEAD_CHARS), first)
    shown = whole[start : start + SNIPPET_CHARS_MAX]
    places = _places(query.wanted, folded, len(fold(whole[:start])), shown)
    cut_after = start + len(shown) < len(whole) or len(text) > SEARCHED_CHARS_MAX
    return Snippet(_pieces(shown, places), cut_before=start > 0, cut_after=cut_after)


def _spans(terms: Sequence[Term], folded: str) -> list[tuple[int, int, int]]:
    """Where the terms are, in order, with the number of the term: as whole words if there are any."""
    spans = []
    for number, term in enumerate(terms):
        found = [each.span() for each in islice(term.whole.finditer(folded), _SHOWN_MAX)]
        found = found or [each.span() for each in islice(term.pattern.finditer(folded), _SHOWN_MAX)]
        spans += [(begin, end, number) for begin, end in found]
    return sorted(spans)


def _best_start(spans: Sequence[tuple[int, int, int]]) -> int:
    """Where the stretch with most of the terms begins; the first of equals."""

    def terms_from(start: int) -> int:
        end = start + SNIPPET_CHARS_MAX - _LEAD_CHARS
        return len({number for begin, last, number in spans if begin >= start and last <= end})

    starts = [begin for begin, _, _ in spans]
    return max(starts, key=terms_from, default=0)


def _at_word(text: str, start: int, latest: int) -> int:
    """`start`, moved to the next beginning of a word, if there is one before `latest`."""
    if start == 0:
        return 0
    found = re.compile(r"\s\S").search(text, start - 1, latest + 1)
    return found.start() + 1 if found else start


def _places(terms: Sequence[Term], folded: str, offset: int, shown: str) -> list[_Span]:
    """All that is a match in `shown`, which begins at `offset` of the folded text, as spans of `shown`."""
    index_of = [index for index, length in enumerate(folded_lengths(shown)) for _ in range(length)]
    places = []
    for term in terms:
        for found in term.pattern.finditer(folded, offset):
            begin, end = found.start() - offset, found.end() - offset
            if end > len(index_of):
                break
            places.append((index_of[begin], index_of[end - 1] + 1))
    return places


def _pieces(shown: str, places: Sequence[_Span]) -> tuple[SnippetPiece, ...]:
    pieces = []
    done = 0
    for begin, end in sorted(places):
        first = max(begin, done)  # matches may overlap
        if first >= end:
            continue
        if first > done:
            pieces.append(SnippetPiece(shown[done:first]))
        pieces.append(SnippetPiece(shown[first:end], is_match=True))
        done = end
    if done < len(shown):
        pieces.append(SnippetPiece(shown[done:]))
    return tuple(pieces)
