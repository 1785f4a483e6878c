"""Text for people's eyes: harmless on a terminal, short where it has to be. What is stored may hold anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bamboo_sessions.domain.head import SessionHead

_CONTROL_PICTURES: Final = 0x2400
_BAD: Final = "\N{REPLACEMENT CHARACTER}"

_HARMLESS: Final = {
    **{code: chr(_CONTROL_PICTURES + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), _BAD),
    **dict.fromkeys((0x202D, 0x202E), _BAD),  # overrides of the direction, which make text look like other text
    **dict.fromkeys(range(0xD800, 0xE000), _BAD),
}


def plain(text: str) -> str:
    """`text` without what could command a terminal; line ends and tabs stay."""
    return text.replace("\r\n", "\n").translate(_HARMLESS)


_COMMANDING: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON allows in a text and a terminal may obey: controls, line ends, marks of direction; and lone surrogates."""


def escaped(json_text: str) -> str:
    """`json_text` with these as escapes, which is equal JSON: none of them can stand outside of a string."""
    return _COMMANDING.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def one_line(text: str, chars_max: int) -> str:
    """`text` on one line of at most `chars_max` characters."""
    begin = text[: chars_max * 4]  # never more work than what can be shown
    line = " ".join(plain(begin).split())
    if len(line) <= chars_max and len(begin) == len(text):
        return line
    return line[: chars_max - 1].rstrip() + "…"


def folded(text: str, *, lines_max: int, chars_max: int) -> tuple[str, str]:
    """The beginning of a long text, and what to say about the rest (empty if there is none)."""
    lines = text.splitlines()
    if len(lines) <= lines_max and len(text) <= chars_max:
        return text, ""
    begin = "\n".join(lines[:lines_max])[:chars_max].rstrip()
    return begin, f"… {len(text) - len(begin):,} more characters"


def shortened(id: str, chars_max: int) -> str:
    """An id that is too long with its end, which tells ids of one moment apart."""
    shown = plain(id)
    if len(shown) <= chars_max:
        return shown
    head = (chars_max - 1) // 2
    return f"{shown[:head]}…{shown[len(shown) - (chars_max - 1 - head) :]}"


_AGES: Final = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (60 * 86400, 86400, "d"))


def age(moment: datetime, now: datetime) -> str:
    """How long ago: `12 min`, `3 d`; a date if it is long ago or still to come."""
    seconds = int((now - moment).total_seconds())
    if seconds >= 0:
        for below, unit, name in _AGES:
            if seconds < below:
                return f"{seconds // unit} {name}"
    return f"{moment.astimezone():%Y-%m-%d}"


def local_time(moment: datetime) -> str:
    """The time to the second in the user's time zone, which is named."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def utc_time(moment: datetime) -> str:
    """The time to the second in UTC, for programs."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def badges(head: SessionHead) -> list[tuple[str, str]]:
    """What is special about a session, each word with its style."""
    words = [
        ("question", "bold yellow", head.has_question),
        (one_line(head.run_status or "", 20), "green", bool(head.run_status)),
        ("pinned", "cyan", head.pinned),
        ("archived", "dim", head.archived),
        ("child", "dim", head.parent_session_id is not None),
    ]
    return [(word, style) for word, style, applies in words if applies]


def counted(number: int, thing: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
