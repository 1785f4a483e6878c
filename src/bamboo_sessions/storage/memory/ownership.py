"""Gives a session, and what is below it, to another owner."""

from __future__ import annotations

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory import commits
from bamboo_sessions.storage.memory.commits import Prepared
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.ownership import OwnerChange, commits_of


def set_owner(contents: Contents, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
    """Make the change; the heads that it changed, that of `key` first, or that alone."""
    changed = prepare(contents, key, change)
    for each in changed:
        commits.install(contents, each)
    return tuple(each.target.head for each in changed) or (contents.living(key).head,)


def prepare(contents: Contents, key: SessionKey, change: OwnerChange) -> list[Prepared]:
    """The commits to install, checked; none if there is nothing to do, or it was done by an earlier call (G4)."""
    contents.living(key)
    if commits.find_commit(contents, key, change.commit_id) is not None:
        commits.prepare(contents, change.repeated(key))
        return []
    tree = [contents.living(each).head for each in contents.tree(key)]
    prepared = [commits.prepare(contents, commit, on_copy=True) for commit in commits_of(change, tree)]
    return [each for each in prepared if isinstance(each, Prepared)]
