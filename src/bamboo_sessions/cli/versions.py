"""Versions: of what is installed, and of a store's schema, read without opening the store (which would migrate it)."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from bamboo_sessions.cli.output import json_option, print_facts, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.domain.limits import BUSY_TIMEOUT_MS
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.connection import connect, library_version, value_of
from bamboo_sessions.storage.sqlite.transactions.errors import translating


def schema_version(store: Store) -> int | None:
    """The version; `None` if there is no store yet, or it is of a kind that has no schema."""
    storage = store.storage()
    if not isinstance(storage, SqliteStorage) or not storage.path.is_file() or not storage.path.stat().st_size:
        return None
    with translating(str(storage.path)):
        connection = connect(str(storage.path), busy_timeout_ms=BUSY_TIMEOUT_MS)
        try:
            version: int = value_of(connection, "PRAGMA user_version")
        finally:
            connection.close()
    return version


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the versions of what is installed.

    Of bamboo-sessions, Python and SQLite: for a report of a fault.

    \b
    Examples:
      bamboo-sessions version
    """
    versions = {
        "bamboo_sessions": metadata.version("bamboo-sessions"),
        "python": platform.python_version(),
        "sqlite": library_version(),
        "platform": platform.platform(),
    }
    if as_json:
        print_json(versions)
    else:
        print_facts(versions.items())
