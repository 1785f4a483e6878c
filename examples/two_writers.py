"""Two agents and a person change one session at the same time, each from what they knew at the start.

Both agents hold old copies when they save. Nothing is lost: the saves are merged, the person's title stands, and each
agent's messages stay together.
"""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import MergeReport, Message, Session, SessionRepository


async def agent(sessions: SessionRepository, name: str, everybody_loaded: asyncio.Barrier) -> MergeReport:
    """Load, work for a while, and save the whole copy."""
    session = await sessions.get("report")
    await everybody_loaded.wait()
    for number in (1, 2, 3):
        session.add_message(Message.assistant(f"{name}, part {number}", name=name))
    session.metadata[f"{name} is done"] = True
    session.model = f"model of {name}"
    return await sessions.save(session)


async def person(sessions: SessionRepository, everybody_loaded: asyncio.Barrier) -> None:
    """Rename and write meanwhile."""
    await everybody_loaded.wait()
    await sessions.rename("report", "Quarterly report")
    await sessions.append("report", Message.user("Please keep it short."))


async def main() -> None:
    """Let all three race, and look at what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        async with SessionRepository.open(Path(folder, "agents.db")) as sessions:
            await sessions.create(Session("report", title="Untitled"))
            everybody_loaded = asyncio.Barrier(3)
            ada, grace, _ = await asyncio.gather(
                agent(sessions, "ada", everybody_loaded),
                agent(sessions, "grace", everybody_loaded),
                person(sessions, everybody_loaded),
            )

            session = await sessions.get("report")
            print(f"{session.title!r}, revision {session.revision}, {session.metadata}")
            for message in session.messages:
                print(f"  {message.role:>9}: {message.text}")
            for name, report in (("ada", ada), ("grace", grace)):
                settled = [f"{conflict.what}: kept {conflict.kept}" for conflict in report.conflicts]
                print(f"{name}'s save brought in {len(report.merged)} messages of others; settled: {settled}")

            assert session.title == "Quarterly report"
            assert {message.name for message in session.messages} == {None, "ada", "grace"}


if __name__ == "__main__":
    asyncio.run(main())
