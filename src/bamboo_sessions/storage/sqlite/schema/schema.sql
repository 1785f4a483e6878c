-- The first schema of the SQLite engine.
--
-- The truth is in a few tables that grow at their ends; what is derived from them (counts, tool_calls, indexes) can
-- be rebuilt by `check`. A session has one narrow row in `sessions`, which every commit updates, and the rest of its
-- head as a document in `heads`, which most commits leave alone. Each version of a message is one row: an edit ends
-- the old version (`removed_revision`) and adds a new one at the same position; nothing is deleted but by deleting
-- the session. Rows are added at the end of the table, so that a group of commits writes few pages; `position` gives
-- the order of the conversation, with gaps for what is put inside later. Deleting a session empties it and leaves
-- its row in `sessions` for ever, with the counters that must never restart. Times are whole microseconds since
-- 1970 UTC.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,     -- 'epoch': names this store, new after a restore; 'pruned_up_to': floor of `changes`,
                                -- 'pruned_mark': the mark of the commit there
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    key               INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace         TEXT    NOT NULL,
    session_id        TEXT    NOT NULL,
    revision          INTEGER NOT NULL,
    incarnation       INTEGER NOT NULL,
    metadata_version  INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    deleted_at        INTEGER,              -- NULL: it lives
    message_count     INTEGER NOT NULL,     -- of the living messages
    message_bytes     INTEGER NOT NULL,     -- likewise
    tail_position     INTEGER NOT NULL,     -- no position of the session is higher
    reshaped_revision INTEGER NOT NULL,     -- the last commit that did more to the history than add at its end; 0: none
    head_revision     INTEGER NOT NULL,     -- the last commit that wrote the head
    question_count    INTEGER NOT NULL,     -- in all states
    open_questions    INTEGER NOT NULL,
    owner             TEXT,
    kind              TEXT    NOT NULL,
    parent_id         TEXT,
    root_id           TEXT    NOT NULL,
    pinned            INTEGER NOT NULL,
    archived          INTEGER NOT NULL,
    run_status        TEXT
) STRICT;

-- `updated_at` changes with every commit: only these two pay for it. The rare filters sort what they find.
CREATE UNIQUE INDEX sessions_id ON sessions (namespace, session_id);
CREATE INDEX sessions_updated ON sessions (namespace, updated_at, session_id) WHERE deleted_at IS NULL;
CREATE INDEX sessions_owner ON sessions (namespace, owner, updated_at, session_id)
    WHERE deleted_at IS NULL AND owner IS NOT NULL;
CREATE INDEX sessions_created ON sessions (namespace, created_at, session_id) WHERE deleted_at IS NULL;
CREATE INDEX sessions_parent ON sessions (namespace, parent_id) WHERE deleted_at IS NULL AND parent_id IS NOT NULL;
CREATE INDEX sessions_root ON sessions (namespace, root_id) WHERE deleted_at IS NULL;
CREATE INDEX sessions_kind ON sessions (namespace, kind) WHERE deleted_at IS NULL AND kind <> 'root';
CREATE INDEX sessions_archived ON sessions (namespace) WHERE deleted_at IS NULL AND archived = 1;
CREATE INDEX sessions_pinned ON sessions (namespace) WHERE deleted_at IS NULL AND pinned = 1;
CREATE INDEX sessions_asking ON sessions (namespace) WHERE deleted_at IS NULL AND open_questions > 0;
CREATE INDEX sessions_run_status ON sessions (namespace, run_status)
    WHERE deleted_at IS NULL AND run_status IS NOT NULL;

CREATE TABLE heads (
    session  INTEGER PRIMARY KEY,
    document BLOB NOT NULL
) STRICT;

CREATE TABLE messages (
    row              INTEGER PRIMARY KEY AUTOINCREMENT,
    session          INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    message_id       TEXT    NOT NULL,
    added_revision   INTEGER NOT NULL,
    removed_revision INTEGER,               -- NULL: it lives
    removed_at       INTEGER,               -- when that was committed: what a purge goes by
    role             TEXT    NOT NULL,
    tool_call_id     TEXT,
    content_hash     BLOB    NOT NULL,
    body             BLOB                   -- JSON; NULL once a removed version is purged
) STRICT;

CREATE UNIQUE INDEX messages_live ON messages (session, position) WHERE removed_revision IS NULL;
CREATE INDEX messages_dead ON messages (session, position, removed_revision, added_revision)
    WHERE removed_revision IS NOT NULL;
CREATE INDEX messages_unpurged ON messages (removed_at) WHERE removed_revision IS NOT NULL AND body IS NOT NULL;
CREATE INDEX messages_id ON messages (message_id, session);  -- new ids sort last: busy sessions share its pages

CREATE TABLE tool_calls (                   -- derived: which message versions make a call
    session     INTEGER NOT NULL,
    call_id     TEXT    NOT NULL,
    message_row INTEGER NOT NULL,
    PRIMARY KEY (session, call_id, message_row)
) STRICT, WITHOUT ROWID;

CREATE TABLE questions (
    session     INTEGER NOT NULL,
    question_id TEXT    NOT NULL,
    seq         INTEGER NOT NULL,           -- the order in the head
    state       TEXT    NOT NULL,
    document    BLOB    NOT NULL,
    PRIMARY KEY (session, question_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE token_usage (
    session                     INTEGER NOT NULL,
    record_id                   TEXT    NOT NULL,
    at                          INTEGER NOT NULL,
    input_tokens                INTEGER NOT NULL,
    output_tokens               INTEGER NOT NULL,
    cache_read_input_tokens     INTEGER NOT NULL,
    cache_creation_input_tokens INTEGER NOT NULL,
    thinking_tokens             INTEGER NOT NULL,
    document                    BLOB    NOT NULL,
    PRIMARY KEY (session, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    version    INTEGER PRIMARY KEY AUTOINCREMENT,   -- a new one with each write, and none is ever given again
    namespace  TEXT    NOT NULL,
    scope_type TEXT    NOT NULL,            -- 'session' or 'shared'
    scope      TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX records_key ON records (namespace, scope_type, scope, kind, key);

CREATE TABLE record_commits (               -- writes of records outside a session's commit, for whoever asks again
    namespace TEXT    NOT NULL,
    commit_id TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    versions  TEXT    NOT NULL,             -- that it gave, separated by commas; 0: deleted
    PRIMARY KEY (namespace, commit_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_commits_at ON record_commits (at);

CREATE TABLE changes (                      -- one row per commit, in the same transaction
    position      INTEGER PRIMARY KEY AUTOINCREMENT,    -- a plain key would start again once pruned empty
    session       INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    incarnation   INTEGER NOT NULL,
    commit_id     TEXT    NOT NULL,
    kinds         TEXT    NOT NULL,         -- separated by commas
    at            INTEGER NOT NULL,         -- by the clock of whoever made it
    logged_at     INTEGER NOT NULL,         -- by the engine's clock; pruning goes by it
    updated_at    INTEGER NOT NULL,         -- with message_count: the outcome, for whoever asks again
    message_count INTEGER NOT NULL,
    record_versions TEXT,                   -- of the records that it wrote, likewise; as in `record_commits`
    call          TEXT                      -- which call made it: the same id of another one is refused
) STRICT;

CREATE UNIQUE INDEX changes_commit ON changes (commit_id, session);

CREATE TABLE burnt (                        -- ids of commits that were looked up and hadn't happened: they never may
    commit_id  TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (commit_id, namespace, session_id)
) STRICT, WITHOUT ROWID;
