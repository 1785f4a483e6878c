"""Copies a store into a file of its own, while everybody works on it, and makes sure of the copy."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import msgspec

from bamboo_sessions.domain.errors import InputError, StorageError
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.storage.port import Progress
from bamboo_sessions.storage.sqlite.transactions.engine import Engine
from bamboo_sessions.storage.sqlite.upkeep.copying import Copying, copy, remove_half
from bamboo_sessions.storage.sqlite.upkeep.run import find_problems


async def back_up(engine: Engine, target: Path, on_progress: Progress | None) -> CheckReport:
    """Copy the store as it is at one moment, check the copy, and only then give it its name.

    The copy is on disk when this returns. One that was begun and not finished is removed, or, after a crash, is called
    `….partial` and replaced by the next.

    Raises:
        InputError: There is something of that name already.
        StorageError: The copy can't be written.
    """
    half = target.with_name(target.name + ".partial")
    copying = Copying(on_progress)
    try:
        await engine.read_aside(lambda connection: _begin(connection, half, target, copying))
        report = await _checked(half)
        await engine.read_aside(lambda _: _publish(half, target))
    finally:
        copying.is_over = True
        remove_half(half)
    return msgspec.structs.replace(report, backup=str(target))


def _begin(connection: apsw.Connection, half: Path, target: Path, copying: Copying) -> None:
    _check_free(target)
    remove_half(half)
    copy(connection, half, copying)
    if copying.is_over:  # whoever gave up removed the half copy, perhaps before it was made
        remove_half(half)


def _publish(half: Path, target: Path) -> None:
    """Give the copy its name, for good."""
    try:
        _sync(half)
        _check_free(target)
        half.rename(target)
        _sync(target.parent)
    except OSError as exc:
        raise StorageError(f"{target} can't be written: {exc}", hint="Check the folder; nothing was kept.") from exc


async def _checked(copied: Path) -> CheckReport:
    """Open the copy as a store of its own, and look for what can't be right."""
    engine = Engine(str(copied), "full", 0)
    await engine.open()
    try:
        return await find_problems(engine, None)
    finally:
        await engine.aclose()


def _check_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} exists already.", hint="Choose another name; a backup overwrites nothing.")
    if not target.parent.is_dir():
        raise InputError(f"The folder {target.parent} isn't there.", hint="Make it first; nothing was copied.")


def _sync(path: Path) -> None:
    """Let a file's content, or a folder's names, survive a power cut."""
    if os.name == "nt" and path.is_dir():
        return  # Windows syncs no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
