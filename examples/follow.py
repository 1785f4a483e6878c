"""A subscriber is stopped, comes again where it was, and misses nothing that two agents wrote meanwhile."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path

from bamboo_sessions import Message, Session, SessionRepository


class Inbox:
    """Counts new messages for each session. Keeps how far it got together with the counts."""

    def __init__(self, position: str) -> None:
        self.position = position
        self.counts: dict[str, int] = {}

    async def follow(self, sessions: SessionRepository, until: int) -> None:
        """Go on behind the last change, until so many messages were counted."""
        async with aclosing(sessions.changes(after=self.position)) as feed:
            async for change in feed:
                self.counts[change.session_id] = self.counts.get(change.session_id, 0) + len(change.message_ids)
                self.position = change.position
                print(f"  {change.session_id} revision {change.revision}: {', '.join(change.kinds)}")
                if sum(self.counts.values()) >= until:
                    return


async def agent(store: Path, session_id: str, texts: list[str]) -> None:
    """Write to a session, with a repository of its own, as another process would."""
    async with SessionRepository.open(store) as sessions:
        for text in texts:
            await sessions.append(session_id, Message.assistant(text))


async def main() -> None:
    """Follow live, stop, let others write, resume."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "agents.db")
        async with SessionRepository.open(store) as sessions:
            for session_id in ("ada", "grace"):
                await sessions.create(Session(session_id))
            inbox = Inbox(await sessions.feed_position())

            print("live:")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(inbox.follow(sessions, until=4))
                tasks.create_task(agent(store, "ada", ["one", "two"]))
                tasks.create_task(agent(store, "grace", ["eins", "zwei"]))

            await agent(store, "ada", ["three"])
            await sessions.rename("grace", "While nobody looked")

            print("resumed:")
            await agent(store, "grace", ["drei"])
            await inbox.follow(sessions, until=6)
            print(inbox.counts)
            assert inbox.counts == {"ada": 3, "grace": 3}


if __name__ == "__main__":
    asyncio.run(main())
