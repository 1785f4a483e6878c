"""Makes a file ours and brings its schema up to date: numbered steps, forward only, in one transaction.

Any number of processes may do this to one file at the same moment (L85): whoever gets the write lock does it, the
others wait and find it done. A file of a newer release, of another program, or of no SQLite at all is refused
and left as it is (L96).
"""

from __future__ import annotations

import threading
import time
from typing import Final

import apsw

from bamboo_sessions.domain.errors import InputError, SchemaVersionError, StorageUnavailableError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.storage.sqlite.transactions.connection import close, connect, reading, value_of
from bamboo_sessions.storage.sqlite.transactions.open_file import make_file
from bamboo_sessions.storage.sqlite.transactions.tuning import APPLICATION_ID

STEPS: Final = ("schema.sql",)
"""The files of the steps, in order; the schema version is how many were applied."""

_PAUSE_SECONDS: Final = 0.01


def prepare(path: str, *, busy_timeout_ms: int) -> None:
    """Make the file at `path` ready; makes it if there is none.

    Raises:
        SchemaVersionError: A newer release wrote it.
        InputError: It is another program's database.
        StorageUnavailableError: Another process held it for longer than `busy_timeout_ms` milliseconds.
        apsw.Error: SQLite can't use it.
    """
    deadline = time.monotonic() + busy_timeout_ms / 1000
    pause = threading.Event()
    while True:
        try:
            return _prepare_once(path, busy_timeout_ms)
        except (apsw.BusyError, apsw.LockedError) as exc:  # the change to write-ahead logging never waits by itself
            if time.monotonic() >= deadline:
                raise StorageUnavailableError(
                    f"{path} is locked by another process: its schema can't be checked.",
                    hint="Try again; if it lasts, look for a process that keeps a transaction open.",
                ) from exc
            pause.wait(_PAUSE_SECONDS)


def _prepare_once(path: str, busy_timeout_ms: int) -> None:
    make_file(path)
    connection = connect(path, busy_timeout_ms=busy_timeout_ms)
    try:
        found = _version(connection, path)
        if value_of(connection, "PRAGMA journal_mode") != "wal":
            value_of(connection, "PRAGMA journal_mode = wal")
        if found < len(STEPS):
            _migrate(connection, path)
    finally:
        close(connection)


def _version(connection: apsw.Connection, path: str) -> int:
    """The schema version of the file, 0 for an empty one; raises if it isn't ours or too new."""
    with reading(connection):  # or another process makes the schema in between, and it looks like another program's
        version: int = value_of(connection, "PRAGMA user_version")
        application: int = value_of(connection, "PRAGMA application_id")
        is_empty = not value_of(connection, "SELECT count(*) FROM sqlite_schema")
    if application != APPLICATION_ID and not is_empty:
        raise InputError(
            f"{path} is a database of another program.", hint="Choose another path; nothing was changed in it."
        )
    if version > len(STEPS):
        raise SchemaVersionError(found=version, supported=len(STEPS), location=path)
    return version


def _migrate(connection: apsw.Connection, path: str) -> None:
    from importlib.resources import files  # here: it takes long to import, and most files need no step

    connection.execute("PRAGMA synchronous = FULL").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_version(connection, path), len(STEPS)):  # asked again: somebody may have been faster
            sql = files("bamboo_sessions.storage.sqlite.schema").joinpath(STEPS[number]).read_text(encoding="utf-8")
            connection.execute(sql).fetchall()
            if number == 0:
                connection.execute(
                    "INSERT INTO meta (name, value) VALUES ('epoch', ?), ('pruned_up_to', 0), ('pruned_mark', ''), "
                    "('ids_through', 0), ('record_version', 0), ('lease_change', 0)",
                    (new_id(),),
                )
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}").fetchall()
            connection.execute(f"PRAGMA user_version = {number + 1}").fetchall()
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
