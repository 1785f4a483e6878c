"""What clients do. Each is a coroutine that gets a `Client`; the table at the end says who there is and how often."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from bamboo_sessions import Message, PendingQuestion, Session, ToolCall
from bamboo_sessions.domain.working_copy import is_clean
from bamboo_sessions.testing.clock import START
from tests.simulation.network import key_of
from tests.simulation.reached import note_save
from tests.simulation.world import CHAT, LIFE, LOG, Client, Work

Saved = tuple[int, tuple[tuple[str, ...], ...], tuple[str, ...]]
"""What a save reports: the revision, the turns that are durable now, the messages that are removed now."""


def user(client: Client) -> Message:
    """A message that nobody has yet."""
    id_ = client.world.id("m")
    return Message.user(f"text of {id_}", id=id_, created_at=START)


def _tool_turn(client: Client) -> tuple[Message, ...]:
    call_id = client.world.id("call")
    return (
        Message.assistant("", (ToolCall(call_id, "tool"),), id=client.world.id("m"), created_at=START),
        Message.tool("done", tool_call_id=call_id, id=client.world.id("m"), created_at=START),
    )


def view(session: Session | None) -> Any:  # noqa: ANN401 - plain values
    """What a reader sees: revision, title, its version, model, and the ids of the messages; or `None`."""
    if session is None:
        return None
    ids = tuple(message.id for message in session.messages)
    return session.revision, session.title, session.metadata_version, session.model, ids


async def load(client: Client, session_id: str, *, fresh: bool = False) -> Session | None:
    """Look at a session in one of the ways there are."""
    how = "fresh" if fresh else client.chance.choice(("load", "load", "load", "fresh", "load_merged"))
    waited = key_of(session_id) in client.repo.persistence.waiting
    call = (
        client.repo.load_merged(session_id)
        if how == "load_merged"
        else client.repo.load(session_id, fresh=how == "fresh")
    )
    done, session = await client.do("read", session_id, call, how)
    # While work waits, `load` carries on without storage: it may then show what the cache had (tolerant saves).
    waits = waited or key_of(session_id) in client.repo.persistence.waiting
    clean = session is None or is_clean(session)
    done.result = view(session) if clean and not waits else ("dirty", session and session.revision)
    return session if done.outcome == "ok" else None


# --- agents


async def agent(client: Client, session_id: str) -> None:
    """A runtime writer: keeps its copy over many saves, whatever becomes of them."""
    work = client.work
    for _ in range(client.world.plan.rounds):
        await client.pause()
        if client.copy is None:
            work = client.work = Work()
            client.copy = await begin(client, session_id)
            if client.copy is None:
                continue
        change(client, client.copy, work)
        how = client.chance.choice(("save", "save", "save", "checkpoint", "save_best_effort"))
        await save(client, client.copy, work, how)
        if client.copy is not None and client.chance.random() < 0.1:
            await _save_twice(client, client.copy, work)


async def begin(client: Client, session_id: str) -> Session | None:
    """A working copy, also of what nobody has written to yet."""
    if client.chance.random() < 0.3:
        done, session = await client.do("load_or_create", session_id, client.repo.load_or_create(session_id))
        return session if done.outcome == "ok" else None
    return await load(client, session_id)


def change(client: Client, copy: Session, work: Work) -> None:
    """A turn: messages, and now and then a register, a value, a question, a removal."""
    chance = client.chance
    tools = copy.id != LOG and chance.random() < 0.4
    turn = _tool_turn(client) if tools else tuple(user(client) for _ in range(chance.randint(1, 3)))
    for message in turn:
        copy.add_message(message)
    ids = tuple(message.id for message in turn)
    work.turns.append(ids)
    client.world.begin_turn(ids)
    if copy.id == LOG:
        return
    if chance.random() < 0.4:
        copy.model = client.world.id("model")
    if chance.random() < 0.4:
        copy.metadata[chance.choice(("one", "two"))] = client.world.id("value")
    if chance.random() < 0.2:
        id_ = client.world.id("q")
        copy.set_pending_question(PendingQuestion(client.world.id("call"), "ask", "?", id=id_, asked_at=START))
        work.asked.append(id_)
    if chance.random() < 0.2:
        remove(client, copy, work)


def remove(client: Client, copy: Session, work: Work) -> None:
    """Take a message out that somebody has saved."""
    new = {id_ for turn in work.turns for id_ in turn}
    old = [n for n, message in enumerate(copy.messages) if message.role == "user" and message.id not in new]
    if old:
        place = client.chance.choice(old)
        work.removed.append(copy.messages[place].id)
        del copy.messages[place]


async def save(client: Client, copy: Session, work: Work, how: str) -> None:
    """Save a copy, and note what is acknowledged by that."""
    turns, removed, asked = tuple(work.turns), tuple(work.removed), tuple(work.asked)
    life = copy.incarnation
    edited = dict(work.edited)
    call: Any = getattr(client.repo, how)(copy)
    argument = {"how": how, "turns": turns, "removed": removed, "life": life, "edited": edited}
    done, answer = await client.do("save", copy.id, call, argument)
    if done.outcome == "refused":
        client.copy = None
    note_save(client.world.reached, answer)
    client.is_accepted = done.outcome == "ok" and how != "checkpoint"
    if answer is None or answer is False:
        return
    done.result = {"life": copy.incarnation, "revision": copy.revision if answer is True else answer.revision}
    del work.turns[: len(turns)]
    del work.asked[: len(asked)]
    done.result["asked"] = asked
    if how != "checkpoint":
        del work.removed[: len(removed)]
        work.edited = {id_: text for id_, text in work.edited.items() if edited.get(id_) != text}


async def _save_twice(client: Client, copy: Session, work: Work) -> None:
    """The caller's patience ends at once, and it saves again while the first save is under way."""
    change(client, copy, work)
    first = client.world.loop.create_task(save(client, copy, _copied(work), "save"))
    await client.pause()
    await save(client, copy, work, "save")
    await first
    if client.copy is None:
        return
    await save(client, copy, work, "save")


