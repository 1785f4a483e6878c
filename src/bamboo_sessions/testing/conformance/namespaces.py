"""Namespaces: nothing crosses from one tenant to another (L99)."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.errors import SessionNotFoundError
from bamboo_sessions.domain.usage import TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.commit import HistorySource, RecordScope, RecordWrite, SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, ListQuery, RecordQuery, Window, WindowQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    content,
    creation,
    head_of,
    ids_in,
    recording,
    scope_of,
    snapshot_of,
    user,
)


async def make_twins(storage: SessionStorage, other: str) -> SessionKey:
    """A session `s` with a message and a record in each of two namespaces; the key of the second."""
    key = SessionKey(other, "s")
    usage = (TokenUsageRecord(id="u", at=START, input_tokens=1),)
    await storage.commit(creation("s", user("mine"), records=(RecordWrite("k", "a", b"mine"),), usage=usage))
    await storage.commit(
        creation(
            "s",
            user("other's", id="mine"),
            key=key,
            head=head_of("s", namespace=other, title="other's"),
            records=(RecordWrite("k", "a", b"other's"),),
            usage=(TokenUsageRecord(id="u", at=START, input_tokens=20),),
        )
    )
    return key


class NamespacesConformance(Conformance):
    """Every call is bound to the namespace of its key, equal ids or not."""

    async def test_equal_ids_are_different_sessions(self, storage: SessionStorage, other_namespace: str) -> None:
        """L99: the same session id, message id and record key live side by side in two namespaces."""
        key = await make_twins(storage, other_namespace)
        mine, others = await snapshot_of(storage), await snapshot_of(storage, "s", other_namespace)
        assert (mine.head.namespace, mine.head.title, mine.messages[0].text) == ("default", None, "mine")
        assert (others.head.namespace, others.head.title) == (other_namespace, "other's")
        assert others.messages[0].text == "other's"
        await storage.commit(appending("s", user("b"), key=key))
        assert content(await snapshot_of(storage)) == content(mine)

    async def test_every_read_is_bound(self, storage: SessionStorage, other_namespace: str) -> None:
        """Heads, windows, freshness, usage, records, listings and commit ids of a namespace are its own."""
        key = await make_twins(storage, other_namespace)
        commit = appending("s", user("b"), key=key)
        await storage.commit(commit)
        assert await storage.read_head(key) == (await snapshot_of(storage, "s", other_namespace)).head
        window = await storage.read_window(KEY, WindowQuery(9))
        assert isinstance(window, Window)
        assert [message.id for message in window.messages] == ["mine"]
        assert await storage.settle(KEY, commit.commit_id) is None
        assert await storage.settle(key, commit.commit_id) == 2
        assert storage.still_newest(KEY, 1, None) is not None
        for session_id in ("s", None):
            totals = await storage.usage_totals("default", session_id, include_children=True)
            assert isinstance(totals, TokenUsageTotals)
            assert totals.input_tokens == 1
        page = await storage.list_heads(ListQuery("default", total=True))
        assert ([head.namespace for head in page.heads], page.total) == (["default"], 1)

    async def test_an_unknown_namespace_is_empty(self, storage: SessionStorage, other_namespace: str) -> None:
        """A namespace in which nothing was written shows nothing."""
        await storage.commit(creation("s", user("a"), records=(RecordWrite("k", "a", b""),)))
        key = SessionKey(other_namespace, "s")
        assert await storage.read(key) is None
        assert await storage.read_head(key) is None
        assert await storage.read_window(key, WindowQuery(1)) is None
        assert storage.still_newest(key, 1, None) is None
        assert (await storage.list_heads(ListQuery(other_namespace))).heads == ()
        assert await storage.get_record(other_namespace, scope_of("s"), "k", "a") is None
        assert await storage.usage_totals(other_namespace, "s", include_children=True) is None
        assert await storage.delete_tree(key, DeleteQuery(at=START)) == ()
        with pytest.raises(SessionNotFoundError):
            await storage.commit(appending("s", user("a"), key=key))
        assert await ids_in(storage) == ["a"]

    async def test_a_deletion_stays_in_its_namespace(self, storage: SessionStorage, other_namespace: str) -> None:
        """Deleting a tree takes nothing of another namespace along, records neither."""
        key = await make_twins(storage, other_namespace)
        child = head_of("child", namespace=other_namespace, parent_session_id="s", root_session_id="s")
        await storage.commit(creation("child", head=child, key=SessionKey(other_namespace, "child")))
        assert await storage.delete_tree(KEY, DeleteQuery(at=START)) == ("s",)
        assert await ids_in(storage, "s", other_namespace) == ["mine"]
        record = await storage.get_record(other_namespace, scope_of("s"), "k", "a")
        assert record is not None
        assert record.value == b"other's"
        assert len(await storage.delete_tree(key, DeleteQuery(at=START))) == 2

    async def test_messages_are_found_in_their_namespace(self, storage: SessionStorage, other_namespace: str) -> None:
        """A message id finds nothing that belongs to another tenant."""
        await storage.commit(creation("s", user("a")))
        assert await storage.find_message(other_namespace, "a") is None

    async def test_shared_records_are_bound(self, storage: SessionStorage, other_namespace: str) -> None:
        """A shared name means another scope in each namespace."""
        scope = RecordScope("shared", "app")
        for namespace in ("default", other_namespace):
            write = RecordWrite("k", "a", namespace.encode(), if_absent=True)
            await storage.write_records(recording(write, scope=scope, namespace=namespace, commit_id="of both"))
        for namespace in ("default", other_namespace):
            (record,) = await storage.scan_records(namespace, scope, RecordQuery("k"))
            assert record.value == namespace.encode()

    async def test_families_stay_in_their_namespace(self, storage: SessionStorage, other_namespace: str) -> None:
        """Neither a parent nor the source of a fork is found in another namespace."""
        await storage.commit(creation("s", user("a")))
        child = head_of("child", namespace=other_namespace, parent_session_id="s", root_session_id="s")
        with pytest.raises(SessionNotFoundError):
            await storage.commit(creation("child", head=child, key=SessionKey(other_namespace, "child")))
        fork = creation(
            "fork",
            head=head_of("fork", namespace=other_namespace),
            key=SessionKey(other_namespace, "fork"),
            history_from=HistorySource("s", 1, None),
        )
        with pytest.raises(SessionNotFoundError):
            await storage.commit(fork)
