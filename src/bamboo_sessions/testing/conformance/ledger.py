"""The token ledger: one record per model call, never twice."""

from __future__ import annotations

from bamboo_sessions.domain.usage import TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import appending, creation, head_of, snapshot_of, user


def record(id: str, tokens: int = 1) -> TokenUsageRecord:
    """A record with every count set."""
    return TokenUsageRecord(
        id=id,
        at=START,
        model="m",
        provider="p",
        input_tokens=tokens,
        output_tokens=2 * tokens,
        cache_read_input_tokens=3 * tokens,
        cache_creation_input_tokens=4 * tokens,
        thinking_tokens=5 * tokens,
        metadata={"k": "\ud800"},
    )


def sums(calls: int, tokens: int) -> TokenUsageTotals:
    """The totals of `calls` records with so many tokens together."""
    return TokenUsageTotals(
        calls=calls,
        input_tokens=tokens,
        output_tokens=2 * tokens,
        cache_read_input_tokens=3 * tokens,
        cache_creation_input_tokens=4 * tokens,
        thinking_tokens=5 * tokens,
    )


async def totals(storage: SessionStorage, session_id: str | None, *, children: bool = False) -> object:
    """The sums of the ledger."""
    return await storage.usage_totals("default", session_id, include_children=children)


class LedgerConformance(Conformance):
    """The ledger adds up what was recorded, by record id, for a session, its tree, or a namespace."""

    async def test_an_empty_ledger(self, storage: SessionStorage) -> None:
        """A session without records, and a namespace without sessions, add up to nought."""
        assert await totals(storage, None) == TokenUsageTotals()
        await storage.commit(creation())
        assert await totals(storage, "s") == TokenUsageTotals()

    async def test_records_add_up(self, storage: SessionStorage) -> None:
        """Every count is summed, large ones exactly."""
        await storage.commit(creation(usage=(record("a", 1), record("b", 10))))
        await storage.commit(appending("s", usage=(record("c", 2**50),)))
        assert await totals(storage, "s") == sums(3, 11 + 2**50)

    async def test_the_largest_counts_add_up(self, storage: SessionStorage) -> None:
        """More of the largest counts than 63 bits hold are summed exactly, and no error ends the reading of totals."""
        largest = 2**53 - 1
        records = [
            TokenUsageRecord(id=str(number), at=START, model="m", input_tokens=largest) for number in range(1_030)
        ]
        await storage.commit(creation(usage=tuple(records)))
        for session_id in ("s", None):
            assert await totals(storage, session_id) == TokenUsageTotals(calls=1_030, input_tokens=1_030 * largest)

    async def test_a_record_counts_once(self, storage: SessionStorage) -> None:
        """L98: a record id that is there already changes nothing and makes no commit, whatever it says."""
        await storage.commit(creation(usage=(record("a", 1),)))
        again = await storage.commit(appending("s", usage=(record("a", 99),)))
        assert not again.changed
        await storage.commit(appending("s", user("m"), usage=(record("a", 99), record("b", 2))))
        assert await totals(storage, "s") == sums(2, 3)

    async def test_a_record_in_a_commit_twice_counts_once(self, storage: SessionStorage) -> None:
        """The same record id twice in one commit is one record: the first, whatever the second says."""
        await storage.commit(creation())
        await storage.commit(appending("s", usage=(record("a", 1), record("a", 99))))
        assert await totals(storage, "s") == sums(1, 1)

    async def test_record_ids_belong_to_a_session(self, storage: SessionStorage) -> None:
        """Two sessions may count the same record id."""
        await storage.commit(creation("s", usage=(record("a", 1),)))
        await storage.commit(creation("t", usage=(record("a", 2),)))
        assert await totals(storage, "s") == sums(1, 1)
        assert await totals(storage, "t") == sums(1, 2)

    async def test_trees_and_namespaces_add_up(self, storage: SessionStorage) -> None:
        """With children the whole tree counts, without a session the whole namespace."""
        await storage.commit(creation("root", usage=(record("a", 1),)))
        for id_, parent, tokens in (("child", "root", 10), ("leaf", "child", 100)):
            head = head_of(id_, parent_session_id=parent, root_session_id="root")
            await storage.commit(creation(id_, head=head, usage=(record("a", tokens),)))
        await storage.commit(creation("beside", usage=(record("a", 1_000),)))
        assert await totals(storage, "root") == sums(1, 1)
        assert await totals(storage, "root", children=True) == sums(3, 111)
        assert await totals(storage, "child", children=True) == sums(2, 110)
        assert await totals(storage, None) == sums(4, 1_111)

    async def test_usage_makes_a_revision(self, storage: SessionStorage) -> None:
        """A record is a commit of its session and leaves messages and head alone."""
        await storage.commit(creation("s", user("a"), head=head_of(title="T")))
        committed = await storage.commit(appending("s", usage=(record("a"),)))
        assert (committed.revision, committed.changed) == (2, True)
        state = await snapshot_of(storage)
        assert (state.head.title, [message.id for message in state.messages]) == ("T", ["a"])
