"""A disk under SQLite that records everything, and fails on purpose.

`SimulatedDisk(folder)` is SQLite's file system while it is active (`with SimulatedDisk(folder) as disk:`), for each
connection of this process that is opened meanwhile. Files of `folder` are watched, all others are passed on. The files
are real ones, so that locks and shared memory work as ever, for any number of threads and connections.

- `disk.operations` is everything that changed the files, in one order for all threads: what `power_cut.Replay` takes.
  That begins with `disk.before`, the files as they were. Syncs are recorded and not passed on: only the model cuts the
  power here.
- `disk.fail(…)` makes the k-th operation of some kinds fail: a full disk, an input or output error, a short read, a
  lock that somebody else holds, a file that can't be opened.

Not seen, and so never failing: the shared memory of the log (`-shm`), which apsw doesn't pass through Python. Memory
mapping is off under a simulated disk. An error that SQLite itself ignores (deleting the log at closing, say) is
raised by apsw all the same. A short read of the database file itself is no fault that a system makes: SQLite takes what
is missing for zeros, as behind the end of a file, and may find less than there is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import apsw

from bamboo_sessions.testing.power_cut import Operation

Kind = Literal["open", "read", "write", "sync", "truncate", "delete", "lock", "size"]
KINDS: Final[frozenset[Kind]] = frozenset({"open", "read", "write", "sync", "truncate", "delete", "lock", "size"})
"""The kinds of operations that can be made to fail."""

What = Literal["full", "io", "short", "busy", "cantopen"]

_IO: Final[dict[Kind, int]] = {
    "open": apsw.SQLITE_CANTOPEN,
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "lock": apsw.SQLITE_IOERR_LOCK,
    "size": apsw.SQLITE_IOERR_FSTAT,
}
_NAME: Final = "bamboo-sessions-simulated-disk"
_SYNCS_FOLDER: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class DiskFault:
    """A fault that is waiting for its operation. `seen` counts the operations of its kinds, `hits` the failures."""

    def __init__(self, what: What, kinds: Collection[Kind], *, file: str, nth: int, times: int | None) -> None:
        self.what = what
        self.file = file
        self.kinds = frozenset(kinds)
        self.seen = 0
        self.hits = 0
        self.struck: str | None = None
        self._nth = nth
        self._times = times
        self._is_over = False

    def stop(self) -> None:
        """Strike no more."""
        self._is_over = True

    def takes(self, kind: Kind, name: str) -> bool:
        """Whether it strikes this operation; counts it."""
        if self._is_over or kind not in self.kinds or not name.endswith(self.file):
            return False
        self.seen += 1
        if self.seen < self._nth or (self._times is not None and self.hits >= self._times):
            return False
        self.hits += 1
        self.struck = self.struck or f"{kind} {name}"
        return True

    def error(self, kind: Kind) -> Exception:
        """What SQLite is told."""
        match self.what:
            case "full":
                return apsw.FullError("The simulated disk is full.")
            case "busy":
                return apsw.BusyError("The simulated disk's file is locked.")
            case "cantopen":
                return apsw.CantOpenError("The simulated disk can't open the file.")
            case _:
                error = apsw.exception_for(_IO[kind])
                error.args = (f"The simulated disk can't {kind}.",)
                return error

    def __enter__(self) -> Self:
        """Be switched on for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be switched off."""
        self.stop()


class SimulatedDisk:
    """Records what SQLite does to the files of `folder`, and fails on request. One at a time in a process."""

    def __init__(self, folder: Path) -> None:
        self.operations: list[Operation] = []
        self.before = _contents(folder)
        self._folder = str(folder.resolve())
        self._lock = threading.RLock()
        self._numbers = {name: -number for number, name in enumerate(self.before, 1)}
        self._count = 0
        self._faults: list[DiskFault] = []
        self._system: _FileSystem | None = None

    def __enter__(self) -> Self:
        """Become SQLite's file system."""
        self._system = _FileSystem(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give way to the system's; connections have to be closed by then."""
        if self._system is not None:
            self._system.unregister()

    def mark(self) -> int:
        """How many operations there were so far."""
        with self._lock:
            return len(self.operations)

    def fail(self, what: What, *kinds: Kind, file: str = "", nth: int = 1, times: int | None = 1) -> DiskFault:
        """Make the `nth` operation from now on of these kinds (none named: of all) fail, and the `times` - 1 after it.

        Args:
            what: `"full"`, `"io"`, `"short"` (reads), `"busy"` (locks, opening), `"cantopen"`.
            kinds: See `KINDS`.
            file: How the file's name ends: `"-wal"` is the log.
            nth: 1 is the next one.
            times: How many fail; `None`: all, until `stop()`.
        """
        fault = DiskFault(what, kinds or KINDS, file=file, nth=nth, times=times)
        with self._lock:
            self._faults = [fault]
        return fault

    # --- called by the file system

    def watches(self, path: str | None) -> bool:
        """Whether this file is one of ours."""
        return path is not None and str(Path(path).parent) == self._folder

    def due(self, kind: Kind, name: str) -> DiskFault | None:
        """The fault that strikes this operation."""
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(kind, name)), None)

    def strike(self, kind: Kind, name: str) -> None:
        """Raise if this operation is to fail."""
        if (fault := self.due(kind, name)) is not None:
            raise fault.error(kind)

    def open(self, name: str, work: Callable[[], None]) -> int:
        """Open a file by `work`; its number, a new one if it is new."""
        with self._lock:
            work()
            if name not in self._numbers:
                self._count += 1
                self._numbers[name] = self._count
                self.operations.append(Operation("create", self._count, name))
            return self._numbers[name]

    def delete(self, name: str, work: Callable[[], None], *, folder: bool) -> None:
        """Delete a file by `work`, and sync the folder if `folder`."""
        with self._lock:
            work()
            self.operations.append(Operation("delete", self._numbers.pop(name, 0), name, folder=folder))

    def do(self, operation: Operation, work: Callable[[], None]) -> None:
        """Do an operation by `work`, and note it: one at a time, so that the order is the real one."""
        with self._lock:
            work()
            self.operations.append(operation)


