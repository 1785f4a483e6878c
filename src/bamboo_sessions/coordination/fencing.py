"""What the locked store adds to the fence that storage keeps (G12): saves of nothing, and a name in the refusal."""

from __future__ import annotations

from bamboo_sessions.domain.errors import LeaseLostError, StorageError
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import SessionStorage


async def check_fence(storage: SessionStorage, key: SessionKey, fence: int | None) -> None:
    """Raise `LeaseLostError` if there is a newer lease.

    Storage fences what is written. A run that was replaced is to know it also if it has nothing to write.
    """
    if fence is None:
        return
    view = await storage.read_lease(key)
    if view is not None and view.state.token > fence:
        raise LeaseLostError(key.session_id, token=fence, newer_token=view.state.token, holder=view.state.holder)


async def with_holder(storage: SessionStorage, key: SessionKey, lost: LeaseLostError) -> LeaseLostError:
    """The error with the name of who runs the session now, if that can be told."""
    try:
        view = await storage.read_lease(key)
    except StorageError:
        return lost
    if view is None or view.state.holder is None:
        return lost
    return LeaseLostError(key.session_id, token=lost.token, newer_token=view.state.token, holder=view.state.holder)
