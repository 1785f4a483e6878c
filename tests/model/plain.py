"""A plain model of what sessions promise: dictionaries and sets, written from the rules and not from the code.

It predicts *what* is in a session after each operation (which messages, with which text; fields; questions), not how
the merge finds places: of the order it only demands that messages which stay keep theirs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field


@dataclass
class Question:
    """A question, and what became of it."""

    state: str = "open"
    answer: str | None = None


@dataclass
class Kept:
    """One session as storage should have it."""

    id: str
    incarnation: int
    parent: str | None = None
    revision: int = 0
    texts: dict[str, str] = field(default_factory=dict)  # of living messages
    known: dict[str, set[str]] = field(default_factory=dict)  # all versions ever stored in this life
    order: list[str] = field(default_factory=list)  # as it was seen last
    may_reorder: bool = False  # by the operation under way
    title: str | None = None
    pinned: bool = False
    version: int = 0
    values: dict[str, int] = field(default_factory=dict)  # what people set
    notes: dict[str, int] = field(default_factory=dict)  # what runs keep
    model: str | None = None
    questions: dict[str, Question] = field(default_factory=dict)
    past: dict[int, list[tuple[str, str]]] = field(default_factory=dict)  # revision → messages

    def store(self, id: str, text: str) -> None:
        """A message came, or got another text."""
        self.texts[id] = text
        self.known.setdefault(id, set()).add(text)

    def bump(self) -> None:
        """A person changed something."""
        self.version += 1


@dataclass
class Work:
    """What was done to a working copy since it was loaded or saved."""

    sid: str
    base_revision: int
    incarnation: int
    seen: Kept | None  # the session as the copy was loaded; `None` without a base
    added: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    edited: dict[str, str] = field(default_factory=dict)
    title: str | None = None
    model: str | None = None
    notes: dict[str, int | None] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    consumed: set[str] = field(default_factory=set)

    def text_of(self, id: str) -> str:
        """The text of a message as the copy has it."""
        if id in self.added:
            return self.added[id]
        assert self.seen is not None
        return self.edited.get(id, self.seen.texts[id])

    def remove(self, id: str) -> None:
        """The copy's owner removes a message."""
        if self.added.pop(id, None) is None:
            self.removed.add(id)
            self.edited.pop(id, None)

    def edit(self, id: str, text: str) -> None:
        """The copy's owner edits a message."""
        if id in self.added:
            self.added[id] = text
        else:
            self.edited[id] = text

    def conflicts_with(self, kept: Kept | None) -> bool:
        """Whether an id that the copy adds is taken by other content (G4)."""
        if kept is None:
            return False
        return any(id in kept.known and text not in kept.known[id] for id, text in self.added.items())


class Refused(Exception):
    """The model expects the operation to be refused."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class PlainStore:
    """All sessions, living and dead."""

    def __init__(self) -> None:
        self.living: dict[str, Kept] = {}
        self.dead: dict[str, tuple[int, int]] = {}  # revision and metadata version at the end

    def state(self, sid: str) -> Kept:
        """The living session, or what refuses it."""
        if sid in self.living:
            return self.living[sid]
        raise Refused("deleted" if sid in self.dead else "unknown")

    def create(self, sid: str, parent: str | None = None) -> Kept:
        """A new session, or a new life of an old id."""
        revision, version = self.dead.pop(sid, (0, -1))
        kept = Kept(sid, incarnation=revision + 1, parent=parent, version=version + 1)
        self.living[sid] = kept
        return kept

    def tree(self, sid: str) -> list[str]:
        """A session and all below it."""
        below = [each.id for each in self.living.values() if each.parent == sid]
        return [sid, *(id_ for child in below for id_ in self.tree(child))]

    def delete(self, sid: str) -> list[str]:
        """A tree goes."""
        gone = self.tree(sid) if sid in self.living else []
        for each in gone:
            kept = self.living.pop(each)
            self.dead[each] = (kept.revision + 1, kept.version)
        return gone

    def empty_trees(self) -> set[str]:
        """Sessions below and including which there is no message, in trees without any pin."""
        pinned = {self.root(sid) for sid, kept in self.living.items() if kept.pinned}
        return {
            sid
            for sid in self.living
            if self.root(sid) not in pinned and not any(self.living[each].texts for each in self.tree(sid))
        }

    def root(self, sid: str) -> str:
        """The root of a session's tree."""
        parent = self.living[sid].parent
        return sid if parent is None else self.root(parent)

    # --- saving

    def begin(self, sid: str) -> Work:
        """A working copy of the latest state."""
        kept = self.living.get(sid)
        if kept is None:
            return Work(sid, 0, 0, None)
        return Work(sid, kept.revision, kept.incarnation, copy.deepcopy(kept))

    def save(self, work: Work, *, additions_only: bool = False) -> Kept:
        """Merge a copy into what is kept."""
        kept = self._target(work)
        if work.conflicts_with(kept):
            raise Refused("conflict")
        unmoved = work.seen is not None and kept.revision == work.base_revision
        if not additions_only:
            for id_ in work.removed:
                kept.texts.pop(id_, None)
            for id_, text in work.edited.items():
                if id_ in kept.texts:
                    kept.store(id_, text)
        for id_, text in work.added.items():
            if id_ not in kept.known:
                kept.store(id_, text)
        if work.title is not None and unmoved and work.title != kept.title:
            kept.title = work.title
            kept.bump()
        if work.model is not None:
            kept.model = work.model
        for name, note in work.notes.items():
            if note is None:
                kept.notes.pop(name, None)
            else:
                kept.notes[name] = note
        self._save_questions(work, kept)
        return kept

    def _target(self, work: Work) -> Kept:
        kept = self.living.get(work.sid)
        if work.seen is None:
            if kept is None and work.sid in self.dead:
                raise Refused("deleted")
            return kept or self.create(work.sid)
        if kept is None or kept.incarnation != work.incarnation:
            raise Refused("deleted")
        return kept

    def _save_questions(self, work: Work, kept: Kept) -> None:
        for id_ in work.asked:
            kept.questions.setdefault(id_, Question())
        for id_ in work.withdrawn:
            question = kept.questions.setdefault(id_, Question())
            if question.state == "open":
                question.state = "withdrawn"
        for id_ in work.consumed:
            kept.questions[id_].state = "consumed"

    def rework(self, work: Work, *, additions_only: bool) -> Work:
        """The copy after its save: up to date; what a checkpoint held back is still to do."""
        after = self.begin(work.sid)
        if additions_only and after.seen is not None:
            after.removed = {id_ for id_ in work.removed if id_ in after.seen.texts}
            after.edited = {id_: text for id_, text in work.edited.items() if id_ in after.seen.texts}
        return after

    # --- questions

    def answer(self, sid: str, id: str, text: str) -> None:
        """A person answers."""
        kept = self.state(sid)
        question = kept.questions.get(id)
        if question is None or question.state == "withdrawn":
            raise Refused("no question")
        if question.state != "open":
            if question.answer != text:
                raise Refused("answered")
            return
        question.state, question.answer = "answered", text
        kept.store(f"answer-{id}", text)