def _contents(folder: Path) -> dict[str, bytes]:
    """What a power cut would leave of the folder now: all of it, but for the shared memory of logs."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if not file.name.endswith("-shm")}


class _FileSystem(apsw.VFS):
    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__(_NAME, "unix", makedefault=True)
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not self._disk.watches(path):
            return apsw.VFSFile("unix", name, flags)
        assert path is not None
        if (fault := self._disk.due("open", Path(path).name)) is not None:
            raise apsw.BusyError if fault.what == "busy" else apsw.CantOpenError
        return _File(self._disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if not self._disk.watches(filename):
            super().xDelete(filename, syncdir)
            return
        name = Path(filename).name
        self._disk.strike("delete", name)
        self._disk.delete(name, lambda: super(_FileSystem, self).xDelete(filename, syncdir), folder=syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: SimulatedDisk, path: str, name: Any, flags: list[int]) -> None:  # noqa: ANN401 - str or apsw.URIFilename
        self._disk = disk
        self._name = Path(path).name
        self._syncs_folder = bool(flags[0] & _SYNCS_FOLDER and flags[0] & apsw.SQLITE_OPEN_CREATE)
        self._number = disk.open(self._name, lambda: super(_File, self).__init__("unix", name, flags))

    def xRead(self, amount: int, offset: int) -> bytes:
        if (fault := self._disk.due("read", self._name)) is not None:
            if fault.what != "short":
                raise fault.error("read")
            return super().xRead(amount, offset)[: amount // 2]
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if (fault := self._disk.due("write", self._name)) is not None:
            self._write(data[: len(data) // 2], offset)  # what failed may have written a part
            raise fault.error("write")
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        operation = Operation("write", self._number, self._name, offset, bytes(data))
        self._disk.do(operation, lambda: super(_File, self).xWrite(data, offset))

    def xTruncate(self, newsize: int) -> None:
        self._disk.strike("truncate", self._name)
        operation = Operation("truncate", self._number, self._name, newsize)
        self._disk.do(operation, lambda: super(_File, self).xTruncate(newsize))

    def xSync(self, flags: int) -> None:
        if (fault := self._disk.due("sync", self._name)) is not None:
            self._disk.do(Operation("failed_sync", self._number, self._name), lambda: None)
            raise fault.error("sync")
        folder, self._syncs_folder = self._syncs_folder, False
        self._disk.do(Operation("sync", self._number, self._name, folder=folder), lambda: None)

    def xLock(self, level: int) -> None:
        self._disk.strike("lock", self._name)
        super().xLock(level)

    def xFileSize(self) -> int:
        self._disk.strike("size", self._name)
        return super().xFileSize()
