"""Files of each format of the store, with a little of everything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from bamboo_sessions import Message, Session, SessionRepository, ToolCall
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.testing import ManualClock

_HERE: Final = Path(__file__).parent
FILES: Final = [(int(file.name.split(".")[0]), file) for file in sorted(_HERE.glob("*.db.gz"))]
"""The formats and their files."""

TEXTS: Final = {
    "plain": ["one", "two"],
    "edited": ["in front", "", "inside", "changed", "four"],
    "fork": ["in front", "", "inside", "changed", "four"],
}
"""The texts of the sessions that the files have."""


async def fill(sessions: SessionRepository) -> None:
    """Write what a file of the format is to have."""
    clock = ManualClock()
    await sessions.append("plain", Message.user("one"), Message.assistant("two"), create=True)
    await sessions.rename("plain", "A title")
    session = await sessions.create(Session("edited", clock=clock))
    call = Message.assistant("", [ToolCall("call", "look")])
    session.messages.extend([call, *(Message.user(text, id=text) for text in ("two", "three", "four"))])
    await sessions.save(session, records=[RecordWrite("kind", "key", b"value")])
    session.messages[2] = msgspec.structs.replace(session.messages[2], content="changed")
    del session.messages[1]
    session.messages.insert(1, Message.user("inside"))
    session.messages.insert(0, Message.user("in front"))
    await sessions.save(session)
    await sessions.fork("edited", new_id="fork")
    await sessions.append("gone", Message.user("gone"), create=True)
    await sessions.delete("gone")


async def content_of(sessions: SessionRepository) -> dict[str, list[str]]:
    """The texts of all sessions."""
    page = await sessions.list_sessions()
    found = {head.id: (await sessions.get(head.id)).messages for head in page.sessions}
    return {id_: [message.text for message in found[id_]] for id_ in TEXTS if id_ in found}
