"""A storage of one's own: three calls that keep each session as a JSON file, wrapped in `SimpleStorage`.

The repository does the rest: merging, questions, forks, the cache. It is slower than SQLite, and right within one
process. What the files don't hold (older versions, tombstones, the ledger) is forgotten when the process ends.
"""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

from bamboo_sessions import (
    Message,
    Session,
    SessionRepository,
    SimpleStorage,
    session_from_json,
    session_to_json,
)


class JsonFiles:
    """One file for each session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, session_id: str) -> Path:
        """An id is anybody's text and never becomes a file name; its hash may."""
        return self.folder / (hashlib.sha256(session_id.encode()).hexdigest() + ".json")

    async def save_session(self, session: Session) -> None:
        """Write beside the old file, make that durable, then put it in its place: never half a file.

        `session_to_json` is lossless: tool output may hold what plain JSON encoders refuse.
        """
        path = self.path(session.id)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(session_to_json(session))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def load_session(self, session_id: str) -> Session | None:
        """`None` only if there is no file. Anything else that goes wrong is raised."""
        try:
            data = self.path(session_id).read_bytes()
        except FileNotFoundError:
            return None
        return session_from_json(data)

    async def delete_session(self, session_id: str) -> None:
        """Nothing happens if there is none."""
        self.path(session_id).unlink(missing_ok=True)


async def main() -> None:
    """Use it as any other storage, twice."""
    with tempfile.TemporaryDirectory() as folder:
        async with SessionRepository.open(SimpleStorage(JsonFiles(Path(folder)))) as sessions:
            mine = await sessions.create(Session("chat-42", model="fake-1"))
            await sessions.append("chat-42", Message.user("Hello"))
            await sessions.rename("chat-42", "A greeting")
            mine.add_message(Message.assistant("Hello! What can I do for you?"))
            await sessions.save(mine)

        async with SessionRepository.open(SimpleStorage(JsonFiles(Path(folder)))) as sessions:
            session = await sessions.get("chat-42")
            print(session)
            for message in session.messages:
                print(f"  {message.role:>9}: {message.text}")
            assert session.title == "A greeting"
            assert session.revision == mine.revision


if __name__ == "__main__":
    asyncio.run(main())
