"""Lines of the log: a stored message each, in the body of a commit's row.

Most questions (which message, which calls, does it live) need little of a line. An old version that was purged is a
line of its own kind, with its id and the hash of its content (G4).
"""

from __future__ import annotations

import json as stdlib_json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.change import KINDS, ChangeKind
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message, StoredMessage, from_body, hash_of_body, to_stored
from bamboo_sessions.domain.runs import Shape, Span, address_of, position_of

_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID7: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MESSAGES: Final = msgspec.json.Decoder(Message)
_SHAPE: Final = msgspec.json.Decoder(Shape)


class _Call(msgspec.Struct, frozen=True, gc=False):
    id: str


class LineHead(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a line without reading all of it. `hash`: of a purged version, in hexadecimal."""

    id: str
    role: str = ""
    tool_calls: tuple[_Call, ...] = ()
    hash: str | None = None

    @property
    def calls(self) -> set[str]:
        """The ids of the tool calls that it makes."""
        return {call.id for call in self.tool_calls} if self.role == "assistant" else set()


_HEADS: Final = msgspec.json.Decoder(LineHead)


class Line(NamedTuple):
    """A stored version of a message."""

    address: int
    body: bytes

    @property
    def head(self) -> LineHead:
        """The little that most questions need."""
        return head_of(self.body)


def lines_of(position: int, body: bytes) -> list[Line]:
    """The lines of a row."""
    return [Line(address, line) for address, line in enumerate(body.split(b"\n"), address_of(position, 0))]


def lines_between(position: int, body: bytes, span: Span) -> list[Line]:
    """Those of its lines that are in `span`."""
    found = lines_of(position, body)
    start, stop = span
    if start <= found[0].address and found[-1].address < stop:
        return found
    return [line for line in found if start <= line.address < stop]


def parts_of(positions: Sequence[int], span: Span) -> range:
    """The indexes of the rows, given by their positions in order, that can have lines of `span`."""
    return range(bisect_left(positions, position_of(span[0])), bisect_right(positions, position_of(span[1] - 1)))


def head_of(line: bytes) -> LineHead:
    """The beginning of a line; raises `StorageCorruptError`."""
    return json.decode(line, _HEADS, what="A stored message")


def heads_of(body: bytes) -> list[LineHead]:
    """Those of all lines of a row."""
    try:
        return _HEADS.decode_lines(body)
    except (ValueError, RecursionError):  # a text that only `json` can read (L94), or a damaged line
        return [head_of(line) for line in body.split(b"\n")]


def message_of(session_id: str, line: bytes | None) -> Message:
    """The message in a line; raises `StorageCorruptError`, naming the session."""
    try:
        return from_body(line or b"")
    except StorageCorruptError as exc:
        raise StorageCorruptError(f"Session {session_id!r}: {exc}", hint=exc.hint) from exc


def decoded(joined: bytes, count: int) -> list[Message] | None:
    """The `count` messages in `joined`, one a line; `None` if they have to be looked at one by one."""
    try:
        messages = _MESSAGES.decode_lines(joined)
    except (ValueError, RecursionError):
        return None
    return messages if len(messages) == count else None


def messages_of(session_id: str, lines: Sequence[bytes]) -> list[Message]:
    """The messages in `lines`, decoded at once if they can be; raises as `message_of` does."""
    messages = decoded(b"\n".join(lines), len(lines))
    return [message_of(session_id, line) for line in lines] if messages is None else messages


# --- content


def purged(line: bytes) -> bytes:
    """What is left of a line when its text is forgotten."""
    return stdlib_json.dumps({"id": head_of(line).id, "hash": hash_of_body(line).hex()}).encode()


def is_purged(line: bytes) -> bool:
    """Whether its text was forgotten."""
    return head_of(line).hash is not None


def has_content(line: bytes, stored: StoredMessage) -> bool:
    """Whether a line has the content of a message; lines of earlier forms hash equal messages apart (L116)."""
    if (kept := head_of(line).hash) is not None:
        return kept == stored.content_hash.hex()
    return hash_of_body(line) == stored.content_hash or to_stored(from_body(line)).content_hash == stored.content_hash


# --- the other columns


def stored_id(id: str) -> bytes | str:
    """An id as columns hold it: a UUID in less than half of its text."""
    if _UUID.fullmatch(id):
        return bytes.fromhex(id.replace("-", ""))
    return id if id.isascii() else id.encode("utf-8", "backslashreplace").decode("utf-8")


def text_of(id: bytes | str) -> str:
    """The id in a column."""
    if isinstance(id, str):
        return id
    digits = id.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def is_ascending_id(id: str) -> bool:
    """Whether it is a UUIDv7: those that are made later are higher."""
    return _UUID7.fullmatch(id) is not None


def bits_of(kinds: Iterable[ChangeKind]) -> int:
    """Kinds as a number."""
    return sum(1 << KINDS.index(kind) for kind in kinds)


def kinds_in(bits: int) -> tuple[ChangeKind, ...]:
    """The kinds in a number, in their order."""
    return tuple(kind for number, kind in enumerate(KINDS) if bits >> number & 1)


def shape_of(shape: bytes | None) -> Shape:
    """What a row says of the order."""
    return Shape() if shape is None else json.decode(shape, _SHAPE, what="The shape of a commit")


def seal(body: bytes | None, shape: bytes | None, *columns: object) -> int:
    """The checksum of a row of `commits`; `columns` are those before `shape`, from `session` on, but for `ended`."""
    return crc32(body or b"", crc32(shape or b"", crc32(repr(columns).encode())))


def told_lines(shape: Shape, lines: Iterable[Line]) -> Iterator[Line]:
    """Those of a commit's lines that are new to the history."""
    quiet = sorted(shape.quiet)
    for line in lines:
        if not any(start <= line.address < stop for start, stop in quiet):
            yield line
