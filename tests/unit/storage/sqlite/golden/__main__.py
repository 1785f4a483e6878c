"""Makes the file of the newest format, unless there is one."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from pathlib import Path

from bamboo_sessions import SessionRepository
from bamboo_sessions.storage.sqlite.transactions.migrations import STEPS
from tests.unit.storage.sqlite.golden import fill


async def _make(kept: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sessions.db")
        async with SessionRepository.open(path) as sessions:
            await fill(sessions)
        kept.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def main() -> None:
    """Make it."""
    kept = Path(__file__).with_name(f"{len(STEPS)}.db.gz")
    if kept.exists():
        print(f"{kept} is there already; a released format never changes.")  # noqa: T201 - a program
        return
    asyncio.run(_make(kept))


if __name__ == "__main__":
    main()
