"""The history of a copy after a save: what was done to it meanwhile stays."""

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import rebase
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.domain.working_copy import freeze, rebase_copy
from tests.merge.helpers import after, changed, commit, history, ids, load, save, snapshot
from tests.merge.history_kit import add, replace, saved_on


def test_L100_messages_added_while_saving_stay() -> None:
    """A message added to the copy while the save was being awaited isn't overwritten by the result (L100)."""
    base = snapshot("a")
    copy = load(base)
    add(copy, "sent")
    saved = freeze(copy)
    add(copy, "late")
    committed = after(save(copy.copy(), changed(base, append="x")))
    committed = Snapshot(committed.head, FrozenMessages(history(["a", "x", "sent"])))
    head, messages = rebase(Snapshot(saved.head, saved.messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    assert ids(copy.messages) == "a x sent late"
    final = saved_on(copy, committed)
    assert ids(final.messages) == "a x sent late"
    assert final.delta.insertions == (Insertion(tuple(history(["late"]))),)


def test_L100_on_the_quick_path_the_copy_goes_on_sharing() -> None:
    """With nothing in between, the result, the copy and its next save share one list at any length (L100)."""
    base = snapshot("abc")
    copy = load(base)
    add(copy, "sent")
    saved = freeze(copy)
    merged = save(copy, base)
    add(copy, "late")
    committed = after(merged)
    head, messages = rebase(Snapshot(saved.head, saved.messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    assert ids(copy.messages) == "a b c sent late"
    assert freeze(copy).messages.extends(committed.messages)


def test_L100_a_compaction_done_while_saving() -> None:
    """Replacing what was just sent takes its place in the result."""
    base = snapshot("ab")
    copy = load(base)
    add(copy, "c")
    saved = freeze(copy)
    replace(copy, "b c", "s")
    committed = commit(changed(base, append="x"), _with(base, "c"))
    head, messages = rebase(Snapshot(saved.head, saved.messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    assert ids(copy.messages) == "a s x"
    final = saved_on(copy, committed)
    assert final.delta.removals == ("b", "c")


def _with(base: Snapshot, *added: str) -> Session:
    copy = load(base)
    add(copy, *added)
    return copy


def test_compacting_a_saved_summary() -> None:
    """A summary that was saved, and is compacted again, gives its own place to the next one."""
    base = snapshot("abc")
    copy = load(base)
    replace(copy, "a b", "s")
    committed = after(save(copy, base))
    head, messages = rebase(Snapshot(freeze(copy).head, freeze(copy).messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    replace(copy, "s", "t")
    assert ids(saved_on(copy, changed(committed, append="x")).messages) == "t c x"
