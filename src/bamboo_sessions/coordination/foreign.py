"""Bases that came from outside, such as a document's, are compared with storage before anything is merged (L117).

A save trusts the base of its copy: what is in the base isn't written. So one that storage never had would lose work, or
show in the cache what nobody committed.
"""

from __future__ import annotations

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Window, WindowQuery


async def check_base(storage: SessionStorage, key: SessionKey, session: Session) -> None:
    """Raise `InputError` if the base of `session`, which came from outside, isn't what storage has at its revision.

    Heads aren't versioned: that of the base is compared as long as it is the newest. A session that doesn't live, or
    not in this life, is left to the save.
    """
    link = link_of(session)
    base = link.base
    if base is None:
        return
    head = await storage.read_head(key)
    if not base.head.incarnation:
        raise _unknown(session, base)  # work that waited was taken for committed
    if isinstance(head, SessionHead) and head.incarnation == base.head.incarnation:
        is_known = base.revision < head.revision or (base.revision == head.revision and base.head == head)
        if is_known:
            query = WindowQuery(len(base.messages) + 1, at_revision=base.revision)
            window = await storage.read_window(key, query)
            is_known = isinstance(window, Window) and base.messages == window.messages
        if not is_known:
            raise _unknown(session, base)
    link.is_foreign = False


def _unknown(session: Session, base: Snapshot) -> InputError:
    message = (
        f"This copy of session {session.id!r} says that it was loaded at revision {base.revision}, "
        "and storage has another state there."
    )
    hint = "Load the session and change that copy; `save_as_fork` keeps this one as a session of its own."
    return InputError(message, hint=hint)
