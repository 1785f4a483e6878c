"""The calls of a storage that can be made to fail, by what they do."""

from __future__ import annotations

from typing import Final

READS: Final = frozenset(
    {
        "read",
        "read_newer",
        "read_head",
        "read_window",
        "list_heads",
        "find_commit",
        "read_lease",
        "usage_totals",
        "get_record",
        "get_records",
        "scan_records",
        "scan_record_keys",
        "find_message",
        "feed_position",
        "read_changes",
        "search",
        "next_namespace",
        "backup",
        "stats",
    }
)
"""The calls that only read."""

WRITES: Final = frozenset(
    {
        "commit",
        "settle",
        "transact",
        "delete_tree",
        "set_owner",
        "write_records",
        "prune_changes",
        "purge_versions",
        "start_epoch",
        "change_lease",
        "check",
    }
)
"""The calls that write: after these an error leaves the outcome unknown."""

SYNCHRONOUS: Final = frozenset({"still_newest"})
LIFE: Final = frozenset({"open", "aclose"})
CALLS: Final = READS | WRITES | SYNCHRONOUS | LIFE
"""All calls that can be made to fail."""


def checked(call: str | None) -> str | None:
    """`call`, if it is one of them or `None`; else `ValueError`."""
    if call is not None and call not in CALLS:
        message = f"{call!r} is no call of a storage; those are {', '.join(sorted(CALLS))}."
        raise ValueError(message)
    return call
