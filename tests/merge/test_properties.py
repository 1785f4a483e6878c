"""What holds for every merge, whatever both sides did."""

from itertools import groupby

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.call_groups import Kind, groups_of, kind_of, makes_call
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import POLICY, Merged, Policy, group_changed, merge, rebase
from bamboo_sessions.domain.message import Message, is_tool_result
from bamboo_sessions.domain.placing import newest_call
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.domain.working_copy import copy_of, freeze, is_clean, rebase_copy
from bamboo_sessions.testing.strategies import Divergence, divergences, edits, snapshots
from tests.merge.helpers import NOW, after, apply, ids

CLOCKS = [name for name, policy in POLICY.items() if policy is Policy.CLOCK]


def _without_clocks(head: SessionHead) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(head).items() if name not in CLOCKS}


def _both(two: Divergence) -> tuple[Draft, Snapshot, Merged]:
    """My draft, what the others committed first, and the merge of the two."""
    mine = freeze(two.mine)
    durable = after(merge(two.base, freeze(two.theirs), two.base, now=NOW))
    return mine, durable, merge(two.base, mine, durable, now=NOW)


# --- nobody else did anything, or I did nothing


@given(divergences())
def test_with_nothing_in_between_the_result_is_the_copy(two: Divergence) -> None:
    """If storage is as the copy was loaded, the result is the copy, but for the order inside call groups: results move
    to their calls, and what was put inside a group moves to its end.
    """
    mine = freeze(two.mine)
    merged = merge(two.base, mine, two.base, now=NOW)
    expected = _without_clocks(mine.head)
    if merged.head.metadata_version != mine.head.metadata_version:
        assert group_changed(two.base.head, mine.head)
        expected["metadata_version"] = two.base.head.metadata_version + 1
    expected["authoritative_keys"] = frozenset(key for key in mine.head.authoritative_keys if key in mine.head.metadata)
    assert _without_clocks(merged.head) == expected
    assert sorted(ids(merged.messages).split()) == sorted(ids(mine.messages).split())
    if _fits_call_groups(two.base.messages, mine):
        assert _with_results_sorted(merged.messages) == _with_results_sorted(mine.messages)
    moved = {one.id for one in mine.messages if is_tool_result(one) and two.base.messages.find(one.id) is None}
    moved |= _put_inside_groups(two.base.messages, mine)
    kept = [message for message in mine.messages if message.id not in moved]
    assert [message for message in merged.messages if message.id not in moved] == kept
    assert merged.conflicts == ()
    assert merged.authoritative_ignored == ()


def _with_results_sorted(messages: FrozenMessages) -> list[str]:
    """The ids, those of neighbouring tool messages by their names: a result without a call may stand among others."""
    runs = groupby(messages, key=lambda message: message.role == "tool")
    return [id_ for is_tool, run in runs for id_ in (sorted(ids(run).split()) if is_tool else ids(run).split())]


def _fits_call_groups(base: FrozenMessages, mine: Draft) -> bool:
    """Whether the copy has its results in the groups of their calls, and puts nothing inside a group of `base`."""
    if _put_inside_groups(base, mine):
        return False
    groups = list(groups_of(mine.messages))
    for place, message in enumerate(mine.messages):
        if is_tool_result(message) and base.find(message.id) is None:
            meant = newest_call(mine.messages[:place], message.tool_call_id)
            if meant is None:
                continue
            if not any(group.start <= meant and place < group.end for group in groups):
                return False
            kinds = {kind_of(one) for one in mine.messages[meant + 1 : place]}
            if Kind.EVENT in kinds:
                return False  # it may go in front of that
            is_committed = [base.find(one.id) is not None for one in mine.messages[meant:place]]
            if not is_committed[0] and (Kind.CALL in kinds or any(is_committed)):
                return False  # it goes directly behind its call, which wasn't put where the others of the group stand
    return True


def _put_inside_groups(base: FrozenMessages, mine: Draft) -> set[str]:
    """The ids of what stands in `mine` between messages of one group of `base`, or what took their place.

    A call that takes a member's place is a member itself; anything else goes to the group's end, with what follows it.
    """
    numbers = {one.id: n for n, group in enumerate(groups_of(base)) for one in base[group.start : group.end]}
    inside: set[str] = set()
    for id_, gone in mine.replaced.items():
        one = mine.messages.find(id_)
        if one is not None and gone[0] in numbers:
            numbers[id_] = numbers[gone[0]]
            inside |= set() if one.tool_calls else {id_}
    known = {message.id for message in base} | numbers.keys()
    for place, message in enumerate(mine.messages):
        if base.find(message.id) is None:
            before = next((numbers.get(one.id) for one in reversed(mine.messages[:place]) if one.id in known), None)
            behind = next((numbers.get(one.id) for one in mine.messages[place + 1 :] if one.id in known), None)
            follows = before is not None and mine.messages[place - 1].id in inside
            inside |= {message.id} if follows or before == behind is not None else set()
    return inside


