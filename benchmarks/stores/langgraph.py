"""LangGraph, `AsyncSqliteSaver`: WAL, synchronous = FULL (SQLite's default); a checkpoint holds the whole state.

A turn is `aupdate_state` on a graph with a message list, which writes one checkpoint. Running the graph (`ainvoke`)
writes more of them and takes about twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.stores.base import Store


async def _chat(_state: dict[str, Any]) -> dict[str, Any]:
    return {"messages": []}


class LangGraph(Store):
    """A graph with one node, compiled with the saver; a thread for each session."""

    async def open(self) -> None:
        self._saving = AsyncSqliteSaver.from_conn_string(str(self.path))
        builder = StateGraph(MessagesState)
        builder.add_node("chat", _chat)
        builder.add_edge(START, "chat")
        self._graph = builder.compile(checkpointer=await self._saving.__aenter__())

    async def close(self) -> None:
        await self._saving.__aexit__(None, None, None)

    async def append(self, session: str, texts: Sequence[str]) -> None:
        said = [AIMessage(text) if n % 2 else HumanMessage(text) for n, text in enumerate(texts)]
        await self._graph.aupdate_state(_config(session), {"messages": said}, as_node="chat")

    async def load(self, session: str) -> int:
        state = await self._graph.aget_state(_config(session))
        return len(state.values.get("messages", ()))


def _config(session: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": session}}


STORE = LangGraph