def _copied(work: Work) -> Work:
    return Work(list(work.turns), list(work.removed), list(work.asked), dict(work.edited))


async def finish(client: Client) -> None:
    """At the end, when nothing fails any more, a copy's work has to get through."""
    if client.copy is not None:
        argument = {"how": "save", "turns": tuple(client.work.turns), "removed": tuple(client.work.removed)}
        await client.do("finish", client.copy.id, client.repo.save(client.copy), argument)


async def appender(client: Client, session_id: str) -> None:
    """Adds messages without loading, and adds them again if it doesn't know what became of them."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        await append(client, session_id)


async def append(client: Client, session_id: str) -> None:
    """Add new messages."""
    await append_these(client, session_id, tuple(user(client) for _ in range(client.chance.randint(1, 2))))


async def append_these(client: Client, session_id: str, messages: tuple[Message, ...]) -> None:
    """Add messages, a few times if need be."""
    ids = tuple(message.id for message in messages)
    client.world.begin_turn(ids)
    argument = {"how": "append", "turns": (ids,), "removed": (), "life": 0}
    for _ in range(3):
        create = session_id == LIFE and client.chance.random() < 0.5
        done, added = await client.do(
            "append", session_id, client.repo.append(session_id, *messages, create=create), argument
        )
        if added is not None:
            done.result = {"revision": added.revision, "count": added.message_count, "asked": ()}
            client.world.reached["append: known message"] += bool(added.duplicates)
        if done.outcome not in {"unknown", "failed"}:
            break


# --- people


async def person(client: Client, session_id: str) -> None:
    """Renames, pins, sets values, answers questions."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        what = client.chance.choice(("title", "title", "value:key", "answer", "conditional"))
        if what == "answer":
            await _answer(client, session_id)
        else:
            await author(client, session_id, what)


async def author(client: Client, session_id: str, what: str) -> None:
    """Set the title or a value; `conditional`: the title, if nobody did so since it was looked at."""
    value = client.world.id("title")
    if_version = None
    if what == "conditional":
        what = "title"
        session = await load(client, session_id)
        if session is None:
            return
        if_version = session.metadata_version
        await client.pause()
    if what == "title":
        call = client.repo.rename(session_id, value, if_metadata_version=if_version)
    else:
        call = client.repo.set_value(session_id, "key", value)
    done, head = await client.do("author", session_id, call, (what, value, if_version))
    if head is not None:
        done.result = (head.metadata_version, head.revision)


async def _answer(client: Client, session_id: str) -> None:
    session = await load(client, session_id)
    if session is None or session.pending_question is None:
        return
    question = session.pending_question
    text = client.chance.choice(("yes", "no"))
    done, after = await client.do(
        "answer", session_id, client.repo.answer(session_id, question.id, text), (question.id, text)
    )
    if after is not None:
        done.result = (question.answer_message_id, after.revision)


async def reviser(client: Client, session_id: str) -> None:
    """Changes the latest state, in one go or in a block, and takes the last message away."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        what = client.chance.choice(("update", "edit", "remove_last"))
        if what == "update":
            model = client.world.id("model")
            await client.do("update", session_id, client.repo.update(session_id, _modelled(model)), model)
        elif what == "edit":
            await client.do("edit", session_id, _edit(client, session_id), None)
        else:
            done, removed = await client.do("remove_last", session_id, client.repo.remove_last(session_id))
            if removed is not None:
                done.result = tuple(message.id for message in removed)


def _modelled(model: str) -> Callable[[Session], None]:
    def change(session: Session) -> None:
        session.model = model

    return change


async def _edit(client: Client, session_id: str) -> None:
    async with client.repo.edit(session_id) as session:
        session.model = client.world.id("model")
        await client.pause()


# --- those who begin and end sessions


async def reaper(client: Client, session_id: str) -> None:
    """Deletes the session, and creates it again."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        if client.chance.random() < 0.4:
            done, deleted = await client.do("delete", session_id, client.repo.delete(session_id))
            done.result = deleted
        else:
            session = Session(session_id, client.world.id("model"), clock=client.process.clock)
            session.add_message(user(client))
            for _ in range(2):
                done, _ = await client.do("create", session_id, client.repo.create(session), session.messages[0].id)
                done.result = session.revision
                if done.outcome not in {"unknown", "failed"}:
                    break


async def reader(client: Client, session_id: str) -> None:
    """Looks."""
    for _ in range(2 * client.world.plan.rounds):
        await client.pause()
        await load(client, session_id)


async def forker(client: Client, session_id: str) -> None:
    """Forks."""
    for _ in range(2):
        await client.pause()
        id_ = client.world.id("fork")
        done, fork = await client.do("fork", session_id, client.repo.fork(session_id, new_id=id_), id_)
        done.result = view(fork)


Behaviour = Callable[[Client, str], Coroutine[Any, Any, None]]
Who = tuple[tuple[Behaviour, tuple[str, ...], int], ...]

WHO: Final[Who] = (
    (agent, (LOG, CHAT, CHAT, LIFE), 6),
    (appender, (LOG, LOG, CHAT, LIFE), 3),
    (person, (CHAT, LIFE), 3),
    (reviser, (CHAT, LIFE), 2),
    (reaper, (LIFE,), 2),
    (reader, (LOG, CHAT, LIFE), 2),
    (forker, (LOG, CHAT, LIFE), 1),
)
"""Who there is, on which sessions, and how many of a hundred or so. Further kinds of clients are added here."""
