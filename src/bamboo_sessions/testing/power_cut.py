"""What a disk may hold after a power cut: pure, from a list of operations.

`Replay` follows the operations that a `SimulatedDisk` recorded. At any moment it builds the folder as it may be found
after a cut just then. A `Survival` says what of the unsynced work survives. The model is stricter than most disks:

- **Writes** without a later `sync` of their file may be lost, each by itself and in any order: a later one may be there
  without an earlier one. A write is torn at the borders of sectors of 512 bytes, any of which may be missing.
- **Nothing but the bytes written** is touched (SQLite's `SQLITE_IOCAP_POWERSAFE_OVERWRITE`, which its unix file system
  claims by default), and a sector is written whole or not at all.
- **Sizes** are like writes: an extension or a truncation may be lost by itself. Where a file grew over bytes
  that never arrived, there are zeros or rubbish.
- **Names** (creating, deleting) are durable with a sync of the folder only, each by itself; a sync of the file doesn't
  do it. SQLite syncs the folder with the first sync of each handle of a journal or log, and for some deletions.
- **A sync that fails** leaves its writes doubtful for ever: a later sync that succeeds proves nothing about them
  ("fsyncgate": the system may have dropped the pages and called them clean). Until the cut they can be read.
- **Shared memory** (`-shm`) never survives.

Not modelled: disks that lie about syncs; damage to bytes that nobody was writing; bits that flip later.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

SECTOR: Final = 512
"""Bytes that a disk writes as one."""


class Operation(msgspec.Struct, frozen=True):
    """One operation on a file of the folder.

    Args:
        kind: What was done.
        file: The number of the file: a new one for each that was created, whatever its name.
        name: Its name in the folder.
        offset: Of a write, in bytes; the new size, of a truncation.
        data: What was written.
        folder: Whether a sync or a deletion also syncs the folder.
    """

    kind: Literal["create", "write", "truncate", "sync", "failed_sync", "delete"]
    file: int
    name: str
    offset: int = 0
    data: bytes = b""
    folder: bool = False

    def __str__(self) -> str:
        """As one line of a log."""
        match self.kind:
            case "write":
                return f"write {self.name} {self.offset}+{len(self.data)}"
            case "truncate":
                return f"truncate {self.name} to {self.offset}"
            case _:
                return f"{self.kind} {self.name}{' and its folder' if self.folder else ''}"


class _Piece(msgspec.Struct):
    """A part of an operation that is done whole or not at all. `data=None`: the file's end is set to `offset`."""

    number: int
    offset: int
    data: bytes | None
    is_durable: bool = False
    is_doubtful: bool = False


class Survival(msgspec.Struct, frozen=True):
    """What of the unsynced work survives.

    Args:
        name: For messages.
        pieces: The chance of each sector of each unsynced write; 0 or 1 leave nothing to chance.
        names: The chance of each created or deleted name, likewise.
        last: What becomes of the newest unsynced write instead: `"torn"` is its first half.
        oldest: Whether the oldest unsynced write survives whatever the chance is; `None`: by the chance.
        sizes: Whether files have their newest size, whatever became of the bytes.
        rubbish: Whether bytes that never arrived are rubbish in place of zeros.
        seed: Of the chances.
    """

    name: str
    pieces: float
    names: float
    last: Literal["lost", "torn", "kept"] | None = None
    oldest: bool | None = None
    sizes: bool = False
    rubbish: bool = False
    seed: int = 0


WORST: Final = (
    Survival("nothing", 0, 0),
    Survival("everything", 1, 1),
    Survival("all, the last torn", 1, 1, last="torn"),
    Survival("all but the oldest", 1, 1, oldest=False),
    Survival("the last only", 0, 1, last="kept"),
    Survival("names, no data", 0, 1),
    Survival("data, no names", 1, 0),
    Survival("sizes before data", 0, 1, sizes=True, rubbish=True),
)
"""The extremes: what breaks careless programs."""


def at_random(seed: int) -> Survival:
    """A survival drawn from `seed`: the same, the same."""
    source = random.Random(seed)
    return Survival(
        f"at random {seed}",
        source.choice((0.1, 0.5, 0.9)),
        source.choice((0.0, 0.5, 1.0)),
        sizes=source.random() < 0.3,
        rubbish=source.random() < 0.5,
        seed=seed,
    )


