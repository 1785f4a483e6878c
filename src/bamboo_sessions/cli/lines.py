"""The lines of an input: a file, gzip or not, or stdin. Whatever is wrong with one is a finding, not a crash."""

from __future__ import annotations

import asyncio
import gzip
import io
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final, NamedTuple, TypeVar, cast

from bamboo_sessions.domain.limits import COMMIT_BYTES_MAX

T = TypeVar("T")

STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{")
"""How it begins: with its mark, or with a brace."""
_BOM: Final = b"\xef\xbb\xbf"
_BATCH_LINES_MAX: Final = 256
_BATCH_BYTES_MAX: Final = 1024 * 1024
_LINE_BYTES_MAX: Final = COMMIT_BYTES_MAX
"""A conversation is one commit, so a longer line could not be written anyway."""


class InputLine(NamedTuple):
    """A line with its number, from 1; `flaw` says what is wrong with it, or with the file from here on."""

    number: int
    data: bytes
    flaw: str | None = None


class Input:
    """One input, read on a thread of its own: stdin may keep its reader waiting for ever.

    Args:
        path: A file, or `-` for stdin.
    """

    def __init__(self, path: str) -> None:
        self.name = "stdin" if path == STDIN else path
        self._path = path
        self._number = 0
        self._ended = False
        self._file: BinaryIO | None = None

    async def lines(self) -> AsyncIterator[InputLine]:
        """All lines that aren't blank. Raises `OSError` if the file can't be opened."""
        stream = await _in_thread(self._open)
        try:
            while not self._ended:
                for line in await _in_thread(lambda: self._batch(stream)):
                    yield line
        finally:
            if self._path != STDIN:
                stream.close()
                cast("BinaryIO", self._file).close()

    @property
    def size(self) -> int | None:
        """Bytes of the file as it is on disk; `None` if nobody can tell."""
        path = Path(self._path)
        return path.stat().st_size if self._path != STDIN and path.is_file() else None

    @property
    def position(self) -> int:
        """Bytes read so far, out of `size`."""
        return self._file.tell() if self._file is not None and self.size is not None and not self._file.closed else 0

    def _open(self) -> BinaryIO:
        raw = sys.stdin.buffer if self._path == STDIN else Path(self._path).open("rb")  # noqa: SIM115 - `lines` closes it
        file = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
        self._file = file
        if file.peek(2)[:2] == _GZIP:
            return cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=file)))
        return file

    def _batch(self, stream: BinaryIO) -> list[InputLine]:
        lines: list[InputLine] = []
        size = 0
        while not self._ended and len(lines) < _BATCH_LINES_MAX and size < _BATCH_BYTES_MAX:
            line = self._line(stream)
            if line is not None:
                lines.append(line)
                size += len(line.data)
        return lines

    def _line(self, stream: BinaryIO) -> InputLine | None:
        """The next line; `None` for a blank one and at the end."""
        self._number += 1
        try:
            data = stream.readline(_LINE_BYTES_MAX)
        except (OSError, EOFError, zlib.error) as exc:
            return self._broken(f"the file can't be read on: {_reason(exc)}")
        if not data:
            self._ended = True
            return None
        if self._number == 1:
            data = data.removeprefix(_BOM)
            if flaw := _flaw_of_first(data, self.name):
                return self._broken(flaw)
        if b"\0" in data:
            return self._broken("this is binary, not JSON lines; nothing after it was read")
        if len(data) == _LINE_BYTES_MAX and not data.endswith(b"\n"):
            return self._broken(f"the line is longer than {_LINE_BYTES_MAX:,} bytes; nothing after it was read")
        data = data.strip()
        return InputLine(self._number, data) if data else None

    def _broken(self, flaw: str) -> InputLine:
        self._ended = True
        return InputLine(self._number, b"", flaw)


def _flaw_of_first(line: bytes, name: str) -> str | None:
    """What the first line shows to be wrong with the whole input: another encoding, or no lines at all."""
    if line.startswith(_UTF_16):
        return f"this is UTF-16 text; make it UTF-8 first: iconv -f UTF-16 -t UTF-8 {name}"
    text = line.strip()
    if text.startswith(b"["):
        return f"this is one JSON document, not a conversation on each line; rewrite it first: jq -c '.[]' {name}"
    if text == b"{" or (text.startswith(b"{") and text.endswith((b"{", b"[", b","))):
        return f"this is a JSON document over several lines, not one on each; rewrite it first: jq -c . {name}"
    return None


def _reason(exc: Exception) -> str:
    if isinstance(exc, EOFError):
        return "its gzip data ends too early"
    if isinstance(exc, gzip.BadGzipFile | zlib.error):
        return f"its gzip data is broken ({exc})"
    return getattr(exc, "strerror", None) or str(exc)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` on a daemon thread: Ctrl-C doesn't wait for it, as it would for the loop's own threads."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001 - it is raised where it is awaited
            error = exc
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    Thread(target=run, daemon=True, name="bamboo-sessions input").start()
    return await done
