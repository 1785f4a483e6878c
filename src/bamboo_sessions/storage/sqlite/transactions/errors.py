"""Turns apsw's errors into this package's, with what to do about them. A driver error never leaks (G8)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)

_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RETRYABLE: Final = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.InterruptError,
    apsw.SchemaChangeError,
)


NONSENSE: Final = (TypeError, ValueError, OverflowError, AssertionError, IndexError)
"""What reading a row raises if it is gone, or has what it can't have: a null, a text, a time beyond all times."""


def translated(exc: apsw.Error, location: str, *, system_errno: int = 0, outcome_unknown: bool = False) -> StorageError:
    """Our error for `exc`. `system_errno` is the system's own code, where SQLite kept it."""
    text = f"{location}: {exc}"
    if isinstance(exc, _RETRYABLE):
        return StorageUnavailableError(
            f"{location} is locked by another process: {exc}",
            hint="Try again; if it lasts, look for a process that keeps a transaction open.",
            outcome_unknown=outcome_unknown,
        )
    if isinstance(exc, apsw.FullError) or system_errno in _FULL_ERRNOS:
        return StorageFullError(
            f"No space is left for {text}", hint="Free space on the disk, or raise the quota; nothing was written."
        )
    if isinstance(exc, apsw.NotADBError):
        return StorageCorruptError(
            f"{location} isn't a SQLite database.", hint="Check the path; restore the file from a backup."
        )
    if isinstance(exc, apsw.CorruptError):
        return StorageCorruptError(
            text, hint="Run `bamboo-sessions check`; restore the file from a backup if it can't repair it."
        )
    return StorageError(text, hint=_hint(exc), outcome_unknown=outcome_unknown)


def _hint(exc: apsw.Error) -> str | None:
    match exc:
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return "Give this user the right to write the file and its folder."
        case apsw.CantOpenError():
            return "Check that the path names a file in an existing folder that this user may read and write."
        case apsw.IOError():
            return "Look at the disk and the system's log; try again once it works."
        case apsw.TooBigError():
            return "SQLite takes values of up to 1 GB; split this one."
        case _:
            return None


@contextmanager
def translating(location: str) -> Iterator[None]:
    """Raise our errors in place of apsw's."""
    try:
        with understanding(location):
            yield
    except apsw.Error as exc:
        raise translated(exc, location) from exc


@contextmanager
def understanding(location: str) -> Iterator[None]:
    """Raise `StorageCorruptError` for rows that make no sense: bytes have changed on the disk (G8)."""
    try:
        yield
    except BambooSessionsError:
        raise
    except NONSENSE as exc:
        raise not_understood(location, exc) from exc


def not_understood(location: str, exc: Exception) -> StorageCorruptError:
    """Our error for a row that makes no sense."""
    message = f"{location}: a row can't be understood: {exc!r}"
    return StorageCorruptError(message, hint="Run `bamboo-sessions check`; restore a backup.")