@given(divergences())
def test_an_unchanged_copy_changes_nothing(two: Divergence) -> None:
    """Saving a copy that nothing was done to leaves what the others committed, and makes no commit (L02, L42)."""
    durable = after(merge(two.base, freeze(two.theirs), two.base, now=NOW))
    merged = merge(two.base, freeze(copy_of(two.base)), durable, now=NOW)
    assert not merged.changed
    assert merged.head == durable.head
    assert merged.messages == durable.messages
    assert merged.delta.is_empty
    assert merged.conflicts == ()


@given(divergences())
def test_saving_twice_adds_nothing(two: Divergence) -> None:
    """The same draft merged into its own result changes nothing, so that a retry is safe (G4)."""
    mine, _, merged = _both(two)
    again = merge(two.base, mine, after(merged), now=NOW)
    assert again.messages == merged.messages
    assert again.delta.is_empty
    if not group_changed(after(merged).head, mine.head) or merged.authoritative_ignored:
        assert not again.changed


# --- the history


@given(divergences())
def test_G2_nothing_is_missing_nothing_is_twice(two: Divergence) -> None:
    """Each message of either side is there exactly once, unless one of them removed it (G2)."""
    mine, durable, merged = _both(two)
    base = set(ids(two.base.messages).split())
    in_mine, in_durable = set(ids(mine.messages).split()), set(ids(durable.messages).split())
    expected = (base & in_mine & in_durable) | (in_mine - base) | (in_durable - base)
    assert sorted(ids(merged.messages).split()) == sorted(expected)


@given(divergences())
def test_committed_messages_keep_their_order(two: Divergence) -> None:
    """What is committed is never put in another order."""
    _, durable, merged = _both(two)
    committed = set(ids(durable.messages).split())
    alive = set(ids(merged.messages).split())
    kept = [message.id for message in merged.messages if message.id in committed]
    assert kept == [message.id for message in durable.messages if message.id in alive]


@given(divergences())
def test_edits_are_kept(two: Divergence) -> None:
    """My edit stands where the message is alive; theirs stands where I didn't edit it."""
    mine, durable, merged = _both(two)
    base = {message.id: message for message in two.base.messages}
    edited = {message.id: message for message in mine.messages if message.id in base and message != base[message.id]}
    committed = {message.id: message for message in durable.messages}
    for message in merged.messages:
        if message.id in edited:
            assert message.content == edited[message.id].content
        elif message.id in committed:
            assert message is committed[message.id]


@given(divergences())
def test_additions_keep_their_order(two: Divergence) -> None:
    """What I added stays in my order; only tool results and what I put inside call groups may move, behind those."""
    mine, durable, merged = _both(two)
    if merged.delta.duplicates:
        return  # both added the same message, perhaps in different places, and it is an anchor
    known = {*ids(two.base.messages).split(), *ids(durable.messages).split()}
    inside = _put_inside_groups(two.base.messages, mine) | _put_inside_groups(durable.messages, mine)
    plain = {message.id for message in mine.messages if not is_tool_result(message)} - known - inside
    added = [message.id for message in merged.messages if message.id in plain]
    assert added == [message.id for message in mine.messages if message.id in plain]


@given(divergences())
def test_G3_what_is_added_at_the_end_stays_together(two: Divergence) -> None:
    """A turn stays in one piece behind everything that was committed, but for results that join their calls (G3)."""
    mine, durable, merged = _both(two)
    base = set(ids(two.base.messages).split())
    committed = set(ids(durable.messages).split())
    last = max((place for place, message in enumerate(mine.messages) if message.id in base), default=-1)
    added = [message for message in mine.messages[last + 1 :] if message.id not in committed]
    turn = [message.id for message in added if not is_tool_result(message)]
    if mine.replaced:
        return  # what takes the place of others isn't at the end
    tail = [message.id for message in merged.messages if not is_tool_result(message)]
    assert tail[len(tail) - len(turn) :] == turn


