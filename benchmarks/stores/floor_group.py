"""The floor for many tasks at once: see `floor`."""

from benchmarks.stores.floor import GroupingFloor

STORE = GroupingFloor
