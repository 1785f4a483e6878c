"""The SQLite engine's own bounds and settings, each with its unit and reason."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x62616D62
"""Marks the file as ours, in its header (`bamb`)."""

PAGE_CACHE_KIB: Final = 32 * 1024
"""KiB of pages that the writer and the reader thread each keep."""

LOOP_CACHE_KIB: Final = 8 * 1024
"""KiB of pages for the small reads on the event loop's thread."""

MMAP_BYTES: Final = 256 * 1024 * 1024
"""Bytes of the file that the reader thread maps into memory: saves copies on cold reads."""

LOOP_MMAP_BYTES: Final = 0
"""Likewise on the event loop's thread: nothing, for SQLite drops the whole map after each commit of anybody, and to map
the file anew takes longer than to copy the few pages of a small read."""

STATEMENTS_MAX: Final = 128
"""Prepared statements that a connection keeps: all that this engine has."""

LOOP_MESSAGES_MAX: Final = 100
"""Messages that are read on the event loop's thread; more go to the reader thread. About 0.2 ms."""

LOOP_BYTES_MAX: Final = 256 * 1024
"""Bytes, likewise."""

CHUNK_MESSAGES_MAX: Final = 512
"""Messages that are read and decoded at once: about 0.5 ms for which no other thread runs."""

CHUNK_BYTES_MAX: Final = 64 * 1024
"""Bytes, likewise. For longer texts the C library may take memory from the system and give it back, chunk by chunk,
which can take as long as decoding them."""

NEWS_POLL_SECONDS: Final = 0.02
"""How often it is looked for commits of other processes while somebody waits for them: a fifth of the 100 ms in which
`tail` shows them."""

NEWS_ROWS_MAX: Final = 256
"""Sessions that one such look names; after more of them everybody looks."""

LOCK_POLL_SECONDS: Final = 0.0005
"""How often a writer that waits for another process asks again."""

TURN_POLL_SECONDS: Final = 0.0001
"""How often a writer looks at first whether it is its turn: about as often as a quick disk syncs."""

TURN_POLLS: Final = 4
"""Later it looks again after a quarter of the time that it has waited, and so waits a quarter too long at most."""

TURN_WAIT_SECONDS: Final = 0.045
"""How long a writer waits for its turn before it asks SQLite all the same: whoever has it may be stopped."""

TURN_WAIT_SYNCS: Final = 3
"""And how many syncs longer, on a slow disk: that of whoever has the turn, and that of the next one."""

SLOT_BYTES_MAX: Final = 64 * 1024
"""Bytes of the requests that a process lets others carry out at once, and of what became of them."""

FILE_CHECK_SECONDS: Final = 1.0
"""How long reads may go on, at most, without a look whether the paths still name the files that are open: 5 µs."""

LOOP_SYNC_SECONDS_MAX: Final = 0.0005
"""How long the disk may take on average for commits to be made on the event loop's thread: what it stands still for."""

REMEMBERED_COMMITS: Final = 8
"""How many of the last commits make most of the average time of one."""

LOOP_STALL_SECONDS: Final = 0.005
"""A sync that took longer was a stall: it held up the event loop for longer than anything else may."""

LOOP_STALLS_APART: Final = 100
"""For how many times as long commits stay away from the event loop's thread afterwards. A disk that stalls every few
hundred commits stalls again in that time, and holds up the writer's thread only."""

PAGES_SECONDS: Final = 0.00002
"""What writing one commit's pages takes, without waiting for the disk. Roughly."""

LOOP_GROUP_COMMITS_MAX: Final = 64
"""Commits that the event loop's thread makes in one go: about 3 ms."""

LOOP_COMMIT_BYTES_MAX: Final = 64 * 1024
"""Bytes of a commit that the event loop's thread makes, rows counted with `LOOP_ROW_BYTES`: less than a ms."""

LOOP_GROUP_BYTES_MAX: Final = 256 * 1024
"""Bytes of all commits that it makes in one go, likewise: about 3 ms. So many as 64 turns have."""

LOOP_ROW_BYTES: Final = 1024
"""What a row counts for beside its contents: writing one takes as long as this many bytes more."""

LOG_PAGES_GROWN_FROM: Final = 32
"""Pages in the write-ahead log from which on it is made longer ahead: about four commits. Many processes make fewer."""

LOG_PAGES_AHEAD: Final = 32
"""Pages that the log's file shall have ahead of the next commit, likewise."""

LOG_PAGES_GROWN_MAX: Final = 256
"""Pages by which the log is made longer at once, 1 MB: a few ms, during which nobody else writes."""

LOG_WAIT_MS: Final = 100
"""Milliseconds that looking after the write-ahead log waits for its readers, and for other processes that write."""

RECENT_HEADS_MAX: Final = 2_048
"""Heads that are kept as objects, by their stored form, in case they are listed again: some pages of some lists."""

RECENT_HEAD_BYTES_MAX: Final = 1_024
"""Bytes of a document up to which its head is kept, so that all of them take a few MiB at most."""

LOOP_HEADS_MAX: Final = 100
"""Rows of a listing, likewise read on the event loop's thread. About 0.2 ms."""

PURGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of message versions that are purged in one transaction, for which writers wait: some 20 ms."""

CHECK_MESSAGES: Final = 10_000
"""Messages that a check looks at in one read transaction: some 100 ms in which the write-ahead log can't start over."""

CHECK_SESSIONS: Final = 200
"""Sessions, likewise."""

PROBLEMS_MAX: Final = 1_000
"""Findings of one check; a file with more needs its backup, not a list."""

FULL_CHECK_BYTES_MAX: Final = 1 << 30
"""Bytes of a file up to which a check also compares indexes with tables, which takes seconds for each GB."""

BACKUP_STEPS: Final = 10_000
"""Steps of SQLite's machine between two looks at how far a backup is: about a millisecond."""

FEW_SESSIONS_MAX: Final = 2_000
"""Sessions that pass a filter up to which they are sorted, in place of looking for them in the order of the page."""

SEARCH_APPLICATION_ID: Final = 0x62616D73
"""Marks the file of the search index as ours (`bams`)."""

SEARCH_CACHE_KIB: Final = 16 * 1024
"""KiB of pages of the search index."""

SEARCH_LOG_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that the write-ahead log of the search index keeps on disk once it was checkpointed."""

SEARCH_CHUNK_ROWS: Final = 256
"""Messages that are indexed in one transaction: about 40 ms for which a search waits."""

SEARCH_CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of messages, likewise."""

SEARCH_CANDIDATES: Final = 100
"""Rows of the index that are looked up in the main file at once."""

SEARCH_DELAY_SECONDS: Final = 1.0
"""How long after a commit the index is brought up to date if nobody searches: many commits are one piece of work."""

SEARCH_ATTEMPTS: Final = 3
"""How often a search catches up with everything; then what was there at the call has to do: others may never pause."""

SEARCH_PIECES_MAX: Final = 32
"""Words, or stretches of three characters, that candidates are asked to have: more hardly leave fewer of them."""

IDS_COMMITS: Final = 32
"""Commits whose ids are indexed at once: whoever looks for an id reads through so many rows, some 30 µs."""

IDS_LINES_MAX: Final = 1_024
"""Messages whose ids are indexed in one transaction at most: about 10 ms."""

ROW_LINES_MAX: Final = 256
"""Messages in one row of `commits`; a longer commit has several: whoever reads one message reads its row."""

ROW_BYTES_MAX: Final = 64 * 1024
"""Bytes of messages in one row, likewise, unless it is a single one."""
