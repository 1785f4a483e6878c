"""A writer that is killed in the middle of its work (G1, G3)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bamboo_sessions import SessionRepository
from tests.multiprocess.processes import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

KILLS = 20


@pytest.mark.parametrize("open_here", [False, True], ids=["alone", "with another process on the file"])
async def test_what_was_acknowledged_before_a_kill_is_there_once(tmp_path: Path, open_here: bool) -> None:
    """After each SIGKILL in a stream of saves the file opens, and holds each acknowledged turn once and whole."""
    path = tmp_path / "sessions.db"
    rng = random.Random(2026)
    acknowledged: list[str] = []
    extra: set[str] = set()
    here = await SessionRepository.open(path) if open_here else None
    for kill in range(KILLS // 2):
        async with Worker("save_for_ever", path, "chat", kill) as writer:
            acknowledged.extend([await writer.line() for _ in range(rng.randint(1, 40))])
            writer.kill()
            acknowledged.extend([line async for line in writer.lines()])
        sessions = here or await SessionRepository.open(path)
        session = await sessions.get("chat")
        assert (await sessions.check()).ok
        if here is None:
            await sessions.aclose()
        texts = [message.text for message in session.messages]
        names = [text.removesuffix(" question") for text in texts[::2]]
        assert [f"{name} answer" for name in names] == texts[1::2]
        assert len(set(names)) == len(names)
        extra.update(set(names) - set(acknowledged))  # committed, and killed before it could say so
        assert len(extra) <= kill + 1
        assert [name for name in names if name not in extra] == acknowledged
    if here is not None:
        await here.aclose()
    assert len(acknowledged) > KILLS
