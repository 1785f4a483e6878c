"""An independent check of a store: what was acknowledged against what is there.

For soak tests: every writer notes what was acknowledged, *after* the call returned, one JSON line each (`to_line`).
At the end, or after a crash, somebody reads the store back in a fresh process and compares (`check_history`). The
checker knows nothing of saves and merges. It holds the store to these guarantees and no others:

- G2: an acknowledged message is there exactly once, until an acknowledged removal;
- G3: the messages of one commit stand next to one another, in order, and a tool's result behind its call;
- G5: what a person set stands, and `metadata_version` never goes back;
- G6: a question is answered once, and doesn't re-open.

What nobody acknowledged (a writer was killed between commit and note) is no fault, whether it is there or not.

```python
log.write(to_line(TurnAcknowledged("chat-42", "writer-1", ("m1", "m2"))))
…
verdict = check_history(read_lines(log), [StoredSession.of(await sessions.get("chat-42"))])
assert verdict.ok, verdict.findings
```
"""

from bamboo_sessions.testing.history_checker.check import check_history
from bamboo_sessions.testing.history_checker.notes import (
    Acknowledgement,
    AnswerAcknowledged,
    ChangeAcknowledged,
    DeletionAcknowledged,
    QuestionAcknowledged,
    RemovalAcknowledged,
    TurnAcknowledged,
    read_lines,
    to_line,
)
from bamboo_sessions.testing.history_checker.stored import StoredMessage, StoredSession
from bamboo_sessions.testing.history_checker.verdict import Fault, Finding, Verdict

__all__ = [
    "Acknowledgement",
    "AnswerAcknowledged",
    "ChangeAcknowledged",
    "DeletionAcknowledged",
    "Fault",
    "Finding",
    "QuestionAcknowledged",
    "RemovalAcknowledged",
    "StoredMessage",
    "StoredSession",
    "TurnAcknowledged",
    "Verdict",
    "check_history",
    "read_lines",
    "to_line",
]