@given(divergences())
def test_L105_results_stand_behind_their_calls(two: Divergence) -> None:
    """A result that I add stands in the group of the call that I meant; if that is gone it is reported, and no other
    call of that id takes it for its own (L105).
    """
    mine, durable, merged = _both(two)
    committed = {message.id for message in durable.messages}
    in_mine = {message.id: message for message in mine.messages}
    seen = list(in_mine)
    for place, message in enumerate(merged.messages):
        if not is_tool_result(message) or message.id in committed:
            continue
        meant = newest_call(mine.messages[: seen.index(message.id)], message.tool_call_id)
        calls = [one for one in merged.messages if makes_call(one, message.tool_call_id)]
        if meant is None:
            calls = [one for one in calls if not makes_call(in_mine.get(one.id, message), message.tool_call_id)]
        else:
            calls = [one for one in calls if one.id == seen[meant]]
        assert (message.id in merged.delta.orphaned) == (not calls)
        group = next((group for group in groups_of(merged.messages) if group.start <= place < group.end), None)
        members = merged.messages[group.start : place] if group is not None else []
        if calls:
            assert any(one in calls for one in members)
        else:
            assert not any(makes_call(one, message.tool_call_id) for one in members)


@given(divergences())
def test_L124_no_message_stands_between_a_call_group_and_its_results(two: Divergence) -> None:
    """What was in a call's group in the committed history is in it afterwards, with nothing put between (L124)."""
    _, durable, merged = _both(two)
    alive = {message.id: message for message in merged.messages}
    places = {message.id: place for place, message in enumerate(merged.messages)}
    groups = [range(group.start, group.end) for group in groups_of(merged.messages)]
    for group in groups_of(durable.messages):
        members = durable.messages[group.start : group.end]
        if all(alive.get(message.id) is message for message in members):
            first, last = places[members[0].id], places[members[-1].id]
            assert any(first in group and last in group for group in groups)


@given(divergences())
def test_a_delta_leads_from_what_is_committed_to_the_result(two: Divergence) -> None:
    """Removals, edits and insertions, applied to the committed history one by one, give the merged one."""
    _, durable, merged = _both(two)
    assert apply(durable.messages, merged.delta) == list(merged.messages)
    assert merged.delta.is_empty == (merged.messages == durable.messages)


@given(divergences())
def test_the_report_names_what_happened(two: Divergence) -> None:
    """Gained are the others' additions, removed is what I took out and was still there."""
    mine, durable, merged = _both(two)
    base = set(ids(two.base.messages).split())
    known = base | set(ids(mine.messages).split())
    assert list(merged.delta.gained) == [message.id for message in durable.messages if message.id not in known]
    gone = base - set(ids(mine.messages).split())
    assert set(merged.delta.removals) == gone & set(ids(durable.messages).split())


@given(divergences())
def test_a_checkpoint_only_adds(two: Divergence) -> None:
    """A checkpoint removes and edits nothing; saving the rest afterwards leads to the same messages as one save."""
    mine, durable, merged = _both(two)
    added = merge(two.base, mine, durable, now=NOW, additions_only=True)
    assert added.delta.removals == ()
    assert added.delta.edits == ()
    committed = after(added)
    sent = merge(two.base, mine, two.base, now=NOW, additions_only=True)
    head, messages = rebase(Snapshot(mine.head, sent.messages), mine, committed)
    rest = merge(committed, Draft(head, messages, mine.replaced), committed, now=NOW)
    assert sorted(ids(rest.messages).split()) == sorted(ids(merged.messages).split())


@given(divergences(only_append=True))
def test_appending_sides_are_merged_without_looking_at_the_rest(two: Divergence) -> None:
    """If both sides only added, the quick way and the thorough way give the same result."""
    mine, durable, merged = _both(two)
    apart = Snapshot(durable.head, FrozenMessages(list(durable.messages)))
    thorough = merge(two.base, mine, apart, now=NOW)
    assert thorough.messages == merged.messages
    assert thorough.delta.gained == merged.delta.gained
    assert thorough.delta.duplicates == merged.delta.duplicates
    assert _flat(thorough.delta.insertions) == _flat(merged.delta.insertions)


def _flat(insertions: tuple[Insertion, ...]) -> list[Message]:
    return [message for insertion in insertions for message in insertion.messages]


# --- the copy after a save


@st.composite
def _saved_and_changed(draw: st.DrawFn) -> tuple[Divergence, Draft, Draft]:
    """My draft at the moment of a save, and the copy a little later."""
    two = draw(divergences())
    saved = freeze(two.mine)
    for _ in range(draw(st.integers(0, 3))):
        draw(edits(two.mine.messages, "late"))
    if draw(st.booleans()):
        two.mine.provider = "late"
    return two, saved, freeze(two.mine)


