"""Writers that are killed at random moments, by the hundred, and replaced (G1, G2, G3, G5, G6, G9)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bamboo_sessions import Session, SessionDeletedError, SessionRepository
from tests.kills.lives import Lives
from tests.kills.notes import Append, Begun, Done, Note, Ready
from tests.kills.oracle import DELETED, State, Stored, judge
from tests.kills.writer import SHARED

WRITERS = 3
SEED = 2026


def _round(lives: Lives) -> None:
    """Let them write for a while, then kill one of them, or all at once, and replace them."""
    while len(lives.alive) < WRITERS:
        lives.spawn()
    victims = [*lives.alive] if lives.rng.random() < 0.2 else [lives.rng.choice(lives.alive)]
    notes = lives.rng.randint(0, 40)
    for note in lives.said():
        notes -= 1
        is_opening = isinstance(note, Ready) and note.life in victims
        if notes <= 0 or (is_opening and lives.rng.random() < 0.2):
            break
    lives.kill(*victims)


async def _prepare(path: Path) -> None:
    async with SessionRepository.open(path) as sessions:
        for name in SHARED:
            await sessions.create(Session(name))


async def _read_back(path: Path, notes: list[Note]) -> dict[str, State]:
    """All sessions as a fresh process of another repository finds them; checks the file as well."""
    async with SessionRepository.open(path) as sessions:
        problems = [problem for problem in (await sessions.check()).problems if problem.kind != "orphan_call"]
        assert not problems
        stored: dict[str, State] = {}
        async for head in sessions.iter_sessions():
            stored[head.id] = _stored(await sessions.get(head.id))
        for note in notes:
            if isinstance(note, Begun) and note.operation.session not in stored:
                try:
                    await sessions.load_or_create(note.operation.session)
                except SessionDeletedError:
                    stored[note.operation.session] = DELETED
        return stored


def _stored(session: Session) -> Stored:
    assert session.message_count == len(session.messages)
    return Stored(
        tuple((message.id, message.text) for message in session.messages),
        session.title,
        tuple((question.id, question.answer) for question in session.questions),
    )


def _run(path: Path, kills: int, seed: int) -> None:
    asyncio.run(_prepare(path))
    with Lives("tests.kills.writer", path, seed) as lives:
        while lives.kills < kills:
            _round(lives)
    stored = asyncio.run(_read_back(path, lives.notes))
    assert judge(lives.notes, stored) == []
    done = sum(isinstance(note, Done) for note in lives.notes)
    begun = sum(isinstance(note, Begun) for note in lives.notes)
    print(f"seed {seed}: {lives.kills} kills, {begun} operations begun, {done} acknowledged, {len(stored)} sessions")  # noqa: T201
    assert done > kills


@pytest.mark.multiprocess
def test_whatever_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    """Writers that do everything are killed while they open the file and in mid-commit; each effect is there once."""
    _run(tmp_path / "sessions.db", kills=40, seed=SEED)


@pytest.mark.multiprocess
@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    """The same with a thousand kills in a row on one file, three times."""
    _run(tmp_path / "sessions.db", kills=1_000, seed=seed)


def test_the_judge_finds_what_is_wrong() -> None:
    """A lost turn, a torn one, a message that nobody asked for and a session that is back again are all found."""
    notes: list[Note] = [Begun("1", Append(SHARED[0], ("a", "b"))), Done("1"), Begun("2", Append(SHARED[0], ("c",)))]
    others: dict[str, State] = {name: Stored() for name in SHARED[1:]}

    def found(*ids: str, **more: State) -> str:
        texts = tuple((id, f"text of {id}") for id in ids)
        return "; ".join(judge(notes, {SHARED[0]: Stored(texts), **others, **more}))

    assert found("a", "b") == found("a", "b", "c") == ""
    assert "lost" in found("c")
    assert "torn" in found("a", "c", "b")
    assert "twice" in found("a", "b", "b")
    assert "nobody asked for: ['x']" in found("a", "b", "x")
    assert "nobody asked for session y" in found("a", "b", y=Stored())
