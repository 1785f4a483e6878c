"""From a URL or a path to a storage. An engine is imported, and its driver with it, when a store of it is opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.storage.port import SessionStorage

Durability = Literal["full", "relaxed"]

_HINT = "Use a path such as agents.db, sqlite:///file.db (relative), sqlite:////absolute/file.db, or memory://."
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least: C: is a drive


def storage_for(
    url: str | Path | SessionStorage, *, durability: Durability = "full", clock: Clock = SYSTEM_CLOCK
) -> SessionStorage:
    """The storage that `url` names, not opened yet.

    Args:
        url: `agents.db` or another path of a SQLite file, `sqlite:///relative.db`, `sqlite:////absolute.db`,
            `memory://`, or a storage, which is returned.
        durability: `"full"` survives a power cut; `"relaxed"` may lose the last moments in one, never in a crash of
            the process, and never corrupts.
        clock: The storage's own time; a storage that is handed in has one.

    Raises:
        InputError: The URL can't be understood.
    """
    if isinstance(url, SessionStorage):
        return url
    if durability not in {"full", "relaxed"}:
        message = f"durability must be 'full' or 'relaxed', not {durability!r}."
        raise InputError(message, hint="'full' is the default.")
    if isinstance(url, Path):
        return _sqlite(url, durability, clock)
    return _from_text(url, durability, clock)


def _from_text(url: object, durability: Durability, clock: Clock) -> SessionStorage:
    if not isinstance(url, str):
        message = f"A store is named by a path, a URL or a storage object, not by {type(url).__name__}."
        raise InputError(message, hint=_HINT)
    if url.strip() and not url.startswith(":") and not _SCHEME.match(url):
        return _sqlite(_plain_path(url), durability, clock)
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest.strip("/"):
        from bamboo_sessions.storage.memory import MemoryStorage

        return MemoryStorage(clock=clock)
    if scheme == "sqlite" and ("?" in rest or "#" in rest):
        message = f"{url!r} has a query or a fragment, which mean nothing here."
        raise InputError(message, hint="If they belong to the file's name, write %3F and %23.")
    if scheme == "sqlite" and separator and rest.startswith("/") and rest.strip("/"):
        return _sqlite(Path(unquote(rest[1:])), durability, clock)
    message = f"{url!r} names no store that this release knows."
    raise InputError(message, hint=_HINT)


def _plain_path(text: str) -> Path:
    if "?" in text:
        message = f"{text!r} is a path with a question mark in it."
        raise InputError(message, hint="Options need a URL, such as sqlite:///agents.db; if it is a file, pass a Path.")
    return Path(text)


def _sqlite(path: Path, durability: Durability, clock: Clock) -> SessionStorage:
    from bamboo_sessions.storage.sqlite import SqliteStorage

    return SqliteStorage(path, durability=durability, clock=clock)
