"""The repository against a plain model, under random interleavings of everything that can be done to sessions.

Several working copies of any age, two repositories on one SQLite file (one of them with hardly any cache), deletions
and new lives, lost answers of storage. After each step storage, a cached load and a fresh load have to agree with one
another and with the model (G2, G4, G5, G6, G7, G9).
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from bamboo_sessions import (
    MemoryStorage,
)
from tests.model.machine import Storage
from tests.model.operations import Operations

IDS = ("a", "b")

sids = st.sampled_from(IDS)
numbers = st.integers(0, 15)


class Sessions(Operations):
    """Everything that writers do, in any order."""

    @initialize()
    def open(self) -> None:
        """There is a session to begin with."""
        self.open_repositories()
        self.append("a", 0, [0, 3, 3], create=True)

    # --- the rules: few, for hypothesis switches whole rules off in many of its runs

    @rule(
        what=st.sampled_from(
            ["load", "twin", "add", "add", "rework", "rework", "field", "ask", "save", "save", "down"]
        ),
        sid=sids,
        number=numbers,
        value=numbers,
        flag=st.booleans(),
    )
    def run_works(self, what: str, sid: str, number: int, value: int, flag: bool) -> None:
        """A run does something with a working copy of any age."""
        if what == "load" or not self.copies:
            self.load(sid, number)
        elif what == "twin":
            self.twin(number)
        elif what == "add":
            self.add(number, [value % 4, number % 4][: 1 + flag])
        elif what == "rework" and any(copy.session.messages for copy in self.copies):
            self.rework(number, value, ("insert", "edit", "remove", "replace")[(value + 2 * flag) % 4])
        elif what == "field" and any(copy.work.seen for copy in self.copies):
            self.set_field(number, value, ("model", "note", "forget", "title")[(value + flag) % 4])
        elif what == "ask":
            self.question(number, ("ask", "withdraw", "consume")[value % 3])
        elif what == "save":
            copy = self.copy(number)
            if value % 3 == 1:
                self.twin(number)  # somebody has the same work, and will save it later
            self.save(copy, additions_only=value == 0, elsewhere=flag)
        elif what == "down":
            self.save_while_storage_is_down(number)

    @rule(
        what=st.sampled_from(["append", "append", "append again", "update", "author", "author", "ask", "answer"]),
        sid=sids,
        repo=numbers,
        value=numbers,
        flag=st.booleans(),
    )
    def somebody_changes(self, what: str, sid: str, repo: int, value: int, flag: bool) -> None:
        """Somebody changes the latest state."""
        which = value * 3 + repo
        if what == "append":
            self.append(sid, repo, [value % 4, which % 4][: 1 + flag], create=value % 2 == 0)
        elif what == "append again" and self.originals:
            self.append_again(which, repo, other=flag)
        elif what == "update":
            self.update(sid, repo, value, block=flag)
        elif what == "author":
            self.author(sid, repo, value, ("rename", "pin", "set", "remove")[which % 4])
        elif what == "ask":
            self.ask(sid, repo, value)
        elif what == "answer" and any(kept.questions for kept in self.plain.living.values()):
            self.answer(value, repo, int(flag))

    @rule(
        what=st.sampled_from(
            ["remove", "remove", "rewrite", "rewrite", "create", "child", "delete", "clean", "fork", "lose", "lose"]
        ),
        sid=sids,
        repo=numbers,
        value=numbers,
    )
    def something_happens(self, what: str, sid: str, repo: int, value: int) -> None:
        """Histories are rewritten, sessions begin and end, storage has trouble."""
        if what == "remove":
            self.remove_last(sid, repo, 1 + value % 3)
        elif what == "rewrite" and any(kept.order for kept in self.plain.living.values()):
            self.rewrite(value, repo, value // 2, ("truncate", "clear", "replace", "replace")[value % 4])
        elif what == "create":
            self.create(sid, repo)
        elif what == "child":
            self.create_child(sid, repo)
        elif what == "delete":
            self.delete(sid, repo)
        elif what == "clean":
            self.clean_up(repo)
        elif what == "fork":
            self.fork(sid, repo, value)
        elif what == "lose":
            self.lose_an_answer(repo, ("commit", "commit", "still_newest")[value % 3])


class SessionsInMemory(Sessions):
    """One repository on the reference engine."""

    two_repositories = False

    def _storage(self) -> Storage:
        return Storage(MemoryStorage())


TestSessions = Sessions.TestCase
TestSessions.settings = settings(stateful_step_count=40)
TestSessionsInMemory = SessionsInMemory.TestCase
TestSessionsInMemory.settings = settings(stateful_step_count=40)
