"""A storage that fails on purpose, in front of one that works.

`FaultyStorage(inner)` passes every call on to `inner` and makes exactly these faults, and no others:

| fault | what the caller meets | what `inner` holds afterwards |
|---|---|---|
| `fail(call)` | an error in place of the call | nothing of it: the call never reached `inner` |
| `fail(call, after=True)` | an error, `outcome_unknown`, in place of the answer | all of it: the commit is there |
| `fail(call, unknown=True)` | an error, `outcome_unknown` | nothing of it: the request was lost on its way |
| `fail(call, StorageCorruptError)` | what is stored can't be read (any `StorageError` class can be named) | as before |
| `stall(call)` | no answer until `release()`, then the real one | nothing of it until `release()` |
| `stall(call, after=True)` | likewise | all of it, while the caller still waits |
| `at_random(seed, …)` | the errors above, and stalls of a few steps of the event loop | one of the above |

Each is scripted for one call name (or every call): for the k-th call from now on, for so many calls, or while it is
switched on (`fault.stop()`, or `with storage.fail(…, times=None):`). The synchronous calls can't stall; a failing
`still_newest` can't tell (`None`), and `listen` never fails. Half-written commits, wrong answers and lost acknowledged
commits are not made here: no engine may ever do that, whatever happens.
"""

from bamboo_sessions.testing.faults.calls import CALLS, LIFE, READS, SYNCHRONOUS, WRITES
from bamboo_sessions.testing.faults.fault import Fault, Stall
from bamboo_sessions.testing.faults.storage import FaultyStorage

__all__ = ["CALLS", "LIFE", "READS", "SYNCHRONOUS", "WRITES", "Fault", "FaultyStorage", "Stall"]
