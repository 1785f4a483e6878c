"""`BambooSession` beside the SDK's own sessions, in its runs, in several processes, and killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import LeaseLostError, Message, SessionBusyError, SessionRepository, SyncSessionRepository
from tests.formats.strategies import RESPONSES

agents = pytest.importorskip("agents")

from bamboo_sessions.adapters.openai_agents import BambooSession, Item, UsageHooks  # noqa: E402 - after the SDK's

pytestmark = pytest.mark.anyio

USER: Item = {"role": "user", "content": "Where is my order?"}
RESPONSE: list[Item] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}", "id": "fc_1"},
    {"type": "function_call", "call_id": "2", "name": "look", "arguments": "{}", "id": "fc_2"},
]
RESULTS: list[Item] = [{"type": "function_call_output", "call_id": id, "output": "on its way"} for id in "12"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of the test's own."""
    return f"sqlite:///{tmp_path}/agents.db"


# --- the same as theirs

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add_items"), st.lists(RESPONSES | st.sampled_from([USER, *RESPONSE, *RESULTS]), max_size=5)),
        st.tuples(st.just("get_items"), st.none() | st.integers(-1, 6)),
        st.tuples(st.just("pop_item")),
        st.tuples(st.just("pop_item")),
        st.tuples(st.just("clear_session")),
    ),
    max_size=40,
)
_numbers = count()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_any_story_is_as_with_theirs(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is added, read, popped and cleared, by two clients in turn, gives what `SQLiteSession` gives."""
    url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path_factory.mktemp('stories')}/agents.db"

    @given(steps=STEPS)
    def story(steps: list[Any]) -> None:
        name = str(next(_numbers))
        theirs = agents.SQLiteSession(name)
        ours = [BambooSession(name, url), BambooSession(name, url)]

        async def told() -> None:
            for number, (call, *args) in enumerate(steps):
                wanted = await getattr(theirs, call)(*json.loads(json.dumps(args)))
                assert await getattr(ours[number % 2], call)(*args) == wanted
            everything = await theirs.get_items()
            assert await ours[0].get_items() == everything

        asyncio.run(told())
        theirs.close()

    story()


async def test_a_response_is_one_message(url: str) -> None:
    """What the model gives in one go is one message; taken back item by item, what is left is still one."""
    session = BambooSession("s", url, owner="user:7", title="Orders", model="gpt-5.2")
    await session.add_items([USER])
    await session.add_items([*RESPONSE, *RESULTS])
    async with SessionRepository.open(url) as sessions:
        stored = await sessions.get("s")
        assert [message.role for message in stored.messages] == ["user", "assistant", "tool", "tool"]
        assert (stored.owner, stored.title, stored.model) == ("user:7", "Orders", "gpt-5.2")
        items = [USER, *RESPONSE, *RESULTS]
        while items:
            assert await session.get_items() == items
            assert await session.pop_item() == items.pop()
        assert await session.pop_item() is None
        assert (await sessions.check()).ok


async def test_what_others_add_shows(url: str) -> None:
    """A person's message is an item; an event isn't, and stays when items are popped."""
    session = BambooSession("s", url)
    async with SessionRepository.open(url) as sessions:
        await sessions.append("s", Message.user("By hand"), Message(role="event", content="tick"), create=True)
        assert await session.get_items() == await session.get_items(1) == [{"role": "user", "content": "By hand"}]
        assert await session.pop_item() == {"role": "user", "content": "By hand"}
        assert [message.role for message in (await sessions.get("s")).messages] == ["event"]


# --- more than theirs


async def test_people_work_on_it(url: str) -> None:
    """Titles, lists, search and forks are on what the SDK stored."""
    session = BambooSession("s", url, owner="user:7")
    assert await session.head() is None
    await session.add_items([USER])
    assert (await session.rename("Orders")).title == "Orders"
    fork = await session.fork("fork")
    await fork.add_items(RESULTS)
    assert (await fork.get_items(), await session.get_items()) == ([USER, *RESULTS], [USER])
    assert {each.session_id async for each in BambooSession.list(url, owner="user:7")} == {"s", "fork"}
    assert [each.session_id async for each in BambooSession.list(url, limit=1)] == ["fork"]
    assert {hit.session_id for hit in (await BambooSession.search(url, "order", owner="user:7")).hits} == {"s", "fork"}
    head = await session.head()
    assert head is not None
    assert (head.title, head.message_count) == ("Orders", 1)


async def test_a_run_is_alone(url: str) -> None:
    """Two runs take turns; what is written through a run's session is refused when somebody has taken over."""
    order: list[int] = []

    async def turn(number: int) -> None:
        async with BambooSession("s", url).run() as session:
            order.append(len(await session.get_items()))
            await session.add_items([{"role": "user", "content": str(number)}, {"role": "user", "content": "?"}])
            await session.pop_item()

    await asyncio.gather(*(turn(number) for number in range(4)))
    assert order == [0, 1, 2, 3]
    async with BambooSession("s", url).run() as session:
        with pytest.raises(SessionBusyError):
            async with BambooSession("s", url).run(on_busy="reject"):
                pass
        async with SessionRepository.open(url) as sessions:
            info = await sessions.lease_of("s")
            assert info is not None
            await sessions.release_lease("s", token=info.token)
            async with sessions.lease("s"):
                for write in (lambda: session.add_items([USER]), session.pop_item, session.clear_session):
                    with pytest.raises(LeaseLostError):
                        await write()
        assert len(await session.get_items()) == 4


async def test_a_closed_session(url: str) -> None:
    """It refuses calls as theirs does; another object of the same session goes on."""
    session = BambooSession("s", url)
    await session.add_items([USER])
    await session.aclose()
    for call in (session.get_items, lambda: session.add_items([]), session.pop_item, session.clear_session):
        with pytest.raises(RuntimeError, match="closed"):
            await call()
    assert await BambooSession("s", url).get_items() == [USER]


async def test_settings(url: str) -> None:
    """The SDK's settings limit what is read, given as an object or as a dict; unknown ones are refused."""
    for settings in ({"limit": 1}, agents.SessionSettings(limit=1)):
        session = BambooSession("s", url, session_settings=settings)
        await session.add_items([USER, *RESULTS])
        assert await session.get_items() == RESULTS[-1:]
    with pytest.raises(TypeError, match="limitt"):
        BambooSession("s", url, session_settings={"limitt": 1})


# --- with the SDK's runner


class Model(agents.Model):  # type: ignore[misc,name-defined,unused-ignore]  # without the SDK it has no type
    """A model that calls a tool, and then answers with how much it was given."""

    async def get_response(
        self,
        system_instructions: object,
        input: list[Item] | Any,  # noqa: ANN401 - or a text
        *args: object,
        **kwargs: object,
    ) -> object:
        """One response."""
        from openai.types.responses import (
            ResponseFunctionToolCall,
            ResponseOutputMessage,
            ResponseOutputText,
        )

        if not any(item.get("type") == "function_call_output" for item in input):
            call = ResponseFunctionToolCall(call_id="1", name="look", arguments="{}", type="function_call")
            output: list[Any] = [call]
        else:
            text = ResponseOutputText(text=f"Saw {len(input)} items.", type="output_text", annotations=[])
            output = [
                ResponseOutputMessage(id="msg", content=[text], role="assistant", status="completed", type="message")
            ]
        usage = agents.Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12)
        return agents.ModelResponse(output=output, usage=usage, response_id=None)

    def stream_response(self, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - never called
        """Nothing here streams."""
        raise NotImplementedError


@agents.function_tool  # type: ignore[untyped-decorator,unused-ignore]  # likewise
def look() -> str:
    """Look it up."""
    return "On its way."


async def test_a_run_of_the_sdk(url: str) -> None:
    """The runner stores all of a turn, with the tokens that it took, and goes on from it in the next."""
    agents.set_tracing_disabled(True)
    agent = agents.Agent("helper", model=Model(), tools=[look])
    session = BambooSession("s", url)
    result = await agents.Runner.run(agent, "Where is my order?", session=session, hooks=UsageHooks(session))
    assert result.final_output == "Saw 3 items."
    result = await agents.Runner.run(agent, "Sure?", session=BambooSession("s", url))
    assert result.final_output == "Saw 5 items."
    async with SessionRepository.open(url) as sessions:
        assert [message.role for message in (await sessions.get("s")).messages] == [
            "user", "assistant", "tool", "assistant", "user", "assistant",
        ]  # fmt: skip
        totals = await sessions.token_usage("s")
        assert (totals.input_tokens, totals.output_tokens) == (20, 4)


# --- processes

WRITER = """
import asyncio, sys
from bamboo_sessions.adapters.openai_agents import BambooSession

async def main():
    session = BambooSession("s", sys.argv[1])
    for number in range(int(sys.argv[3])):
        call = f"{sys.argv[2]}.{number}"
        await session.add_items([
            {"type": "function_call", "call_id": call, "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": call, "output": "done"},
        ])
        print(number, flush=True)

asyncio.run(main())
"""


def writer(url: str, name: str, turns: int) -> subprocess.Popen[str]:
    """A process that adds turns of a call and its result to the session `s`."""
    command = [sys.executable, "-c", WRITER, url, name, str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def calls_in(url: str) -> list[str]:
    """The calls of the session, each of which has its result right behind it; the store is sound."""
    items: list[Item] = asyncio.run(BambooSession("s", url).get_items())
    assert all(call["call_id"] == result["call_id"] for call, result in zip(items[::2], items[1::2], strict=True))
    with SyncSessionRepository.open(url) as sessions:
        assert sessions.check().ok
    return [item["call_id"] for item in items[::2]]


@pytest.mark.multiprocess
def test_two_processes_lose_nothing(url: str) -> None:
    """G2: both write one conversation at once; all turns are there, whole and in each one's order."""
    writers = [writer(url, name, 40) for name in "ab"]
    for each in writers:
        each.communicate(timeout=60)
        assert each.returncode == 0
    calls = calls_in(url)
    for name in "ab":
        assert [call for call in calls if call.startswith(name)] == [f"{name}.{number}" for number in range(40)]


@pytest.mark.multiprocess
def test_a_killed_process_leaves_what_it_had_acknowledged(url: str) -> None:
    """G1: SIGKILL in the middle of writing; all that was told is there, nothing is half there, and others go on."""
    victim = writer(url, "a", 10_000)
    assert victim.stdout is not None
    for _ in range(20):
        victim.stdout.readline()
    victim.kill()
    told = 20 + len(victim.communicate(timeout=60)[0].splitlines())
    assert told <= len(calls_in(url)) <= told + 1
    writer(url, "b", 1).communicate(timeout=60)
    assert calls_in(url)[-1] == "b.0"


def test_the_calls_are_the_protocol_s() -> None:
    """It is a session to the SDK."""
    kind: Callable[..., object] = BambooSession
    assert isinstance(kind("s", "memory://"), agents.memory.Session)
