"""What a store takes on disk for each message, after many turns: with indexes, and with the copies that some keep."""

from __future__ import annotations

from pathlib import Path

from bamboo_sessions.domain import json
from bamboo_sessions.domain.message import Message
from benchmarks.bench import Bench
from benchmarks.messages import texts, turn
from benchmarks.results import FLOOR
from benchmarks.stores.ours import messages_of
from benchmarks.targets import FILE


def run(bench: Bench) -> None:
    """Blocks on disk, a message; the floor here is the JSON of the messages, and nothing else."""
    turns = 100 if bench.quick else 1_000
    bench.progress(f"file size: {turns:,} turns")
    bench.open_all("size")
    bench.everywhere("repeat", key="size", method="prepare", args=["chat"])
    seconds_max = 3 * bench.seconds_max
    done = bench.everywhere("repeat", key="size", method="append", args=["chat"], times=turns, seconds_max=seconds_max)
    bench.everywhere("close", key="size")
    for name, answer in done.items():
        count = 2 * len(answer["seconds"])
        if count < 2 * turns:
            bench.note(f"{name}: {count:,} messages in {seconds_max:.0f} s, of {2 * turns:,} (file size)")
        if name != FLOOR:
            bench.add_value(FILE, name, _on_disk(Path(bench.path(name, "size"))) / count, "bytes")
    source = texts(bench.conversations)
    bodies = [len(json.encode(message)) for number in range(turns) for message in _said(source, number)]
    bench.add_value(FILE, FLOOR, sum(bodies) / len(bodies), "bytes")


def _said(source: list[str], number: int) -> list[Message]:
    return messages_of(turn(source, number + 1))


def _on_disk(path: Path) -> int:
    """Bytes of the blocks that a file, those beside it, or a folder take."""
    places = [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal")]
    found = [place for place in places if place.exists()]
    files = [file for place in found for file in ([place] if place.is_file() else place.rglob("*"))]
    return sum(file.stat().st_blocks * 512 for file in files)
