"""Find what was said: words, parts of words, phrases, other scripts; and show it with the matches marked."""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import Message, SearchHit, Session, SessionRepository

SAID = {
    "A late parcel": ("Where is my order number 17?", "It was shipped on Tuesday."),
    "Stock": ("What about the shelves?", "I am reordering them. The order goes out today."),
    "订单": ("我的订单在哪里", "已经发货了。"),
}


def show(hit: SearchHit) -> None:
    """A hit on one line, with [matches] in brackets."""
    text = "".join(f"[{piece.text}]" if piece.is_match else piece.text for piece in hit.snippet.pieces)
    print(f"  {hit.title} · {hit.role or hit.place}: {text}")


async def main() -> None:
    """Some searches."""
    with tempfile.TemporaryDirectory() as folder:
        async with SessionRepository.open(Path(folder, "agents.db")) as sessions:
            for number, (title, (asked, answered)) in enumerate(SAID.items()):
                session = Session(f"chat-{number}", title=title)
                session.add_message(Message.user(asked))
                session.add_message(Message.assistant(answered))
                await sessions.create(session)

            for text in ("order", '"order number"', "order -shelves -number", "ship*", "订单"):
                print(text)
                for hit in (await sessions.search(text)).hits:
                    show(hit)

            await sessions.delete("chat-1")
            print("after the deletion:", len((await sessions.search("order")).hits), "hit")


if __name__ == "__main__":
    asyncio.run(main())
