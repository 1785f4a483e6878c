"""Brings lives to being and kills them: `python -m tests.kills.nursery MODULE FILE`, told by lines on its input.

`spawn LIFE SEED` starts a process that runs `MODULE.live(file, life, seed)`, `kill LIFE…` kills processes (SIGKILL) and
waits until they are gone. Each is a fork of this process, which has imported everything, has no threads, and never
opens the file: a life begins in milliseconds.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.kills.notes import Dead, say

Live = Callable[[Path, int, int], Coroutine[Any, Any, None]]


def spawn(live: Live, path: Path, life: int, seed: int) -> int:
    """Start a life; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(live(path, life, seed))
    except BaseException:  # noqa: BLE001 - a fork must never return into the nursery
        traceback.print_exc()
    say(Dead(life, status=1))
    os._exit(1)


def main() -> None:
    """Do what the input says until it ends; then kill all."""
    live: Live = importlib.import_module(sys.argv[1]).live
    path = Path(sys.argv[2])
    alive: dict[int, int] = {}

    def kill(lives: list[int]) -> None:
        for life in lives:
            os.kill(alive[life], signal.SIGKILL)
        for life in lives:
            say(Dead(life, os.waitpid(alive.pop(life), 0)[1]))

    for line in sys.stdin:
        verb, *numbers = line.split()
        if verb == "spawn":
            life, seed = map(int, numbers)
            alive[life] = spawn(live, path, life, seed)
        else:
            kill([int(number) for number in numbers])
    kill([*alive])


if __name__ == "__main__":
    main()
