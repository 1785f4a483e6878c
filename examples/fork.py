"""Go back to an earlier point of a conversation, and try something else from there. The original stays as it is."""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import Message, Session, SessionRepository


def show(session: Session) -> None:
    """The conversation, a line for each message."""
    origin = session.forked_from
    print(session.id, f"(forked from {origin.session_id} at revision {origin.revision})" if origin else "")
    for message in session.messages:
        print(f"  {message.role:>9}: {message.text}")


async def main() -> None:
    """One question, two ways to answer it."""
    with tempfile.TemporaryDirectory() as folder:
        async with SessionRepository.open(Path(folder, "agents.db")) as sessions:
            session = Session("poem")
            question = Message.user("Write a line about the sea.")
            session.add_message(question)
            await sessions.create(session)
            session.add_message(Message.assistant("The sea is wide."))
            await sessions.save(session)

            second = await sessions.fork("poem", new_id="poem-2", at_message_id=question.id)
            second.add_message(Message.assistant("The sea has kept its own accounts."))
            await sessions.save(second)

            show(await sessions.get("poem"))
            show(second)

            await sessions.remove_last("poem")
            then = await sessions.history("poem", at_revision=2)
            print("poem at revision 2 still reads:", [message.text for message in then.messages])


if __name__ == "__main__":
    asyncio.run(main())
