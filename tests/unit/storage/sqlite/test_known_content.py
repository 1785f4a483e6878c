"""What counts as known content in rows of earlier forms (G4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import MessageIdConflictError
from bamboo_sessions.domain.message import Message, Native, hash_of_body, to_stored
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of
from tests.unit.storage.sqlite.commits import appending, head_of

pytestmark = pytest.mark.anyio


async def test_L116_a_row_of_an_earlier_form_is_recognised(path: Path) -> None:
    """Its hash is another one; the content is compared before anybody is refused."""
    one = Message.assistant("hi", id="a", native=Native("f", b'{"x":1}'))
    earlier = json.encode(one).replace(b'"content":', b'"metadata":{},"content":')
    assert hash_of_body(earlier) != to_stored(one).content_hash
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    try:
        await storage.commit(appending("s", one, initial_head=head_of("s")))
        await storage._engine.write(lambda c: rows_of(c, "UPDATE commits SET body = ?", (earlier,)))
        committed = await storage.commit(appending("s", one))
        assert (committed.changed, committed.duplicates) == (False, ("a",))
        with pytest.raises(MessageIdConflictError):
            await storage.commit(appending("s", Message.assistant("other", id="a")))
    finally:
        await storage.aclose()
