"""Everything that writers do to sessions, in the system and in the model alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from bamboo_sessions import (
    PendingQuestion,
    Session,
)
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import is_clean
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.testing.conformance.kit import SECOND
from tests.model.machine import ERRORS, Copy, Machine, outcome_of
from tests.model.plain import PlainStore, Refused, Work

COPIES_MAX = 4


class Operations(Machine):
    """One method for each thing that can be done."""

    def begin(self) -> None:
        """There is a session to begin with."""
        self.open_repositories()
        self.append("a", 0, [1, 0, 0], create=True)

    # --- working copies

    def load(self, sid: str, repo: int) -> None:
        """Somebody takes a working copy."""
        repository = self.repository(repo)
        self.hear()  # what is loaded may be late; what is written then may not

        def begin() -> Work:
            if sid in self.plain.dead:
                raise Refused("deleted")
            return self.plain.begin(sid)

        session = self.expect(repository.load_or_create(sid), begin)
        if session is not None:
            self._add_copy(Copy(session, self.plain.begin(sid), repository))

    def _add_copy(self, copy: Copy) -> None:
        self.copies.append(copy)
        if len(self.copies) > COPIES_MAX:
            self.copies.pop(0)

    def forget(self, copy: Copy) -> None:
        """A copy is thrown away."""
        self.copies = [each for each in self.copies if each is not copy]

    def copy(self, number: int) -> Copy:
        """One of the copies."""
        return self.copies[number % len(self.copies)]

    def twin(self, number: int) -> None:
        """Somebody copies a copy, unsaved work included."""
        one = self.copy(number)
        self._add_copy(Copy(one.session.copy(), _copied(one.work), one.repository))

    def add(self, number: int, kinds: list[int]) -> None:
        """A copy gets messages at its end."""
        copy = self.copy(number)
        for kind in kinds:
            message = self.message(kind, [m.id for m in copy.session.messages])
            copy.session.add_message(message)
            copy.work.added[message.id] = message.text

    def rework(self, number: int, place: int, how: str) -> None:
        """A copy's history is changed inside."""
        copies = [copy for copy in self.copies if copy.session.messages]
        copy = copies[number % len(copies)]
        messages, work = copy.session.messages, copy.work
        index = place % len(messages)
        old = messages[index]
        if how == "edit":
            text = f"edit {self.fresh_id('')}"
            messages[index] = msgspec.structs.replace(old, content=text)
            work.edit(old.id, text)
        elif how == "remove":
            del messages[index]
            work.remove(old.id)
        else:
            new = self.message(0, [])
            if how == "insert":
                messages.insert(index, new)
            else:
                end = next((i for i in range(index + 1, len(messages)) if messages[i].role != "tool"), len(messages))
                for message in messages[index:end]:
                    work.remove(message.id)
                messages[index:end] = [new]
            work.added[new.id] = new.text

    def set_field(self, number: int, value: int, what: str) -> None:
        """A copy's fields are changed."""
        copies = [copy for copy in self.copies if copy.work.seen]
        copy = copies[number % len(copies)]
        session, work = copy.session, copy.work
        assert work.seen is not None
        name = f"note{value % 2}"
        if what == "model":
            session.model = f"model {value}"
            work.model = session.model if session.model != work.seen.model else None
        elif what == "title":
            session.title = f"copy's title {value}"
            work.title = session.title
        else:
            note = value if what == "note" else None
            session.metadata.pop(name, None)
            if note is not None:
                session.metadata[name] = note
            work.notes.pop(name, None)
            if note != work.seen.notes.get(name):
                work.notes[name] = note

    def question(self, number: int, what: str) -> None:
        """A run asks, withdraws its questions, or takes an answer up."""
        copy = self.copy(number)
        session, work = copy.session, copy.work
        if what == "ask":
            id_ = self.fresh_id("q")
            session.set_pending_question(PendingQuestion(f"no call {id_}", "ask", "?", id=id_))
            work.asked.add(id_)
        elif what == "withdraw":
            work.withdrawn |= {question.id for question in session.questions if question.is_open}
            session.clear_pending_question()
        else:
            for question in session.questions:
                if question.state == "answered":
                    session.consume_question(question.id)
                    work.consumed.add(question.id)

    def save(self, copy: Copy, *, additions_only: bool, elsewhere: bool) -> None:
        """A copy is saved or checkpointed, by its repository or by another one; afterwards it is up to date."""
        repository = self.repository(self.repositories.index(copy.repository) + elsewhere)
        write = repository.checkpoint if additions_only else repository.save
        work = copy.work
        report = self.expect(write(copy.session), lambda: self.plain.save(work, additions_only=additions_only))
        self.check(work.sid)
        if report is None:
            self.forget(copy)  # refused for good
            return
        kept = self.plain.living[work.sid]
        assert report.revision == kept.revision == copy.session.revision
        copy.work = self.plain.rework(work, additions_only=additions_only)
        expected = {id_: copy.work.edited.get(id_, text) for id_, text in kept.texts.items()}
        for id_ in copy.work.removed:
            del expected[id_]
        assert {message.id: message.text for message in copy.session.messages} == expected
        if not additions_only:
            assert is_clean(copy.session)
            assert [message.id for message in copy.session.messages] == kept.order

    def save_while_storage_is_down(self, number: int) -> None:
        """A tolerant save waits in memory, is seen by loads, and becomes durable once storage is back."""
        copy = self.copy(number)
        work, repository = copy.work, copy.repository
        self.forget(copy)
        before = self.plain.living.get(work.sid)
        known = before.known if before else {}
        with self.storages[self.repositories.index(repository)].fail("commit", times=None):
            durable, error = self.run(outcome_of(repository.save_best_effort(copy.session)))
            former_life = before is not None and work.seen is not None and before.incarnation != work.incarnation
            if durable is False and not former_life:
                shown = self.run(repository.load(work.sid))
                assert shown is None or {m.id for m in shown.messages} >= set(work.added) - set(known)
        unsaved = [each.code for each in self.run(repository.flush())]
        if error is not None:
            unsaved.append(error.code)
        expected: list[str] = []
        try:
            self.plain.save(work)
        except Refused as refused:
            expected.append(ERRORS[refused.why].code)
        assert unsaved == expected
        self._may_take_title(work)
        self.clock.move(SECOND)
        self.check(work.sid)

    def _may_take_title(self, work: Work) -> None:
        """A title that was accepted beside the newest state that was *known* stands: its version is higher."""
        kept = self.plain.living.get(work.sid)
        state = self.run(self.storages[0].read(SessionKey("default", work.sid)))
        if kept is None or not isinstance(state, Snapshot):
            return
        if state.head.title == work.title != kept.title:
            kept.title = work.title
            kept.bump()

    # --- changes of the latest state

    def append(self, sid: str, repo: int, kinds: list[int], create: bool) -> None:
        """Messages are appended without loading."""
        kept = self.plain.living.get(sid)
        messages = [self.message(kind, kept.order if kept else []) for kind in kinds]

        def plan() -> None:
            target = self.plain.living.get(sid)
            if target is None and create and sid not in self.plain.dead:
                target = self.plain.create(sid)
            target = target or self.plain.state(sid)
            for message in messages:
                target.store(message.id, message.text)

        appended = self.expect(self.repository(repo).append(sid, *messages, create=create), plan)
        self.check(sid)
        assert appended is None or appended.revision == self.plain.living[sid].revision

    def append_again(self, which: int, repo: int, other: bool) -> None:
        """A message of some time ago is appended again, as it was, or with other content."""
        (sid, incarnation, id_), message = list(self.originals.items())[which % len(self.originals)]
        if other:
            message = msgspec.structs.replace(message, content=f"other {self.fresh_id('')}")

        def plan() -> None:
            kept = self.plain.state(sid)
            if kept.incarnation != incarnation:
                raise Refused("deleted")
            if message.text not in kept.known[id_]:
                raise Refused("conflict")

        call = self.repository(repo).append(sid, message, incarnation=incarnation)
        appended = self.expect(call, plan)
        assert appended is None or appended.duplicates == (id_,)
        self.check(sid)

    def update(self, sid: str, repo: int, value: int, block: bool) -> None:
        """The latest state is changed by a function, or in a block."""
        repository = self.repository(repo)
        message = self.message(0, [])

        def change(session: Session) -> None:
            session.add_message(message)
            session.model = f"model {value}"
            session.title = f"title {value}"

        async def in_block() -> None:
            async with repository.edit(sid) as session:
                change(session)

        def plan() -> None:
            kept = self.plain.state(sid)
            kept.store(message.id, message.text)
            kept.model = f"model {value}"
            if kept.title != f"title {value}":
                kept.title = f"title {value}"
                kept.bump()

        self.expect(in_block() if block else repository.update(sid, change), plan)
        self.check(sid)

    def author(self, sid: str, repo: int, value: int, what: str) -> None:
        """A person renames, pins, or sets values."""
        repository = self.repository(repo)
        name = f"value{value % 2}"
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "rename": lambda: repository.rename(sid, f"person's {value}"),
            "pin": lambda: repository.pin(sid, pinned=value % 2 == 0),
            "set": lambda: repository.set_value(sid, name, value),
            "remove": lambda: repository.remove_value(sid, name),
        }

        def plan() -> None:
            kept = self.plain.state(sid)
            before = (kept.title, kept.pinned, dict(kept.values))
            if what == "rename":
                kept.title = f"person's {value}"
            elif what == "pin":
                kept.pinned = value % 2 == 0
            elif what == "set":
                kept.values[name] = value
            else:
                kept.values.pop(name, None)
            if before != (kept.title, kept.pinned, kept.values):
                kept.bump()

        self.expect(calls[what](), plan)
        self.check(sid)

    def ask(self, sid: str, repo: int, value: int) -> None:
        """A question is asked on the latest state, for a call or not."""
        kept = self.plain.living.get(sid)
        calls = [id_ for id_ in kept.order if id_.startswith("call")] if kept else []
        id_ = self.fresh_id("q")
        call_id = f"id-{calls[value % len(calls)]}" if calls else "no call"

        def plan() -> None:
            self.plain.save(_asking(self.plain, sid, id_))

        self.expect(self.repository(repo).ask(sid, PendingQuestion(call_id, "ask", "?", id=id_)), plan)
        self.check(sid)

    def answer(self, which: int, repo: int, value: int) -> None:
        """A person answers a question, the first time or again."""
        asked = [(kept.id, id_) for kept in self.plain.living.values() for id_ in kept.questions]
        sid, id_ = asked[which % len(asked)]
        text = f"answer {value}"
        self.expect(self.repository(repo).answer(sid, id_, text), lambda: self.plain.answer(sid, id_, text))
        self.check(sid)

    # --- rewriting

    def remove_last(self, sid: str, repo: int, n: int) -> None:
        """The last messages are taken."""

        def plan() -> None:
            kept = self.plain.state(sid)
            for id_ in kept.order[-n:]:
                del kept.texts[id_]

        before = self.plain.living[sid].order if sid in self.plain.living else []
        removed = self.expect(self.repository(repo).remove_last(sid, n), plan)
        assert removed is None or [message.id for message in removed] == before[-n:]
        self.check(sid)

    def rewrite(self, which: int, repo: int, place: int, how: str) -> None:
        """A history is cut, cleared, or written anew in another order."""
        full = [kept for kept in self.plain.living.values() if kept.order]
        kept = full[which % len(full)]
        repository = self.repository(repo)
        index = place % len(kept.order)
        call: Awaitable[object]
        if how == "truncate":
            gone = kept.order[index + 1 :]
            call = repository.truncate(kept.id, after_message_id=kept.order[index])
        elif how == "clear":
            gone = list(kept.order)
            call = repository.clear(kept.id)
        else:
            state = self.run(repository.load(kept.id, fresh=True))
            assert state is not None
            users = [message for message in state.messages if message.role == "user"]
            new = [*users[index:], self.message(0, []), *users[:index]]
            gone = [id_ for id_ in kept.order if id_ not in {message.id for message in new}]
            call = repository.replace_history(kept.id, new)

        def plan() -> None:
            for id_ in gone:
                del kept.texts[id_]
            if how == "clear":
                for question in kept.questions.values():
                    question.state = "withdrawn" if question.state == "open" else question.state
            if how == "replace":
                kept.may_reorder = True
                for message in new:
                    kept.store(message.id, message.text)

        self.expect(call, plan)
        self.check(kept.id)

    # --- lives

    def create(self, sid: str, repo: int) -> None:
        """A session is created, also where one was deleted."""

        def plan() -> None:
            if sid in self.plain.living:
                raise Refused("exists")
            self.plain.create(sid)

        self.expect(self.repository(repo).create(Session(sid, clock=self.clock)), plan)
        self.check(sid)

    def create_child(self, sid: str, repo: int) -> None:
        """A child is created below a session, if that lives by then."""
        child = Session(sid, clock=self.clock).new_child(f"{sid}-child")

        def plan() -> None:
            if child.id in self.plain.living:
                raise Refused("exists")
            self.plain.state(sid)
            self.plain.create(child.id, parent=sid)

        self.expect(self.repository(repo).create(child), plan)
        self.check(sid, child.id)

    def delete(self, sid: str, repo: int) -> None:
        """A tree is deleted."""
        existed = self.plain.tree(sid) if sid in self.plain.living else []
        deleted = self.expect(self.repository(repo).delete(sid), lambda: self.plain.delete(sid))
        assert deleted is (sid in existed)
        self.check(sid, *existed)

    def clean_up(self, repo: int) -> None:
        """Empty trees are cleaned away, pinned ones aren't."""
        empty = self.plain.empty_trees()
        report = self.expect(self.repository(repo).cleanup("empty"), lambda: [self.plain.delete(s) for s in empty])
        assert report is not None
        assert set(report.deleted) == empty, (report, empty)
        self.check(*empty)

    def fork(self, sid: str, repo: int, place: int) -> None:
        """A session is forked, now or at one of its revisions."""
        kept = self.plain.living.get(sid)
        revisions = list(kept.past) if kept else []
        at = revisions[place % len(revisions)] if revisions and place % 2 else None
        new = self.fresh_id("fork")

        def plan() -> None:
            original = self.plain.state(sid)
            fork = self.plain.create(new)
            for id_, text in original.past[original.revision if at is None else at]:
                fork.store(id_, text)
            fork.title, fork.model = original.title, original.model
            fork.values, fork.notes = dict(original.values), dict(original.notes)

        self.expect(self.repository(repo).fork(sid, new_id=new, at_revision=at), plan)
        self.check(sid, new)

    # --- trouble

    def lose_an_answer(self, repo: int, call: str) -> None:
        """The next commit's answer is lost, or freshness can't be told: nobody should notice."""
        storage = self.storages[repo % len(self.storages)]
        if call == "commit":
            storage.loses_next_answer = True
        else:
            storage.fail(call, times=3)


def _copied(work: Work) -> Work:
    twin = Work(work.sid, work.base_revision, work.incarnation, work.seen)
    for name in ("added", "removed", "edited", "notes", "asked", "withdrawn", "consumed"):
        setattr(twin, name, getattr(work, name).copy())
    twin.title, twin.model = work.title, work.model
    return twin


def _asking(plain: PlainStore, sid: str, id: str) -> Work:
    plain.state(sid)
    work = plain.begin(sid)
    work.asked.add(id)
    return work
