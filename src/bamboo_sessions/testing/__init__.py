"""What authors of storages and users need for their own tests.

Here: a clock that is moved by hand, and a storage that fails on purpose. In modules of their own, which need pytest or
hypothesis: `conformance` (the contract of every storage, as tests), `strategies` (values of every kind), and
`history_checker`.
"""

from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.faults import Fault, FaultyStorage, Stall

__all__ = ["Fault", "FaultyStorage", "ManualClock", "Stall"]
