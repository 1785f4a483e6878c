"""Concurrency: many tasks at once, one contract for every engine (L84)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from bamboo_sessions.domain.errors import BambooSessionsError
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, RecordScope, RecordWrite, RevisionConflict, State
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    call,
    change,
    creation,
    head_of,
    ids_in,
    insertion,
    key_of,
    recording,
    result,
    snapshot_of,
    user,
    users,
)

TASKS = 20

Outcome = Committed | BambooSessionsError


async def outcomes_of(*calls: Coroutine[Any, Any, Committed]) -> list[Outcome]:
    """What became of calls that were made at once."""

    async def outcome(call: Coroutine[Any, Any, Committed]) -> Outcome:
        try:
            return await call
        except BambooSessionsError as exc:
            return exc

    return list(await asyncio.gather(*map(outcome, calls)))


class ConcurrencyConformance(Conformance):
    """However many commit at once: comparing is exact, blind commits all land, revisions have no gaps."""

    async def test_one_of_many_wins(self, storage: SessionStorage) -> None:
        """Of many commits computed from one revision exactly one goes in."""
        await storage.commit(creation())
        state = await snapshot_of(storage)
        outcomes = await outcomes_of(
            *(storage.commit(change(state, insertions=(insertion(users(str(n))),))) for n in range(TASKS))
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, RevisionConflict)]
        assert (len(won), len(lost)) == (1, TASKS - 1)
        assert (await snapshot_of(storage)).revision == 2
        assert len(await ids_in(storage)) == 1

    async def test_one_of_many_creates(self, storage: SessionStorage) -> None:
        """Of many creations of one id exactly one goes in."""
        outcomes = await outcomes_of(*(storage.commit(creation("s", user(str(n)))) for n in range(TASKS)))
        assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
        assert len(await ids_in(storage)) == 1

    async def test_L84_every_blind_append_lands(self, storage: SessionStorage) -> None:
        """L80: many appends at once are all stored, once, each a revision of its own, none torn."""
        await storage.commit(creation())
        turns = [users(f"{n}a", f"{n}b") for n in range(TASKS)]
        outcomes = await outcomes_of(*(storage.commit(appending("s", *turn)) for turn in turns))
        committed = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
        assert sorted(outcome.revision for outcome in committed) == list(range(2, TASKS + 2))
        ids = await ids_in(storage)
        assert sorted(ids) == sorted(message.id for turn in turns for message in turn)
        for turn in turns:
            place = ids.index(turn[0].id)
            assert ids[place + 1] == turn[1].id
        assert (await snapshot_of(storage)).head.message_count == 2 * TASKS

    async def test_blind_creations_meet(self, storage: SessionStorage) -> None:
        """Many appends that may create the session make one, and all of them are in it."""
        await outcomes_of(*(storage.commit(appending("s", user(str(n)), initial_head=head_of())) for n in range(TASKS)))
        assert sorted(await ids_in(storage)) == sorted(map(str, range(TASKS)))
        assert (await snapshot_of(storage)).revision == TASKS

    async def test_the_same_message_from_many(self, storage: SessionStorage) -> None:
        """G4: one message that many append at once is stored once; the others are told that it was there."""
        await storage.commit(creation())
        outcomes = await outcomes_of(*(storage.commit(appending("s", user("a"))) for _ in range(TASKS)))
        assert await ids_in(storage) == ["a"]
        assert sum(isinstance(o, Committed) and o.duplicates == ("a",) for o in outcomes) == TASKS - 1

    async def test_the_same_commit_from_many(self, storage: SessionStorage) -> None:
        """One commit that is sent many times at once happens once, and all hear of the same revision."""
        await storage.commit(creation())
        commit = appending("s", user("a"))
        outcomes = await outcomes_of(*(storage.commit(commit) for _ in range(TASKS)))
        assert [o.revision for o in outcomes if isinstance(o, Committed)] == [2] * TASKS
        assert (await snapshot_of(storage)).revision == 2

    async def test_savers_that_try_again_all_get_in(self, storage: SessionStorage) -> None:
        """Tasks that compare, lose and try again bring in every change, among blind appends."""
        await storage.commit(creation("s", head=head_of(metadata={"n": 0})))

        async def count() -> None:
            while True:
                state = await snapshot_of(storage)
                head = head_of(metadata={"n": state.head.metadata["n"] + 1})
                try:
                    await storage.commit(change(state, head=head))
                except RevisionConflict:
                    continue
                return

        appends = [storage.commit(appending("s", user(str(n)))) for n in range(TASKS)]
        await asyncio.gather(*(count() for _ in range(TASKS)), *appends)
        state = await snapshot_of(storage)
        assert (state.head.metadata["n"], state.revision) == (TASKS, 2 * TASKS + 1)

    async def test_plans_take_turns(self, storage: SessionStorage) -> None:
        """L10: read, plan and commit are one unit: many plans at once lose no update."""
        await storage.commit(creation("s", head=head_of(metadata={"n": 0})))

        def plan(state: State) -> Commit:
            assert isinstance(state, Snapshot)
            return change(state, head=head_of(metadata={"n": state.head.metadata["n"] + 1}))

        await asyncio.gather(*(storage.transact(KEY, plan) for _ in range(TASKS)))
        assert (await snapshot_of(storage)).head.metadata["n"] == TASKS

    async def test_parallel_results_find_their_call(self, storage: SessionStorage) -> None:
        """L105: results that come at once, among other messages, all stand behind their call."""
        names = [str(number) for number in range(8)]
        await storage.commit(creation("s", call("c", *names)))
        commits = [appending("s", result(f"r{name}", name)) for name in names]
        commits[3:3] = [appending("s", user("between"))]
        await outcomes_of(*(storage.commit(commit) for commit in commits))
        ids = await ids_in(storage)
        assert ids[0] == "c"
        assert sorted(ids[1:9]) == sorted(f"r{name}" for name in names)
        assert ids[9:] == ["between"]

    async def test_sessions_do_not_disturb_one_another(self, storage: SessionStorage) -> None:
        """Commits of many sessions at once all go in, refused ones among them (L41)."""
        await asyncio.gather(*(storage.commit(creation(str(n))) for n in range(TASKS)))
        commits = [appending(str(n % TASKS), user(f"m{n}")) for n in range(3 * TASKS)]
        refused = [appending("unknown", user("x")), appending("0", user("y"), expected=99), creation("1")]
        outcomes = await outcomes_of(*(storage.commit(c) for c in [*commits[:30], *refused, *commits[30:]]))
        assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 3 * TASKS
        for n in range(TASKS):
            assert len(await ids_in(storage, str(n))) == 3

    async def test_deletions_and_appends_meet(self, storage: SessionStorage) -> None:
        """L37: an append before a deletion is acknowledged, one after it is refused, and none is lost."""
        for attempt in range(5):
            session_id = f"s{attempt}"
            await storage.commit(creation(session_id))
            calls = [outcomes_of(storage.commit(appending(session_id, user(str(n))))) for n in range(8)]
            deletion = storage.delete_tree(key_of(session_id), DeleteQuery(at=START))
            results = await asyncio.gather(*calls[:attempt], deletion, *calls[attempt:])
            landed = sum(isinstance(r[0], Committed) for r in results if isinstance(r, list))
            state = await storage.read(key_of(session_id))
            assert state is not None
            assert not isinstance(state, Snapshot)
            assert state.revision == 2 + landed

    async def test_records_are_compared_exactly(self, storage: SessionStorage) -> None:
        """Of many inserts of one record exactly one goes in."""
        scope = RecordScope("shared", "app")

        async def put(n: int) -> bool:
            try:
                await storage.write_records(recording(RecordWrite("k", "a", bytes([n]), if_absent=True), scope=scope))
            except BambooSessionsError:
                return False
            return True

        assert sum(await asyncio.gather(*(put(n) for n in range(TASKS)))) == 1

    async def test_a_cancelled_commit_is_whole_or_nothing(self, storage: SessionStorage) -> None:
        """G10: after a cancelled caller the storage works, and every commit is there as a whole or not at all."""
        await storage.commit(creation())
        for steps in range(6):
            turns = [users(f"{steps}-{n}a", f"{steps}-{n}b") for n in range(6)]
            tasks = [asyncio.create_task(storage.commit(appending("s", *turn))) for turn in turns]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(outcome, Committed) for outcome in outcomes[1::2])
        await storage.commit(appending("s", user("last")))
        ids = await ids_in(storage)
        assert [id_[:-1] for id_ in ids if id_.endswith("a")] == [id_[:-1] for id_ in ids if id_.endswith("b")]
        assert len(ids) == len(set(ids))

    async def test_two_storages_on_the_same_data(self, storage: SessionStorage, second: SessionStorage) -> None:
        """L08: comparing holds across storages that know nothing of one another."""
        await storage.commit(creation())
        state = await snapshot_of(second)
        outcomes = await outcomes_of(
            *(
                each.commit(change(state, insertions=(insertion(users(f"{n}{name}")),)))
                for n in range(5)
                for name, each in (("a", storage), ("b", second))
            )
        )
        assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
        appends = [each.commit(appending("s", user(f"m{n}"))) for n, each in enumerate([storage, second] * 8)]
        await asyncio.gather(*appends)
        assert sorted(await ids_in(storage)) == sorted(await ids_in(second))
        assert len(await ids_in(storage)) == 17
        assert (await snapshot_of(storage)).revision == 18
