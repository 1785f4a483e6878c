"""A storage that behaves as an engine on a network does: the lagging twin of the memory engine.

`LaggingDatabase(seed)` is a database, and each `connect()` gives the storage of another host, which hears of the others
through notifications. What passes on it relies on none of SQLite's luck. Exactly this goes wrong:

- `is_exact` is false: `still_newest` answers from what the host has read, written and been notified of.
- Notifications of other hosts come late, and not in their order; some come twice, some not at all. The host notices the
  latter after a while, forgets all that it has heard, and tells those who listen that anything may have happened.
- A commit is seen in the feed only a while after it was acknowledged, and perhaps before commits of other sessions that
  were acknowledged earlier; pages say when to look again. Only with
  `feed_delay_seconds_max`.
- Leases are meant by the database's clock, which no host shares.
- Every call gives other tasks a few turns before it reaches the database, and again before its answer is there.
- Connections are cut when a test says so, before or after a commit: a `LaggingStorage` is a `FaultyStorage`.

What a host did itself it knows at once. Nothing that was acknowledged is ever lost.

`delay_seconds_max=None` puts the test in charge: nothing is notified until `deliver()`. Otherwise the seed decides, and
times are those of the event loop, so that a simulated loop simulates them.
"""

from bamboo_sessions.testing.lagging.database import LaggingDatabase
from bamboo_sessions.testing.lagging.storage import LaggingStorage

__all__ = ["LaggingDatabase", "LaggingStorage"]
