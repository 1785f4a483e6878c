"""Values that no engine could keep: refused at the door, by the same rules everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.errors import (
    InputError,
)
from bamboo_sessions.domain.limits import VERSION_MAX
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    change,
    content,
    creation,
    head_of,
    key_of,
    snapshot_of,
    user,
)


class ValuesConformance(Conformance):
    """What cannot be stored is refused before anything is written."""

    async def test_what_cannot_be_kept_is_refused(self, storage: SessionStorage) -> None:
        """Names, versions and times at the edge of their range are refused by name before anything is written."""
        await storage.commit(creation())
        state = await snapshot_of(storage)
        last = datetime.max.replace(tzinfo=UTC)
        heads: list[dict[str, Any]] = [
            {"metadata_version": 2**63},
            {"metadata_version": -1},
            {"metadata_version": "1"},
            {"title_version": 2**64},
            {"owner": "\ud800"},
            {"owner": ""},
            {"kind": "a\0"},
            {"kind": ""},
            {"created_at": last},
            {"created_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
            {"updated_at": last},
        ]
        for fields in heads:
            head = msgspec.structs.replace(state.head, **fields)
            for commit in (change(state, head=head), creation("new", head=head_of("new", **fields))):
                with pytest.raises(InputError):
                    await storage.commit(commit)
        commits: list[dict[str, Any]] = [
            {"commit_id": ""},
            {"commit_id": "\ud800"},
            {"commit_id": "x" * 129},
            {"at": last},
            {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
            {"updated_at": last},
            {"key": key_of("\ud800")},
            {"key": key_of("s", "\0")},
        ]
        for fields in commits:
            for commit in (appending("s", user("a"), **fields), creation("new", **fields)):
                with pytest.raises(InputError):
                    await storage.commit(commit)
        for head in (head_of("other"), head_of("new", namespace="other")):
            with pytest.raises(InputError):
                await storage.commit(creation("new", head=head))
        assert content(await snapshot_of(storage)) == content(state)
        assert await storage.read(key_of("new")) is None

    async def test_counting_goes_on_from_the_highest_version(self, storage: SessionStorage) -> None:
        """The highest version that may be given leaves room for all that will be counted."""
        await storage.commit(creation(head=head_of(metadata_version=VERSION_MAX)))
        state = await snapshot_of(storage)
        assert state.head.metadata_version == VERSION_MAX
        head = msgspec.structs.replace(state.head, metadata_version=VERSION_MAX + 1, title="renamed")
        await storage.commit(change(state, head=head))
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        await storage.commit(creation(reuse_deleted=True))
        assert (await snapshot_of(storage)).head.metadata_version == VERSION_MAX + 2
