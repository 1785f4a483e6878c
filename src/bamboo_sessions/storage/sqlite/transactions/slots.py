"""Where commits wait for their process's turn, so that whoever has the turn can make them too: one sync for all.

Each process has a slot in the file beside the database (`turns`). A process that has to wait writes its requests there.
Whoever has the turn carries them out together with its own, in one transaction, and once COMMIT has returned (G1)
writes the outcomes beside them. What nobody has made when the waiting process gets its turn, it makes itself.

Slots are read inside the transaction that makes what they ask for, and a process that waits no longer withdraws its
requests before it begins one: so nothing is made late that its own process has settled otherwise.

Nothing but speed rests on this file. Whatever is torn, overwritten, lost or of another kind counts as not there. A
process that dies leaves requests that may still be made, but only for as long as it said that it would wait. One that
dies between COMMIT and the outcomes has told nobody: so whoever makes a request that was in a slot first looks whether
its commit was made already (G4).

    byte n              1: the requests of slot n wait
    4096 + 128 KiB × n  the requests of slot n; 64 KiB further on, their outcomes

Both are a head (`_HEAD`) and a body, a list in MessagePack.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_ROW_BYTES, SLOT_BYTES_MAX

VERSION: Final = 1
"""Of all this, and of what requests and outcomes are made of: processes of other versions leave one another alone."""

_SLOTS: Final = 64
"""More processes than that share slots, and get in one another's way there: they make more commits themselves."""

_START: Final = 4096
_HALF_BYTES: Final = SLOT_BYTES_MAX
_HEAD: Final = struct.Struct("<16s16sdII")
"""Who may read it; which requests; until when they wait (monotonic clock); bytes of the body, and its checksum."""
_READ_BYTES: Final = 8192
"""Read at once: most bodies are shorter."""

_WAITING: Final = b"\1"
_NOT: Final = b"\0"

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[bytes | None]).decode


class Posted(NamedTuple):
    """Requests that wait in a slot."""

    slot: int
    name: bytes
    requests: Sequence[bytes | None]


class Slots:
    """The slots of one file, as one process sees them. Used by one thread at a time.

    A file that can't be read or written is an empty one.

    Args:
        file: Its descriptor.
        number: A number of this process's; its slot follows from it.
        tag: 16 bytes: only who has the same may carry requests out for one another.
    """

    def __init__(self, file: Callable[[], int], number: int, tag: bytes) -> None:
        self._file = file
        self._mine = number % _SLOTS
        self._tag = tag
        self._name = b""

    # --- for those who wait

    def post(self, requests: Sequence[bytes], seconds: float) -> bool:
        """Let `requests` wait in this process's slot, for `seconds` at most; `False` if they are too long."""
        self._name = os.urandom(16)
        if not self._write(_requests_of(self._mine), self._name, requests, time.monotonic() + seconds):
            return False
        return self._put(_WAITING, self._mine)

    def is_waiting(self) -> bool:
        """Whether nobody has taken care of them so far."""
        return self._get(1, self._mine) == _WAITING

    def outcomes(self) -> Sequence[bytes | None]:
        """What became of the requests, one by one (`None`: not made); empty: nobody says. They wait no longer."""
        self._put(_NOT, self._mine)
        found = self._read(_outcomes_of(self._mine))
        return found[2] if found is not None and found[0] == self._name else ()

    # --- for whoever has the turn

    def waiting(self, bytes_max: int) -> list[Posted]:
        """What waits in other slots, of `bytes_max` at most, a request counted with one more row.

        Clears the slots of processes that have waited long enough.
        """
        flags = self._get(_SLOTS, 0)
        found: list[Posted] = []
        if _WAITING not in flags:
            return found
        now = time.monotonic()
        for slot, flag in enumerate(flags):
            if flag == _WAITING[0] and slot != self._mine and (read := self._read(_requests_of(slot))) is not None:
                name, until, requests, size = read
                size += len(requests) * LOOP_ROW_BYTES
                if now >= until:
                    self._put(_NOT, slot)
                elif size <= bytes_max:
                    bytes_max -= size
                    found.append(Posted(slot, name, requests))
        return found

    def tell(self, posted: Posted, outcomes: Sequence[bytes | None]) -> None:
        """Say what became of requests; `None`: they weren't made, and their own process has to."""
        self._write(_outcomes_of(posted.slot), posted.name, outcomes, 0.0)
        self._put(_NOT, posted.slot)

    # --- the file

    def _write(self, place: int, name: bytes, texts: Sequence[bytes | None], until: float) -> bool:
        body = _pack(texts)
        if _HEAD.size + len(body) > _HALF_BYTES:
            return False
        return self._put(_HEAD.pack(self._tag, name, until, len(body), crc32(body)) + body, place)

    def _read(self, place: int) -> tuple[bytes, float, Sequence[bytes | None], int] | None:
        """Name, end of waiting, texts, and bytes; `None` if there is nothing that can be understood here."""
        data = self._get(_READ_BYTES, place)
        if len(data) < _HEAD.size:
            return None
        tag, name, until, size, checksum = _HEAD.unpack_from(data)
        if tag != self._tag or size > _HALF_BYTES:
            return None
        body = data[_HEAD.size : _HEAD.size + size]
        if len(body) < size:
            body = self._get(size, place + _HEAD.size)
        return (name, until, _unpack(body), size) if crc32(body) == checksum else None

    def _get(self, size: int, place: int) -> bytes:
        try:
            return os.pread(self._file(), size, place)
        except OSError:
            return b""

    def _put(self, data: bytes, place: int) -> bool:
        try:
            return os.pwrite(self._file(), data, place) == len(data)
        except OSError:
            return False


def _requests_of(slot: int) -> int:
    return _START + 2 * slot * _HALF_BYTES


def _outcomes_of(slot: int) -> int:
    return _requests_of(slot) + _HALF_BYTES
