"""What stands in the full-text index, and how it is asked. Pure.

The index only brings candidates, so each question here may find too much, never too little. There are two tables with
the same rows, once for messages and once for heads. `words` has the words of a text; of each run of wide characters
(Chinese …) all pairs, and its last character. `parts` has all stretches of three characters, for what stands inside of
words. Texts come folded, so the tokenizers have nothing to decide. Namespace, session and role of a row are *marks*:
tokens of three characters that no folded text can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby, islice
from typing import Final, Literal

from bamboo_sessions.domain.message import Role
from bamboo_sessions.domain.search_query import PART_CHARS_MIN, Term
from bamboo_sessions.domain.search_text import LETTER, WIDE, is_letter
from bamboo_sessions.storage.sqlite.transactions.tuning import SEARCH_PIECES_MAX

_FIRST: Final = 0xF0000
_BASE: Final = 20_000
_SPACES: Final = {"namespace": 0, "session": 1, "role": 2}
Class = Role | Literal["call"]
_CLASSES: Final[tuple[Class, ...]] = ("system", "developer", "user", "assistant", "tool", "event", "call")


def mark(space: Literal["namespace", "session", "role"], number: int) -> str:
    """The mark with this number."""
    first = _FIRST + _SPACES[space] * _BASE
    return "".join(chr(first + number // _BASE**power % _BASE) for power in (2, 1, 0))


def class_mark(kind: Class) -> str:
    """The mark of a role; `"call"`: of the calls of tools."""
    return mark("role", _CLASSES.index(kind))


# --- what stands in `words`


@cache
def _apart() -> re.Pattern[str]:
    return re.compile(rf"([{WIDE}]+)|(?:(?!{LETTER})[^\x00-\x7f{WIDE}])+")


def segmented(folded: str) -> str:
    """A folded text as words with something between them that SQLite's `ascii` tokenizer takes for it."""
    if folded.isascii():
        return folded
    return _apart().sub(lambda found: f" {' '.join(_pairs(found[1]))} " if found[1] else " ", folded)


def _pairs(run: str) -> Iterator[str]:
    yield from (run[index : index + 2] for index in range(len(run) - 1))
    yield run[-1]


# --- questions


def words_question(terms: Sequence[Term]) -> str:
    """Rows that have all words of the terms as whole words; `""` if that says nothing."""
    pieces = dict.fromkeys(piece for term in terms for piece in _word_pieces(term))
    return " AND ".join(islice(pieces, SEARCH_PIECES_MAX))


def _word_pieces(term: Term) -> Iterator[str]:
    runs = [(letters, list(run)) for letters, run in groupby(term.words, key=lambda word: is_letter(word[0]))]
    for number, (letters, run) in enumerate(runs):
        if letters and term.kind == "part" and len(term.text) < PART_CHARS_MIN:
            continue  # a letter beside a wide character may be the begin or the end of a longer word
        if letters:
            goes_on = term.open and number == len(runs) - 1
            yield _quoted(" ".join(run)) + (" *" if goes_on else "")
        else:
            yield from (_wide_piece(word) for word in run)


def _wide_piece(run: str) -> str:
    if len(run) == 1:
        return _quoted(run) + " *"
    return _quoted(" ".join(run[index : index + 2] for index in range(len(run) - 1)))


def is_for_parts(term: Term) -> bool:
    """Whether `parts` has to be asked for a term: it may be inside of a word, or has no words."""
    if term.kind != "part" or len(term.text) < PART_CHARS_MIN:
        return False
    return _plain_wide().fullmatch(term.text) is None


@cache
def _plain_wide() -> re.Pattern[str]:
    return re.compile(f"[{WIDE}]+")


def parts_question(terms: Sequence[Term]) -> str:
    """Rows that have the stretches which the terms are made of."""
    stretches = dict.fromkeys(stretch for term in terms for stretch in _stretches(term.text))
    return " AND ".join(_quoted(stretch) for stretch in islice(stretches, SEARCH_PIECES_MAX))


def _stretches(text: str) -> Iterator[str]:
    return (text[start : start + 3] for start in range(len(text) - 2))


def question(pieces: str, *, among: Sequence[str], without: Sequence[str] = ()) -> str:
    """`pieces`, among the rows that have all these marks (each may be several, separated by spaces: any of them)."""
    asked = " AND ".join(filter(None, (pieces, *(_any_of(marks.split()) for marks in among if marks))))
    return f"({asked}) NOT ({_any_of(without)})" if without else asked


def _any_of(marks: Sequence[str]) -> str:
    return "(" + " OR ".join(_quoted(each) for each in marks) + ")"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
