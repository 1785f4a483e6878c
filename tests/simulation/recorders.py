"""Those who keep state of their own beside the messages: counters that several count up, with compare-and-put."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from bamboo_sessions import Record
from tests.simulation.world import Client, Operation, World

KIND: Final = "counter"
KEYS: Final = ("one", "two")


async def recorder(client: Client, session_id: str) -> None:
    """Counts up, and now and then deletes a counter; tries again with the same commit id while it doesn't know."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        scope: Any = client.chance.choice(({"session": session_id}, {"shared": "all"}))
        key = client.chance.choice(KEYS)
        done, record = await client.do("look", session_id, client.repo.records.get(KIND, key, **scope))
        if done.outcome == "ok":
            await _count(client, session_id, scope, key, record)


async def _count(client: Client, session_id: str, scope: Mapping[str, Any], key: str, record: Record | None) -> None:
    records, commit_id = client.repo.records, client.world.id("commit")
    version, number = (record.version, int(record.value)) if record is not None else (0, 0)
    deletes = record is not None and client.chance.random() < 0.2
    for _ in range(4):
        call: Any
        if deletes:
            call = records.delete(KIND, key, **scope, if_version=version, commit_id=commit_id)
        else:
            expected: Any = {"if_version": version} if version else {"if_absent": True}
            call = records.put(KIND, key, b"%d" % (number + 1), **scope, **expected, commit_id=commit_id)
        done, made = await client.do("count", session_id, call, (*scope.items(), key, version))
        done.result = made
        if done.outcome not in {"unknown", "failed"}:
            return


def record_findings(world: World) -> Iterator[str]:
    """No version is given twice, and nobody writes on top of a version that somebody else has replaced."""
    written: defaultdict[object, list[Operation]] = defaultdict(list)
    for done in world.history:
        if done.what == "count" and done.result is not None:
            written[done.argument[:2]].append(done)
    for of, counts in written.items():
        counts.sort(key=lambda done: int(done.result))
        for before, after in pairwise(counts):
            if after.result == before.result:
                yield f"{of}: {before} and {after} have one version"
            if 0 < after.argument[2] < before.result:
                yield f"{of}: {after} wrote on top of {before}, which it hadn't seen"
