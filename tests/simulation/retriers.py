"""Those who name their commits, and try again with the same name while they don't know what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bamboo_sessions import Session
from bamboo_sessions.domain.snapshot import Snapshot
from tests.simulation.world import Client, World


async def retrier(client: Client, session_id: str) -> None:
    """Changes the latest state, or takes the last message: once, however often it has to ask for that."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        what = client.chance.choice(("update", "remove_last"))
        commit_id, value = client.world.id("commit"), client.world.id("model")
        for _ in range(4):
            done, answer = await client.do(
                what, session_id, _call(client, session_id, what, commit_id, value), commit_id
            )
            if what == "remove_last" and answer is not None:
                done.result = tuple(message.id for message in answer)
            if done.outcome not in {"unknown", "failed"}:
                break


def _call(client: Client, session_id: str, what: str, commit_id: str, value: str) -> Any:  # noqa: ANN401 - any result
    if what == "remove_last":
        return client.repo.remove_last(session_id, commit_id=commit_id)

    def change(session: Session) -> None:
        session.model = value

    return client.repo.update(session_id, change, commit_id=commit_id)


def retry_findings(world: World) -> Iterator[str]:
    """Of all that was done in the name of one commit, one message was taken at most (G4)."""
    saved = {id_ for done in world.history if done.what == "save" for id_ in done.argument["removed"]}
    names = {done.number: str(done.argument) for done in world.history if done.what == "remove_last" and done.argument}
    for session_id, versions in world.store.log.items():
        taken: Counter[str] = Counter()
        for before, after in pairwise(versions):
            if after.operation in names and isinstance(before.state, Snapshot) and isinstance(after.state, Snapshot):
                left = {message.id for message in after.state.messages}
                gone = {message.id for message in before.state.messages} - left - saved
                taken[names[after.operation]] += len(gone)
        yield from (f"{session_id}: {name} took {count} messages (G4)" for name, count in taken.items() if count > 1)