class _File(msgspec.Struct):
    """A file's bytes up to the first doubtful piece, and what came after."""

    base: bytearray = msgspec.field(default_factory=bytearray)
    pieces: list[_Piece] = msgspec.field(default_factory=list)

    def sync(self, *, failed: bool) -> None:
        for piece in self.pieces:
            if not piece.is_doubtful:
                piece.is_doubtful, piece.is_durable = (not piece.is_durable and failed), not failed or piece.is_durable
        settled = next((i for i, piece in enumerate(self.pieces) if not piece.is_durable), len(self.pieces))
        for piece in self.pieces[:settled]:
            _apply(self.base, piece, b"\0")
        del self.pieces[:settled]


class Replay:
    """Follows recorded operations and builds what a power cut may leave.

    Args:
        before: The folder at the start, by name: a disk's `before`. Its files have the numbers -1, -2 … in this order.
    """

    def __init__(self, before: Mapping[str, bytes] | None = None) -> None:
        self.count = 0
        self._files: dict[int, _File] = {}
        self._names: dict[str, list[int | None]] = {}
        for number, (name, content) in enumerate((before or {}).items(), 1):
            self._files[-number] = _File(bytearray(content))
            self._names[name] = [-number]

    def step(self, operation: Operation) -> None:
        """Do one operation."""
        self.count += 1
        file = self._files.setdefault(operation.file, _File())
        match operation.kind:
            case "create":
                self._names.setdefault(operation.name, [None]).append(operation.file)
            case "delete":
                self._names.setdefault(operation.name, [None]).append(None)
            case "write":
                file.pieces.extend(_torn(self.count, operation))
            case "truncate":
                file.pieces.append(_Piece(self.count, operation.offset, None))
            case "sync" | "failed_sync":
                file.sync(failed=operation.kind == "failed_sync")
        if operation.folder:
            for versions in self._names.values():
                del versions[:-1]

    def image(self, survival: Survival) -> dict[str, bytes]:
        """The folder after a power cut now: contents by name."""
        source = random.Random(survival.seed)
        found: dict[str, bytes] = {}
        for name, versions in sorted(self._names.items()):
            number = versions[-1] if _chance(source, survival.names) else source.choice(versions[:-1] or versions)
            if survival.names == 0:
                number = versions[0]
            if number is not None:
                found[name] = self._content(self._files[number], survival, source)
        return found

    def _content(self, file: _File, survival: Survival, source: random.Random) -> bytes:
        content = bytearray(file.base)
        filler = source.randbytes(SECTOR) if survival.rubbish else b"\0"
        open_pieces = [piece for piece in file.pieces if not piece.is_durable]
        kept = set(map(id, _kept(open_pieces, survival, source)))
        for piece in file.pieces:
            if piece.is_durable or id(piece) in kept:
                _apply(content, piece, filler)
            elif survival.sizes:
                _apply_size(content, piece, filler)
        return bytes(content)


def _torn(number: int, operation: Operation) -> Iterator[_Piece]:
    """A write in pieces that end at borders of sectors."""
    start, end = operation.offset, operation.offset + len(operation.data)
    while start < end:
        border = min(end, (start // SECTOR + 1) * SECTOR)
        data = operation.data[start - operation.offset : border - operation.offset]
        yield _Piece(number, start, data)
        start = border


def _kept(pieces: Sequence[_Piece], survival: Survival, source: random.Random) -> list[_Piece]:
    if not pieces:
        return []
    newest, oldest = max(piece.number for piece in pieces), min(piece.number for piece in pieces)
    kept = [piece for piece in pieces if _chance(source, survival.pieces)]
    if survival.oldest is not None:
        kept = [piece for piece in kept if piece.number != oldest]
    if survival.last is not None:
        last = [piece for piece in pieces if piece.number == newest]
        share = {"lost": 0, "torn": (len(last) + 1) // 2 if len(last) > 1 else 0, "kept": len(last)}[survival.last]
        kept = [piece for piece in kept if piece.number != newest] + last[:share]
    return kept


def _chance(source: random.Random, chance: float) -> bool:
    return chance >= 1 or (chance > 0 and source.random() < chance)


def _apply(content: bytearray, piece: _Piece, filler: bytes) -> None:
    if piece.data is None:
        _apply_size(content, piece, filler)
        return
    if piece.offset > len(content):
        _fill(content, piece.offset, filler)
    content[piece.offset : piece.offset + len(piece.data)] = piece.data


def _apply_size(content: bytearray, piece: _Piece, filler: bytes) -> None:
    if piece.data is None:
        del content[piece.offset :]
        _fill(content, piece.offset, b"\0")
    else:
        _fill(content, piece.offset + len(piece.data), filler)


def _fill(content: bytearray, size: int, filler: bytes) -> None:
    missing = size - len(content)
    if missing > 0:
        content += (filler * (missing // len(filler) + 1))[:missing]
