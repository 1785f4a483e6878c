"""Judges one cut of a kept recording again: `python -m tests.power_cut.repeat RECORDING CUT SURVIVAL [FOLDER]`.

`SURVIVAL` is a name as a failure prints it; what was left on the disk is written to `FOLDER`, if one is named.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bamboo_sessions.testing.power_cut import WORST, Replay, at_random
from tests.power_cut.recovery import Judge, Recording


def main(recording_path: str, cut: str, survival_name: str, folder: str | None = None) -> None:
    """Print the last operations before the cut, and the verdict."""
    recording = msgspec.msgpack.decode(Path(recording_path).read_bytes(), type=Recording)
    known = {survival.name: survival for survival in WORST}
    survival = known.get(survival_name) or at_random(int(survival_name.rpartition(" ")[2]))
    replay = Replay(recording.before)
    for operation in recording.operations[: int(cut)]:
        replay.step(operation)
    for operation in recording.operations[max(0, int(cut) - 20) : int(cut)]:
        sys.stdout.write(f"{operation}\n")
    image = replay.image(survival)
    verdict = Judge(recording).verdict(int(cut), survival, image)
    sys.stdout.write(f"{verdict or 'nothing is wrong'}\n")
    if folder is not None:
        for name, content in image.items():
            (Path(folder) / name).write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
