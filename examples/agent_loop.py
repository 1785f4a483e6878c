"""An agent's loop: it saves after each step, and goes on where it was when it was stopped.

The model is a fake one. The second run opens the store anew, as another process would.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bamboo_sessions import Message, RuntimeSessionPersistence, Session, SessionRepository, TokenUsageRecord, ToolCall

CITIES = ("Lisbon", "Oslo", "Quito")


def fake_model(messages: Sequence[Message]) -> Message:
    """Ask for the weather of one city after another, then sum up."""
    results = [message.text for message in messages if message.role == "tool"]
    if len(results) < len(CITIES):
        city = CITIES[len(results)]
        return Message.assistant(tool_calls=[ToolCall(f"call-{len(results)}", "weather", {"city": city})])
    return Message.assistant("Here you are: " + ", ".join(results) + ".")


def weather(city: str) -> str:
    """The only tool."""
    return f"{city} is sunny"


async def step(persistence: RuntimeSessionPersistence, session: Session) -> bool:
    """Ask the model once, run its tools, save. Whether there is more to do."""
    reply = fake_model(session.messages)
    session.add_message(reply)
    await persistence.checkpoint_runtime_session(session)  # the call is durable before the tool runs
    for call in reply.tool_calls:
        assert isinstance(call.arguments, dict)
        session.add_message(Message.tool(weather(call.arguments["city"]), tool_call_id=call.id, name=call.name))
    session.run_state = {"status": "running" if reply.tool_calls else "done"}
    await persistence.save_runtime_session(session)
    usage = TokenUsageRecord(id=reply.id, model=session.model, input_tokens=120, output_tokens=8)
    await persistence.append_token_usage_record(session.id, usage)
    return bool(reply.tool_calls)


async def main() -> None:
    """Run two steps, stop, and run the rest."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "agents.db")

        async with SessionRepository.open(store) as sessions:
            session = await sessions.load_or_create("weather-1", model="fake-1")
            session.add_message(Message.user("How is the weather in Lisbon, Oslo and Quito?"))
            await step(sessions, session)
            await step(sessions, session)
            print(f"stopped after two steps: {session}")

        async with SessionRepository.open(store) as sessions:
            session = await sessions.get("weather-1")
            while await step(sessions, session):
                pass
            print(f"went on to the end:      {session}")
            print(session.messages[-1].text)
            totals = await sessions.token_usage("weather-1")
            print(f"{totals.calls} model calls, {totals.total_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main())
