"""Readers of another process never block writers (L91)."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from bamboo_sessions import Message, Session, SessionRepository, StoreAdmin
from tests.multiprocess.processes import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]


@pytest.mark.parametrize("role", ["hold_iteration", "hold_read"])
async def test_L91_a_reader_that_stands_still_blocks_no_writer(tmp_path: Path, role: str) -> None:
    """While another process holds a listing or a read transaction open, appends, deletions and creations go through."""
    path = tmp_path / "sessions.db"
    async with SessionRepository.open(path) as sessions:
        for number in range(40):
            await sessions.create(Session(f"chat-{number}"))
        async with Worker(role, path) as reader:
            await reader.ready()
            with anyio.fail_after(60):
                for number in range(200):
                    await sessions.append(f"chat-{number % 40}", Message.user("x" * 5_000))
                await sessions.delete("chat-39")
                await sessions.create(Session("new"))
            reader.tell()
            assert await reader.line() in {"40", "same"}
        assert texts_of(await sessions.get("chat-0")) == ["x" * 5_000] * 5
        assert (await StoreAdmin(sessions.storage).check()).ok


def texts_of(session: Session) -> list[str]:
    """The texts of a session."""
    return [message.text for message in session.messages]
