"""How texts are compared when they are searched: folding, and what is a word.

Folding drops what people don't mind when they search: case, accents, width and other compatible forms ("ﬁ" is "fi",
"ß" is "ss"). Whoever looks for a text folds both sides; nothing else decides what is found, on any engine. Scripts
that are written without spaces, and emoji, are *wide*: there each character counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

from bamboo_sessions.domain.limits import SEARCHED_CHARS_MAX

_TABLE_ENTRIES_MAX: Final = 65_536
_BLOCK_CHARS: Final = 4_096
_PRIVATE: Final = 0xF0000
"""From here on Unicode leaves the meaning to programs."""

_DROPPED: Final = re.compile("[\u00ad\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]")
"""Accents and other marks on Latin, Greek and Cyrillic letters, soft hyphens, and selectors of a glyph's look."""

WIDE: Final = (
    "\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2600-\u27bf\u2b00-\u2bff\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U0001aff0-\U0001b2ff\U0001f000-\U0001faff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean, and emoji, as ranges of a regular expression."""
LETTER: Final = rf"[^\W_{WIDE}]"
"""A letter or digit of all other scripts."""
BETWEEN: Final = rf"(?:(?!{LETTER})[^{WIDE}])"
"""What stands between words."""


class _Folded(dict[int, str]):
    """What becomes of each character; worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _TABLE_ENTRIES_MAX:
            self.clear()
        folded = self[code] = _folded_character(chr(code))
        return folded


def _folded_character(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Cs" or code >= _PRIVATE:  # no index can hold them; it marks rows with them
        return "\ufffd"
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return unicodedata.normalize("NFC", _DROPPED.sub("", plain).casefold()).replace("\0", " ")


_FOLDED: Final = _Folded()


def composed(text: str) -> str:
    """`text` as far as it is searched, with letters and their accents put together (NFC)."""
    begin = text[:SEARCHED_CHARS_MAX]
    return begin if unicodedata.is_normalized("NFC", begin) else unicodedata.normalize("NFC", begin)


def fold(text: str) -> str:
    """`text` as it is compared. Encodes as UTF-8 whatever `text` holds, and has no NUL."""
    begin = text[:SEARCHED_CHARS_MAX]
    if begin.isascii():
        return begin.lower().replace("\0", " ")
    return composed(begin).translate(_FOLDED)


def folded_lengths(text: str) -> list[int]:
    """How many characters each character of a composed text has once it is folded."""
    return [1] * len(text) if text.isascii() else [len(_FOLDED[ord(character)]) for character in text]


def place_in(text: str, offset: int) -> int:
    """Where in a composed text the character stands that has `offset` in the folded one."""
    if text.isascii():
        return offset
    for start in range(0, len(text), _BLOCK_CHARS):
        block = text[start : start + _BLOCK_CHARS]
        length = len(block.translate(_FOLDED))
        if offset < length:
            return start + _place_in_block(block, offset)
        offset -= length
    return len(text)


def _place_in_block(block: str, offset: int) -> int:
    for index, length in enumerate(folded_lengths(block)):
        offset -= length
        if offset < 0:
            return index
    return len(block)


@cache
def _words() -> re.Pattern[str]:
    return re.compile(rf"[{WIDE}]+|{LETTER}+")


def words_of(folded: str) -> Iterator[str]:
    """The words of a folded text; of wide characters, each run as a whole."""
    return (found.group() for found in _words().finditer(folded))


@cache
def _one_letter() -> re.Pattern[str]:
    return re.compile(LETTER)


def is_letter(character: str) -> bool:
    """Whether a folded character is a letter or digit of a script that is written with spaces."""
    return _one_letter().match(character) is not None
