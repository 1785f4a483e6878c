"""What a writer says: each operation when it begins, and again when it was acknowledged. One JSON line each.

A line is shorter than a pipe's buffer and written by one call, so lines of several processes never mix, and a killed
writer leaves whole lines only.
"""

from __future__ import annotations

import os
import sys

import msgspec

from bamboo_sessions.testing.history_checker import Acknowledgement


class Create(msgspec.Struct, frozen=True, tag=True):
    """A new session with all of these messages at once, as an import makes it."""

    session: str
    ids: tuple[str, ...]


class Append(msgspec.Struct, frozen=True, tag=True):
    """A turn added without loading."""

    session: str
    ids: tuple[str, ...]


class Save(msgspec.Struct, frozen=True, tag=True):
    """A turn added to a working copy, which may be old, and saved."""

    session: str
    ids: tuple[str, ...]


class Edit(msgspec.Struct, frozen=True, tag=True):
    """A message with a new text."""

    session: str
    id: str
    text: str


class RemoveLast(msgspec.Struct, frozen=True, tag=True):
    """The last message taken out."""

    session: str


class Rename(msgspec.Struct, frozen=True, tag=True):
    """A title."""

    session: str
    title: str


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question to a person."""

    session: str
    question: str


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Its answer, which is a message as well."""

    session: str
    question: str
    text: str


class Delete(msgspec.Struct, frozen=True, tag=True):
    """The end of a session."""

    session: str


class Fork(msgspec.Struct, frozen=True, tag=True):
    """A new session that begins with the history of another."""

    session: str
    source: str


Operation = Create | Append | Save | Edit | RemoveLast | Rename | Ask | Answer | Delete | Fork


class Begun(msgspec.Struct, frozen=True, tag=True):
    """A writer is about to ask for this; `number` is unique among all operations of a run."""

    number: str
    operation: Operation


class Done(msgspec.Struct, frozen=True, tag=True):
    """The operation of this number was acknowledged."""

    number: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A writer has opened the store."""

    life: int


class Dead(msgspec.Struct, frozen=True, tag=True):
    """A writer was killed and is gone; `status` is what the system says of its end."""

    life: int
    status: int


class Acknowledged(msgspec.Struct, frozen=True, tag=True):
    """Something that the history checker knows was acknowledged."""

    what: Acknowledgement


class Sample(msgspec.Struct, frozen=True, tag=True):
    """What a process uses at a moment.

    Memory in KiB without mapped files, blocks of Python's allocator, open files, threads, counters of the repository.
    """

    life: int
    memory_kib: int
    blocks: int
    files: int
    threads: int
    cache_bytes: int
    locks: int


Note = Begun | Done | Ready | Dead | Acknowledged | Sample

_decoder = msgspec.json.Decoder[Note](Note)


def say(note: Note) -> None:
    """Tell the test, in one write."""
    os.write(sys.stdout.fileno(), msgspec.json.encode(note) + b"\n")


def from_line(line: bytes) -> Note:
    """The note in a line."""
    note: Note = _decoder.decode(line)
    return note
