"""Every bound of the system, in one place, with its unit and its reason (G13)."""

from __future__ import annotations

from typing import Final

from bamboo_sessions.domain.errors import LimitExceededError

# --- what callers may hand in -------------------------------------------------------------------------

ID_CHARS_MAX: Final = 512
"""Characters of a session, namespace, owner, message or question id. They sit in indexes."""

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one stored message. Larger content belongs in a file, by reference."""

HEAD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of everything of a session but its messages. It is rewritten as a whole when it changes."""

METADATA_KEYS_MAX: Final = 4_096
"""Top-level keys of a metadata map. It travels with every list row."""

JSON_DEPTH_MAX: Final = 100
"""Nesting of a JSON value. Readers in other languages stop at 100 to 512."""

COMMIT_MESSAGES_MAX: Final = 200_000
"""Messages added by one commit: an import of a very long conversation fits."""

COMMIT_BYTES_MAX: Final = 512 * 1024 * 1024
"""Bytes added by one commit. SQLite holds them in memory and in the write-ahead log."""

ENCODE_SLICE_MESSAGES: Final = 256
"""Messages that are encoded without giving other tasks a turn: a few milliseconds."""

ENCODE_SLICE_BYTES: Final = 1024 * 1024
"""Bytes of such messages, likewise."""

COMMIT_RECORDS_MAX: Final = 100_000
"""Records written by one commit: each is a row, and all other writers wait meanwhile."""

COMMIT_ID_CHARS_MAX: Final = 128
"""Characters of a commit id. Each commit of the last days has one in an index."""

QUESTIONS_PER_SESSION_MAX: Final = 10_000
"""Questions in a head: the open ones, and the settled ones that are remembered."""

QUESTIONS_SETTLED_KEPT: Final = 1_000
"""Settled questions that are remembered at least, those settled last: a head must not grow with a session's life."""

RECORD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of one record."""

VERSION_MAX: Final = 2**53
"""The highest version that a caller may set by hand. Counting goes on from there; JSON readers may round above it."""

SPAWN_DEPTH_MAX: Final = 64
"""Levels of a session tree."""

# --- pages --------------------------------------------------------------------------------------------

PAGE_DEFAULT: Final = 50
"""Rows of a page when the caller names no limit."""

PAGE_MAX: Final = 1_000
"""Rows of a page at most: a page is held in memory."""

RECORD_PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes at which a page of records ends, whatever its rows; a single record may have more."""

FEED_PAGE_ROWS_MAX: Final = 500
"""Changes of the feed that are read at once for a subscriber: all that it holds in memory."""

FEED_PAGE_IDS_MAX: Final = 10_000
"""Message ids in such a page, likewise; a single commit with more is a page of its own."""

FEED_PRUNE_ROWS_MAX: Final = 1_000
"""Changes that are pruned in one transaction: a few ms for which writers wait."""

PURGED_VERSIONS_MAX: Final = 1_000
"""Old message versions whose bodies are purged in one transaction: a few ms for which writers wait."""

# --- search -------------------------------------------------------------------------------------------

SEARCH_TEXT_CHARS_MAX: Final = 1_000
"""Characters of what is searched for."""

SEARCH_WORDS_MAX: Final = 32
"""Words in one search, those of its phrases included: each is looked for in every candidate."""

SEARCH_DEFAULT: Final = 20
"""Hits of a search when the caller names no limit."""

SEARCH_RANKED: Final = 100
"""Matching texts that are ranked, the newest ones, or as many as were asked for: a common word is in all of them."""

SEARCHED_CHARS_MAX: Final = 1_048_576
"""Characters of one text that are searched, from its beginning: a log of 60 MB would be most of an index."""

SNIPPET_CHARS_MAX: Final = 200
"""Characters of a snippet: two lines."""

# --- time ---------------------------------------------------------------------------------------------

TIME_YEAR_MIN: Final = 2
"""The year of the earliest time that is stored: other time zones can't show one at the edge of a `datetime`."""

TIME_YEAR_MAX: Final = 9_998
"""The year of the latest, likewise; and each commit must be able to be a microsecond later than the one before."""

CLOCK_AHEAD_SECONDS_MAX: Final = 300
"""How far ahead of now a hand-set `updated_at` may be when saved. A wrong clock must not win for ever."""

AGE_DAYS_MAX: Final = 36_525
"""Oldest age, in days, that upkeep may be asked to go by: a hundred years, so that a clock can count back by it."""

COMMIT_ID_HOURS_MIN: Final = 24
"""How long a commit id is kept at least, so that an unknown outcome can be settled (G4)."""

# --- run leases ---------------------------------------------------------------------------------------

LEASE_SECONDS_DEFAULT: Final = 30
"""Seconds that a lease lasts without renewal, by default: how long a session stays blocked after its run died."""

LEASE_MS_MIN: Final = 100
"""Milliseconds of the shortest lease: it is renewed three times as often, each time a transaction."""

LEASE_SECONDS_MAX: Final = 86_400
"""Seconds of the longest lease: a run that died must not block its session for ever."""

LEASE_WAITERS_MAX: Final = 100
"""Runs that may wait for one session. They are in one row, which each of them rewrites every second."""

LEASE_TICKET_SECONDS: Final = 3
"""Seconds that a place in the queue is kept without being refreshed: how long a waiter that died is in the way."""

# --- memory and queues --------------------------------------------------------------------------------

CACHE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of cached sessions, by default."""

DIRTY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of work that waits for storage to come back. Above it tolerant saves raise."""

OVERLAY_BYTES: Final = 1_024
"""Bytes that a waiting state takes beside what is new in it, roughly."""

UNSAVED_WORK_MAX: Final = 1_000
"""Refused working copies kept for `flush` and `aclose`; the oldest is logged and dropped beyond it."""

GROUP_COMMITS_MAX: Final = 256
"""Commits in one transaction: bounds how long the first of a group waits for the last."""

GROUP_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes in one group commit, likewise."""

CONFLICTS_BEFORE_TRANSACTION: Final = 3
"""Conflicts after which a merge runs inside the write transaction, so that nobody starves."""

WAITING_CALLS_MAX: Final = 100_000
"""Calls that may wait for a storage's thread; one more is refused as `StorageUnavailableError`."""

PORTAL_GRACE_SECONDS: Final = 1
"""Seconds that closing a synchronous repository lets calls of other threads end by themselves: they know of it."""

BUSY_TIMEOUT_MS: Final = 30_000
"""How long a SQLite writer waits for another process before `StorageUnavailableError`."""

WAL_PAGES_CHECKPOINT: Final = 2_000
"""Pages in the write-ahead log that start a checkpoint (8 MB)."""

WAL_PAGES_MAX: Final = 65_536
"""Pages in the write-ahead log at which the writer itself waits for a checkpoint (256 MB)."""


def check_limit(what: str, actual: int, limit: int, unit: str = "") -> None:
    """Raise `LimitExceededError` if `actual` is above `limit`."""
    if actual > limit:
        raise LimitExceededError(what, limit=limit, actual=actual, unit=unit)
