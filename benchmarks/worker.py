"""The process that drives one store: `python -m benchmarks.worker STORE [CONVERSATIONS]`. The standard library only.

It reads calls from its input and writes answers, as JSON lines; times are taken here, so the pipe isn't in them. It
runs in the store's own environment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.messages import history, texts, turn
from benchmarks.processes import run_processes
from benchmarks.stores.base import Store, Unsupported, store_class

_CHUNK = 100
"""Messages that are filled in at once where a store takes them one by one."""
_LOOK_AHEAD_SECONDS = 2.0
"""After how long a fill is judged by its pace."""


class Worker:
    """The stores that are open here, by key, and the calls on them."""

    def __init__(self, make: type[Store], source: Sequence[str]) -> None:
        self._make = make
        self._source = source
        self._stores: dict[str, Store] = {}
        self._turns = 0

    async def open(self, key: str, path: str) -> None:
        """Open the store on a file, under a key."""
        self._stores[key] = self._make(Path(path))
        await self._stores[key].open()

    async def close(self, key: str) -> None:
        """Close the store; everything is in its files then."""
        await self._stores.pop(key).close()

    async def reopen(self, key: str) -> Store:
        """A new store object on the same file."""
        store = self._stores[key]
        await store.close()
        self._stores[key] = store = self._make(store.path)
        await store.open()
        return store

    async def fill(self, key: str, session: str, length: int, seconds_max: float) -> dict[str, float]:
        """Fill a session up to `length` messages; gives up as soon as it would take longer than `seconds_max`."""
        store = self._stores[key]
        await store.prepare(session)
        messages = history(self._source, length)
        chunk = length if store.bulk else _CHUNK
        start = time.perf_counter()
        done = 0
        while done < length:
            await store.fill(session, messages[done : done + chunk])
            done = min(done + chunk, length)
            spent = time.perf_counter() - start
            if spent > min(_LOOK_AHEAD_SECONDS, seconds_max) and spent / done * length > seconds_max:
                break
        return {"count": done, "seconds_expected": (time.perf_counter() - start) / done * length}

    async def repeat(
        self,
        *,
        key: str,
        method: str,
        args: Sequence[Any] = (),
        times: int = 1,
        before: str | None = None,
        cold: bool = False,
        seconds_max: float = 1e9,
    ) -> dict[str, Any]:
        """Time a method `times` times, or until `seconds_max` have passed; its last result comes along.

        `before` is called in front of each, untimed; with `cold` each is called on a new store object. Calls that
        append get a new turn each.
        """
        seconds: list[float] = []
        result: object = None
        end = time.perf_counter() + seconds_max
        while len(seconds) < times and (not seconds or time.perf_counter() < end):
            store = await self.reopen(key) if cold else self._stores[key]
            if before is not None:
                await getattr(store, before)()
            work = self._call(store, method, args)
            start = time.perf_counter()
            result = await work()
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "result": result}

    def _call(self, store: Store, method: str, args: Sequence[Any]) -> Callable[[], Awaitable[object]]:
        call = getattr(store, method)
        if method.startswith("append"):
            self._turns += 1
            args = (*args, turn(self._source, self._turns))
        return lambda: call(*args)

    async def starting(self, key: str, session: str, times: int) -> list[float]:
        """Seconds from opening an existing file until a first load is done."""
        seconds = []
        for _ in range(times):
            store = self._stores[key]
            await store.close()
            start = time.perf_counter()
            store = self._stores[key] = self._make(store.path)
            await store.open()
            await store.load(session)
            seconds.append(time.perf_counter() - start)
        return seconds

    async def talk(
        self, *, key: str, prefix: str, tasks: int, sessions: int, turns: int, seconds_max: float
    ) -> dict[str, Any]:
        """`sessions` conversations of `turns` turns, kept going by `tasks` tasks: turns a second, and what is there."""
        store = self._stores[key]
        names = [f"{prefix}-{number}" for number in range(sessions)]
        for name in names:
            await store.prepare(name)
        waiting = iter(names)
        said = dict.fromkeys(names, 0)
        start = time.perf_counter()

        async def work() -> None:
            for name in waiting:
                for number in range(turns):
                    if time.perf_counter() - start > seconds_max:
                        return
                    await store.append(name, turn(self._source, number))
                    said[name] += 2

        await asyncio.gather(*(work() for _ in range(tasks)))
        seconds = time.perf_counter() - start
        found = {name: await store.load(name) for name, count in said.items() if count}
        lost = sum(count - found[name] for name, count in said.items() if count)
        return {"turns": sum(said.values()) // 2, "seconds": seconds, "lost": lost}

    async def memory(self, key: str, session: str) -> dict[str, int]:
        """Bytes that Python allocates for a load: at its peak, and for what stays with the store afterwards."""
        store = await self.reopen(key)
        await store.load("nobody")  # what only a first call allocates
        await self.reopen(key)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await self._stores[key].load(session)
        peak = tracemalloc.get_traced_memory()[1] - before
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return {"peak": peak, "kept": kept}


def _answers(name: str, conversations: str | None, calls: IO[str]) -> Any:  # noqa: ANN401 - a generator of JSON
    source = texts(Path(conversations) if conversations else None)
    make = store_class(name)
    worker = Worker(make, source)
    yield {"result": "ready"}
    with asyncio.Runner() as runner:
        for line in calls:
            call = json.loads(line)
            name = call.pop("call")
            try:
                if name == "processes":  # these fork, so no event loop may be running
                    yield {"result": run_processes(make, source, **call)}
                else:
                    yield {"result": runner.run(getattr(worker, name)(**call))}
            except Unsupported:
                yield {"unsupported": True}
            except Exception as exc:  # noqa: BLE001 - the harness decides what it means
                yield {"error": f"{type(exc).__name__}: {exc}"}


def main() -> None:
    """Answer calls until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # some keep a connection for each session and thread
    for answer in _answers(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, sys.stdin):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
