"""What the simulated disk records, and what its power cuts leave."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from bamboo_sessions.testing.disk import SimulatedDisk
from bamboo_sessions.testing.power_cut import SECTOR, WORST, Operation, Replay, Survival, at_random

NOTHING, EVERYTHING = WORST[:2]
A, B = b"a" * SECTOR, b"b" * SECTOR


def _replay(*operations: Operation, before: dict[str, bytes] | None = None) -> Replay:
    replay = Replay(before)
    for operation in operations:
        replay.step(operation)
    return replay


def _write(data: bytes, offset: int = 0) -> Operation:
    return Operation("write", -1, "f", offset, data)


SYNC = Operation("sync", -1, "f")


def test_only_what_is_synced_survives_at_worst() -> None:
    """A cut loses writes after the last sync of their file, and keeps those before it."""
    replay = _replay(_write(A), SYNC, _write(B), before={"f": b""})
    assert replay.image(NOTHING) == {"f": A}
    assert replay.image(EVERYTHING) == {"f": B}


def test_a_write_is_torn_at_a_sector() -> None:
    """Of a write over several sectors some may be there and some not; nothing beside it is touched."""
    replay = _replay(_write(B + B, offset=10), before={"f": A + A + A})
    torn = replay.image(Survival("torn", 1, 1, last="torn"))["f"]
    assert torn == A[:10] + b"b" * (2 * SECTOR - 10) + A
    found = {replay.image(Survival("", 0.5, 1, seed=seed))["f"] for seed in range(100)}
    assert len(found) == 8


def test_a_later_write_may_survive_an_earlier_one() -> None:
    """Writes without a sync between them may arrive in any order; where bytes are missing there are zeros."""
    replay = _replay(_write(A), _write(B, offset=SECTOR), before={"f": b""})
    assert replay.image(Survival("", 1, 1, oldest=False)) == {"f": bytes(SECTOR) + B}
    image = replay.image(Survival("", 0, 1, sizes=True, rubbish=True))["f"]
    assert len(image) == 2 * SECTOR
    assert image[:SECTOR] not in {A, bytes(SECTOR)}


def test_names_are_durable_with_their_folder() -> None:
    """A new file may be gone and a deleted one back, until the folder is synced, whatever was synced in the file."""
    new = Operation("create", 1, "g")
    written = (new, Operation("write", 1, "g", 0, A), Operation("sync", 1, "g"), Operation("delete", -1, "f"))
    assert _replay(*written, before={"f": B}).image(NOTHING) == {"f": B}
    synced = Operation("sync", 1, "g", folder=True)
    assert _replay(*written, synced, before={"f": B}).image(NOTHING) == {"g": A}


def test_after_a_failed_sync_a_later_one_proves_nothing() -> None:
    """What a failed sync should have saved may be lost after any later sync; what was written since is safe."""
    failed = Operation("failed_sync", -1, "f")
    replay = _replay(_write(A), failed, _write(B, offset=SECTOR), SYNC, before={"f": b""})
    assert replay.image(NOTHING) == {"f": bytes(SECTOR) + B}
    assert replay.image(EVERYTHING) == {"f": A + B}


def test_a_truncation_may_be_lost() -> None:
    """A cut file may have its old length again."""
    replay = _replay(Operation("truncate", -1, "f", 3), before={"f": A})
    assert (replay.image(NOTHING)["f"], replay.image(EVERYTHING)["f"]) == (A, A[:3])


def test_the_same_seed_leaves_the_same() -> None:
    """A random survival is repeated by its seed."""
    replay = _replay(*(_write(bytes([number]) * SECTOR, number * SECTOR) for number in range(20)), before={"f": b""})
    assert replay.image(at_random(7)) == replay.image(at_random(7))


def test_what_is_recorded_is_what_happened(tmp_path: Path) -> None:
    """Replayed to its end, the recording is the folder as it is; files elsewhere aren't recorded."""
    (tmp_path / "watched").mkdir()
    path = tmp_path / "watched" / "a.db"
    with SimulatedDisk(path.parent) as disk:
        connection = apsw.Connection(str(path))
        connection.execute("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)").fetchall()
        apsw.Connection(str(tmp_path / "b.db")).execute("CREATE TABLE t (a)").connection.close()
        image = _replay(*disk.operations).image(EVERYTHING)
        assert image == {
            file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")
        }
        connection.close()
    assert {operation.name for operation in disk.operations} == {"a.db", "a.db-journal", "a.db-wal"}
    assert apsw.Connection(str(path)).open_vfs == "unix"


def test_the_named_operation_fails_and_no_other(tmp_path: Path) -> None:
    """The k-th operation of a kind fails; before and after it the disk works."""
    with SimulatedDisk(tmp_path) as disk:
        connection = apsw.Connection(str(tmp_path / "a.db"))
        connection.execute("CREATE TABLE t (a)")
        fault = disk.fail("full", "write", file=".db", nth=2)
        with pytest.raises(apsw.FullError):
            connection.execute("INSERT INTO t VALUES (zeroblob(9000))")
        assert (fault.hits, fault.struck) == (1, "write a.db")
        connection.execute("INSERT INTO t VALUES (zeroblob(9000))")
        with disk.fail("io", "sync", times=None), pytest.raises(apsw.IOError):
            connection.execute("INSERT INTO t VALUES (3)")
        connection.execute("INSERT INTO t VALUES (4)")
        assert connection.execute("SELECT count(*) FROM t").get == 2
        connection.close()
