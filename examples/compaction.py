"""A long history is replaced by a summary, while somebody else writes on. What was replaced can still be read."""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import Message, Session, SessionRepository

KEEP = 4


def summarise(messages: list[Message]) -> Message:
    """A model would do better."""
    return Message.system(f"Summary of {len(messages)} messages, from {messages[0].text!r} to {messages[-1].text!r}.")


def compact(session: Session) -> None:
    """Put a summary in the place of all but the newest messages, cutting at a user's message."""
    cut = max(0, len(session.messages) - KEEP)
    while cut and session.messages[cut].role != "user":
        cut -= 1
    if cut > 1:
        session.messages[0:cut] = [summarise(session.messages[0:cut])]


async def main() -> None:
    """Write, compact, and read the old history back."""
    with tempfile.TemporaryDirectory() as folder:
        async with SessionRepository.open(Path(folder, "agents.db")) as sessions:
            session = Session("long-talk")
            for number in range(20):
                session.add_message(Message.user(f"Question {number}"))
                session.add_message(Message.assistant(f"Answer {number}"))
            await sessions.create(session)
            before = session.revision

            compact(session)
            await sessions.append("long-talk", Message.user("Something new, from somebody else"))
            report = await sessions.save(session)

            print(f"{len(report.removed)} messages removed, {len(report.merged)} of somebody else's merged in:")
            for message in session.messages:
                print(f"  {message.role:>9}: {message.text}")
            old = await sessions.history("long-talk", at_revision=before, limit=1)
            print(f"revision {before} still has {old.message_count} messages, the last one {old.messages[0].text!r}")
            assert session.messages[-1].text.startswith("Something new")


if __name__ == "__main__":
    asyncio.run(main())
