"""Agents that rework what is there: edits, messages inside, calls whose results come later and by another way."""

from __future__ import annotations

import msgspec

from bamboo_sessions import Message, Session, ToolCall
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.testing.clock import START
from tests.simulation.clients import append_these, begin, change, remove, save, user
from tests.simulation.world import LIFE, Client, Work, World


async def editor(client: Client, session_id: str) -> None:
    """A runtime writer that edits, inserts and removes, and waits for its tools while others write."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        if client.copy is None or (client.is_accepted and client.chance.random() < 0.5):
            client.work = Work()
            client.copy = await begin(client, session_id)
        if client.copy is None:
            continue
        for _ in range(client.chance.randint(1, 3)):
            await _rework(client, client.copy, client.work)
        how = client.chance.choice(("save", "save", "save", "checkpoint", "save_best_effort"))
        await save(client, client.copy, client.work, how)


async def _rework(client: Client, copy: Session, work: Work) -> None:
    what = client.chance.choice(
        ("edit", "edit", "insert", "insert", "remove", "call", "result", "result", "title", "turn")
    )
    if what == "edit":
        edit(client, copy, work)
    elif what == "insert":
        insert(client, copy, work)
    elif what == "remove":
        remove(client, copy, work)
    elif what == "call":
        message = call(client, copy.id)
        copy.add_message(message)
        _note(client, work, message)
    elif what == "title" and copy.id == LIFE:  # whether titles have an order is asked of the chat
        copy.title = client.world.id("title")
    elif what == "result":
        await _result(client, copy, work)
    else:
        change(client, copy, work)


def edit(client: Client, copy: Session, work: Work) -> None:
    """Another text for a message of somebody's."""
    places = [place for place, message in enumerate(copy.messages) if message.role == "user"]
    if places:
        place = client.chance.choice(places[-3:])  # where others are at work as well
        text = client.world.id("edited")
        work.edited[copy.messages[place].id] = text
        copy.messages[place] = msgspec.structs.replace(copy.messages[place], content=text)


def insert(client: Client, copy: Session, work: Work) -> None:
    """A message between two turns: inside one it would tear it."""
    messages, world = copy.messages, client.world
    places = [
        place for place in range(1, len(messages)) if _is_between_turns(world, messages[place - 1], messages[place])
    ]
    if places:
        place = client.chance.choice(places)
        message = user(client)
        world.anchors[message.id] = messages[place - 1].id
        messages.insert(place, message)
        _note(client, work, message)


def _is_between_turns(world: World, before: Message, behind: Message) -> bool:
    return before.id in world.last_of_turns and behind.id in world.first_of_turns and behind.role != "tool"


def _note(client: Client, work: Work, message: Message) -> None:
    """The message is a turn of its own."""
    client.world.begin_turn((message.id,))
    work.turns.append((message.id,))


def call(client: Client, session_id: str) -> Message:
    """A message that calls a tool, whose result comes at some other time."""
    call_id = client.world.id("call")
    message = Message.assistant("", (ToolCall(call_id, "tool"),), id=client.world.id("m"), created_at=START)
    client.world.calls[call_id] = session_id
    return message


async def _result(client: Client, copy: Session, work: Work) -> None:
    """A result of a stored call, or of none here: saved with the copy, appended by the tool's process, or both."""
    calls = [call_id for call_id, of in client.world.calls.items() if of != copy.id or _is_stored(client, of, call_id)]
    if not calls:
        return
    call_id = client.chance.choice(calls)
    id_ = client.world.id("m")
    result = Message.tool(f"text of {id_}", tool_call_id=call_id, id=id_, created_at=START)
    how = client.chance.choice(("save", "append", "both"))
    if how != "append":
        copy.add_message(result)
        _note(client, work, result)
    if how != "save":
        await append_these(client, copy.id, (result,))


def _is_stored(client: Client, session_id: str, call_id: str) -> bool:
    """Whether the call can be found: a result that comes before its call stays where it is."""
    state = client.world.store.state(session_id)
    return isinstance(state, Snapshot) and any(call.id == call_id for m in state.messages for call in m.tool_calls)