@given(_saved_and_changed())
def test_L100_what_was_done_meanwhile_survives(case: tuple[Divergence, Draft, Draft]) -> None:
    """After the save the copy has what was committed and what was done to it meanwhile; saving it again is exact."""
    two, saved, later = case
    durable = after(merge(two.base, freeze(two.theirs), two.base, now=NOW))
    committed = after(merge(two.base, saved, durable, now=NOW))
    head, messages = rebase(Snapshot(saved.head, saved.messages), later, committed)
    rebase_copy(two.mine, committed, head, messages)
    kept = set(ids(two.mine.messages).split())
    sent, now = set(ids(saved.messages).split()), set(ids(later.messages).split())
    assert kept == (set(ids(committed.messages).split()) - (sent - now)) | (now - sent)
    assert two.mine.provider == (later.head.provider if later.head.provider != saved.head.provider else head.provider)
    final = merge(committed, freeze(two.mine), committed, now=NOW)
    assert set(ids(final.messages).split()) == kept


@given(divergences())
def test_a_copy_that_nothing_was_done_to_meanwhile_is_clean(two: Divergence) -> None:
    """Rebasing a copy that stayed as it was sent leaves nothing to save."""
    mine, _, merged = _both(two)
    committed = after(merged)
    head, messages = rebase(Snapshot(mine.head, mine.messages), freeze(two.mine), committed)
    rebase_copy(two.mine, committed, head, messages)
    assert is_clean(two.mine)
    assert list(two.mine.messages) == list(committed.messages)


# --- the head


@given(divergences())
def test_every_field_follows_its_policy(two: Divergence) -> None:
    """Field by field, the merged head is what the table of policies says."""
    mine, durable, merged = _both(two)
    base, me, them, result = two.base.head, mine.head, durable.head, merged.head
    if durable.revision == base.revision:
        return
    mine_wins = me.metadata_version > them.metadata_version and them.metadata_version == base.metadata_version
    for name, policy in POLICY.items():
        b, m, d, r = (getattr(head, name) for head in (base, me, them, result))
        if policy in {Policy.FIXED, Policy.OWNER}:
            assert r == d
        elif policy is Policy.AUTHORITATIVE:
            assert r == (m if mine_wins else d)
        elif policy is Policy.REGISTER:
            assert r == (d if m == b else m)
            assert (name in {conflict.what for conflict in merged.conflicts}) == (m != b and d not in (b, m))
    group = me if mine_wins else them
    for key in {*base.metadata, *me.metadata, *them.metadata}:
        b, m, d = (head.metadata.get(key, "absent") for head in (base, me, them))
        if key in me.authoritative_keys | them.authoritative_keys:
            assert result.metadata.get(key, "absent") == group.metadata.get(key, "absent")
        else:
            assert result.metadata.get(key, "absent") == (d if m == b else m)
    assert {q.id for q in result.questions} == {q.id for q in (*me.questions, *them.questions)}


@given(divergences())
def test_G5_the_version_of_the_group_only_rises(two: Divergence) -> None:
    """Whatever a copy says, the committed metadata_version doesn't fall, and rises when the group changes (G5)."""
    _, durable, merged = _both(two)
    for before, now in ((two.base.head, durable.head), (durable.head, merged.head)):
        assert now.metadata_version >= before.metadata_version
        if group_changed(before, now):
            assert now.metadata_version > before.metadata_version


@given(divergences())
def test_clocks_go_forward(two: Divergence) -> None:
    """A commit raises the revision by one and the time by at least a microsecond; without one both stay."""
    _, durable, merged = _both(two)
    assert merged.head.revision == durable.revision + merged.changed
    assert (merged.head.updated_at > durable.head.updated_at) == merged.changed
    assert not merged.changed or merged.head.message_count == len(merged.messages)


@given(divergences())
def test_a_copy_without_base_loses_nothing_of_either_side(two: Divergence) -> None:
    """A copy built by hand is united by message id, the committed messages first."""
    _, durable, _ = _both(two)
    draft = freeze(two.mine)
    merged = merge(None, draft, durable, now=NOW)
    fresh = set(ids(draft.messages).split()) - set(ids(durable.messages).split())
    assert sorted(ids(merged.messages).split()) == sorted([*ids(durable.messages).split(), *fresh])
    assert apply(durable.messages, merged.delta) == list(merged.messages)
    assert {message.id for message in merged.delta.duplicates} == {
        message.id for message in draft.messages if message.id not in fresh
    }


@given(snapshots())
def test_a_first_save_is_taken_as_it_is(base: Snapshot) -> None:
    """Without anything committed the result is the copy."""
    merged = merge(None, Draft(base.head, base.messages), None, now=NOW)
    assert merged.changed
    assert sorted(ids(merged.messages).split()) == sorted(ids(base.messages).split())
    assert _without_clocks(merged.head) == _without_clocks(base.head)
