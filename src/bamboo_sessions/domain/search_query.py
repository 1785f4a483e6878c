"""The language of searches: words, "phrases", prefix*, -not. Pure; nothing of it reaches an engine's own syntax.

| written | finds |
|---|---|
| `order` | the text anywhere, also inside of a word ("reordering"); fewer than three letters: as a whole word |
| `"order number"` | these whole words, one after another |
| `order*`, `"order num"*` | words that begin so |
| `-draft`, `-"first draft"` | only what doesn't have it |

All of it must hold in one text. What can't be understood as this is taken literally: there is no syntax error. Marks
that stand alone, such as `->` or `*`, are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

import msgspec

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.limits import SEARCH_TEXT_CHARS_MAX, SEARCH_WORDS_MAX, check_limit
from bamboo_sessions.domain.search_text import BETWEEN, LETTER, WIDE, fold, is_letter, words_of

PART_CHARS_MIN: Final = 3
"""Characters of a word from which on it is found inside of other words, too: two letters are part of nearly all."""

_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟＂", '"'))  # noqa: RUF001 - what phones and word processors write
_PIECE: Final = re.compile(
    rf'\s*(?P<not>-(?=["\w{WIDE}]))?(?:"(?P<phrase>[^"]*)(?:"(?P<begin>\*)?|$)|(?P<word>[^\s"]+))'
)

TermKind = Literal["part", "word", "prefix", "phrase"]


class Term(msgspec.Struct, frozen=True):
    """One thing to look for, folded. `open`: the last word of a phrase may go on."""

    text: str
    kind: TermKind
    negated: bool = False
    open: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words in it."""
        return tuple(words_of(self.text))

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds it in a folded text."""
        return _pattern(self.text, self.kind, self.open)

    @property
    def whole(self) -> re.Pattern[str]:
        """Finds it in a folded text where it isn't a part of a word."""
        return _pattern(self.text, "word" if self.kind == "part" else self.kind, self.open)

    def is_in(self, folded: str) -> bool:
        """Whether a folded text has it."""
        return self.text in folded if self.kind == "part" else self.pattern.search(folded) is not None


class TextQuery(msgspec.Struct, frozen=True):
    """What a text must have, and what it must not."""

    wanted: tuple[Term, ...]
    unwanted: tuple[Term, ...] = ()

    def matches(self, folded: str) -> bool:
        """Whether a folded text has all that is wanted and nothing that isn't."""
        return all(term.is_in(folded) for term in self.wanted) and not any(t.is_in(folded) for t in self.unwanted)


def parse(text: str) -> TextQuery:
    """The query that `text` writes.

    Raises:
        InputError: It isn't text, or there is nothing to look for in it.
        LimitExceededError: It is longer than `SEARCH_TEXT_CHARS_MAX`, or has more words than `SEARCH_WORDS_MAX`.
    """
    if not isinstance(text, str):
        message = f"What is searched for must be text, not {type(text).__name__}."
        raise InputError(message, hint="Pass a str.")
    check_limit("A search", len(text), SEARCH_TEXT_CHARS_MAX, "characters")
    terms = tuple(dict.fromkeys(_terms(text.translate(_QUOTES).replace("\0", " "))))
    count = sum(len(term.words) if term.kind == "phrase" else 1 for term in terms)
    check_limit("A search", count, SEARCH_WORDS_MAX, "words")
    wanted = tuple(term for term in terms if not term.negated)
    if not wanted:
        what = "only says what not to find" if terms else "has no word to look for"
        message = f"The search {text[:80]!r} {what}."
        raise InputError(message, hint='Write words, a "phrase", or the beginning of a word as begin*.')
    return TextQuery(wanted, tuple(term for term in terms if term.negated))


def _terms(text: str) -> Iterator[Term]:
    for piece in _PIECE.finditer(text):
        negated = piece["not"] is not None
        if piece["phrase"] is not None:
            yield from _phrase(piece["phrase"], negated=negated, open=piece["begin"] is not None)
        elif piece["word"] is not None:
            yield from _word(piece["word"], negated=negated)


def _phrase(text: str, *, negated: bool, open: bool) -> Iterator[Term]:
    folded = fold(text)
    if words := " ".join(words_of(folded)):
        yield Term(words, "phrase", negated, open)


def _word(text: str, *, negated: bool) -> Iterator[Term]:
    bare = text.rstrip("*")
    folded = fold(bare).strip()
    words = tuple(words_of(folded))
    if bare != text:
        if words:
            yield Term(" ".join(words), "phrase" if len(words) > 1 else "prefix", negated, open=True)
    elif len(folded) >= PART_CHARS_MIN or any(not is_letter(word[0]) for word in words):
        yield Term(folded, "part", negated)
    elif words:
        yield Term(folded, "word", negated)


# --- patterns


@lru_cache(maxsize=256)
def _pattern(text: str, kind: TermKind, open: bool) -> re.Pattern[str]:
    if kind == "part":
        return re.compile(re.escape(text))
    pieces = tuple(words_of(text)) if kind == "phrase" else (text,)
    begin = rf"(?<!{LETTER})" if is_letter(pieces[0][0]) else ""
    end = rf"(?!{LETTER})" if is_letter(pieces[-1][-1]) and not open else ""
    return re.compile(begin + _joined(pieces) + end, re.DOTALL)


def _joined(pieces: tuple[str, ...]) -> str:
    """Words one after another: letters need something between them, wide characters don't."""
    joined = re.escape(pieces[0])
    for left, right in pairwise(pieces):
        apart = is_letter(left[-1]) and is_letter(right[0])
        joined += BETWEEN + ("+" if apart else "*") + re.escape(right)
    return joined
