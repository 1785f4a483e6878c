"""Whole sessions written plainly, as tests and importers do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.history import NO_MESSAGES
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_without_base, freeze
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import SECOND, call, result, user, users


def filled(id: str = "s") -> Session:
    """A working copy with something in every part."""
    session = Session(
        id, "model", owner="ann", title="T", pinned=True, metadata={"k": ["\ud800"]}, created_at=START - SECOND
    )
    for message in (user("a"), call("c", "1"), result("r", "1")):
        session.add_message(message)
    session.set_pending_question(PendingQuestion("call", "ask", "Go?", id="q", asked_at=START))
    session.updated_at = START
    return session


class WholeSessionsConformance(Conformance):
    """`save_session` replaces, `load_session` gives back, `delete_session` takes away."""

    async def test_a_session_comes_back(self, storage: SessionStorage) -> None:
        """What was saved is loaded as it was, a hand-set past time included."""
        session = filled()
        await storage.save_session(session)
        loaded = await storage.load_session("s")
        assert loaded is not None
        for name in ("id", "model", "owner", "title", "pinned", "metadata", "created_at", "updated_at", "questions"):
            assert getattr(loaded, name) == getattr(session, name), name
        assert list(loaded.messages) == list(session.messages)
        assert loaded.revision > 0

    async def test_a_session_that_is_not_there(self, storage: SessionStorage) -> None:
        """A session that isn't there is `None`, and deleting it does nothing."""
        assert await storage.load_session("s") is None
        assert await storage.delete_session("s") is False

    async def test_saving_replaces(self, storage: SessionStorage) -> None:
        """A second save of the id leaves exactly the second session, shorter history and older time included."""
        await storage.save_session(filled())
        other = Session("s", "other", created_at=START - SECOND)
        for message in (*users("z", "a"), Message.user("b", id="c")):
            other.add_message(message)
        other.updated_at = START - timedelta(days=1)
        await storage.save_session(other)
        loaded = await storage.load_session("s")
        assert loaded is not None
        assert [(message.id, message.text) for message in loaded.messages] == [("z", "z"), ("a", "a"), ("c", "b")]
        assert (loaded.model, loaded.title, loaded.pending_question) == ("other", None, None)
        assert loaded.updated_at == other.updated_at
        assert loaded.revision == 2

    async def test_a_deleted_session_is_gone(self, storage: SessionStorage) -> None:
        """After `delete_session` it isn't loaded; saving the id again makes it anew."""
        await storage.save_session(filled())
        assert await storage.delete_session("s") is True
        assert await storage.load_session("s") is None
        assert await storage.delete_session("s") is False
        await storage.save_session(filled())
        loaded = await storage.load_session("s")
        assert loaded is not None
        assert len(loaded.messages) == 3
        assert loaded.revision == 3

    @pytest.mark.parametrize(
        "changes",
        [
            {"metadata_version": 2**70},
            {"title_version": -1},
            {"created_at": datetime.min.replace(tzinfo=UTC)},
            {"updated_at": datetime.max.replace(tzinfo=UTC)},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    async def test_what_could_not_be_counted_on_from_is_refused(
        self, storage: SessionStorage, changes: dict[str, Any]
    ) -> None:
        """Versions beyond what storage counts, and times at the edge, are named at the door; nothing is written."""
        head = msgspec.structs.replace(freeze(filled()).head, **changes)
        with pytest.raises(InputError, match=f"{next(iter(changes))} must be"):
            await storage.save_session(copy_without_base(head, NO_MESSAGES))
        assert await storage.load_session("s") is None

    async def test_other_namespaces(self, storage: SessionStorage, other_namespace: str) -> None:
        """The three calls work in the namespace that they are told."""
        session = Session("s", namespace=other_namespace)
        await storage.save_session(session, namespace=other_namespace)
        assert await storage.load_session("s") is None
        assert await storage.load_session("s", namespace=other_namespace) is not None
        assert await storage.delete_session("s") is False
        assert await storage.delete_session("s", namespace=other_namespace) is True
