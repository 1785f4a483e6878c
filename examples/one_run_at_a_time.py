"""Two workers get the same job. One runs, the other waits for its turn; a third one, stopped too long, is refused."""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import LeaseLostError, Message, Session, SessionRepository


async def work(store: Path, name: str) -> None:
    """A run of three steps, while nobody else runs."""
    async with (
        SessionRepository.open(store) as sessions,
        sessions.lease("chat-42", holder=name, on_busy="wait") as lease,
    ):
        lease.session.run_state = "running"
        for step in (1, 2, 3):
            lease.session.add_message(Message.assistant(f"{name}, step {step}"))
            await lease.save()
        lease.session.run_state = "idle"
        await lease.save()


async def main() -> None:
    """Let two run at once, then let one come too late."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "agents.db")
        async with SessionRepository.open(store) as sessions:
            await sessions.create(Session("chat-42"))
            await asyncio.gather(work(store, "Ada"), work(store, "Ben"))
            for message in (await sessions.get("chat-42")).messages:
                print(f"  {message.text}")

            async with sessions.lease("chat-42", holder="Cleo") as late:
                late.session.add_message(Message.assistant("Cleo, step 1"))
            # … here Cleo's laptop sleeps, and when it wakes it goes on as if nothing had happened
            async with sessions.lease("chat-42", holder="Dan"):
                try:
                    await late.save()
                except LeaseLostError as error:
                    print(error)
                    fork = await late.save_as_fork()
                    print(f"kept in a fork: {fork.messages[-1].text!r}")


if __name__ == "__main__":
    asyncio.run(main())
