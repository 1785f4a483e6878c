-- The schema of the SQLite engine.
--
-- The truth is in a few tables that grow at their ends; what is derived from them (counts, `shapes`, `ids`, indexes)
-- can be rebuilt by `check`. A session has one narrow row in `sessions`, which every commit updates, and the rest of its
-- head as a document in `heads`, which most commits leave alone. Each commit is one row of `commits`, with the messages
-- that it added: at once the history, the change feed and the memory of commit ids. Nothing is overwritten. Deleting a
-- session empties its rows and leaves its row in `sessions` for ever, with the counters that must never restart. Times
-- are whole microseconds since 1970 UTC.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,     -- 'epoch': names this store, new after a restore; 'pruned_up_to': floor of the feed,
                                -- 'pruned_mark': the mark of the commit there; 'ids_through': up to which position `ids`
                                -- is complete; 'record_version', 'lease_change': the last number that was given
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    key               INTEGER PRIMARY KEY,  -- rows are never deleted
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
    last_id           TEXT    NOT NULL,     -- no message id that is a UUIDv7 is higher, in this incarnation; '': none
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
    run_status        TEXT,
    lease_token       INTEGER NOT NULL      -- of the newest run lease; 0: none yet
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
    document BLOB NOT NULL,
    checksum INTEGER NOT NULL   -- of the document and the counters written with it, so that `check` sees changed bytes
) STRICT;

CREATE TABLE commits (                      -- one row a commit, in its transaction
    position        INTEGER PRIMARY KEY,    -- the newest row is never pruned, so that no number is given twice
    session         INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    commit_id       ANY     NOT NULL,       -- a UUID as 16 bytes, else text
    kinds           INTEGER NOT NULL,       -- a bit for each kind; 0: no commit, but lines of the one that follows
    at              INTEGER NOT NULL,       -- by the clock of whoever made it
    logged_at       INTEGER NOT NULL,       -- by the engine's clock; pruning goes by it
    updated_at      INTEGER NOT NULL,       -- with message_count: the outcome, for whoever asks again
    message_count   INTEGER NOT NULL,
    record_versions TEXT,                   -- of the records that it wrote, likewise; as in `record_commits`
    call            TEXT,                   -- which call made it: the same id of another one is refused; NULL: none
    first           INTEGER,                -- the position of the first of its rows, if it has several
    lines           INTEGER NOT NULL,       -- in `body`
    ended           INTEGER NOT NULL,       -- how many versions of messages it ended whose bodies aren't purged yet
    shape           BLOB,                   -- JSON: what it did to the order besides adding at the end
    body            BLOB,                   -- JSON, a line for each message; an old version that is purged has id and hash
    checksum        INTEGER                 -- of the row; NULL once its session was deleted
) STRICT;

CREATE INDEX commits_lines ON commits (session, position) WHERE lines > 0;
CREATE INDEX commits_shape ON commits (session, position) WHERE shape IS NOT NULL;
CREATE INDEX commits_ended ON commits (at) WHERE ended > 0;

CREATE TABLE shapes (                       -- derived: the order of sessions whose history was changed inside
    session INTEGER PRIMARY KEY,
    runs    BLOB NOT NULL                   -- JSON: [first address, end, lives] of each run
) STRICT;

CREATE TABLE ids (                          -- derived: which row has a message, a tool call, a commit of an id
    kind     INTEGER NOT NULL,              -- 0: message, 1: tool call, 2: commit
    id       ANY     NOT NULL,              -- a UUID as 16 bytes, else text; new ones sort last, and share pages
    session  INTEGER NOT NULL,
    position INTEGER NOT NULL,              -- in `commits`
    PRIMARY KEY (kind, id, session, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE questions (
    session     INTEGER NOT NULL,
    question_id TEXT    NOT NULL,
    seq         INTEGER NOT NULL,           -- the order in the head
    state       TEXT    NOT NULL,
    document    BLOB    NOT NULL,
    checksum    INTEGER NOT NULL,
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
    checksum                    INTEGER NOT NULL,
    PRIMARY KEY (session, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    scope    INTEGER NOT NULL,              -- `sessions.key`, or a negative number of `shared_scopes`
    kind     INTEGER NOT NULL,              -- in `record_kinds`
    key      TEXT    NOT NULL,
    version  INTEGER NOT NULL,              -- a new one with each write, and none is ever given again
    checksum INTEGER NOT NULL,
    value    BLOB    NOT NULL,
    PRIMARY KEY (scope, kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE record_kinds (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE shared_scopes (
    number    INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    UNIQUE (namespace, name)
) STRICT;

CREATE TABLE record_commits (               -- writes of records outside a session's commit, for whoever asks again
    namespace TEXT    NOT NULL,
    commit_id TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    versions  TEXT    NOT NULL,             -- that it gave, separated by commas; 0: deleted
    PRIMARY KEY (namespace, commit_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_commits_at ON record_commits (at);

CREATE TABLE burnt (                        -- ids of commits that were looked up and hadn't happened: they never may
    commit_id  TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (commit_id, namespace, session_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (                       -- only while somebody holds the session or waits for it, or died while it did
    session    INTEGER PRIMARY KEY,
    change     INTEGER NOT NULL,            -- a new number with each change: what waiters look for
    claim_id   TEXT,                        -- NULL, like the next two: nobody holds it, somebody waits
    holder     TEXT,
    expires_at INTEGER,
    ttl        INTEGER NOT NULL,            -- microseconds; it was renewed so long before expires_at
    waiting    BLOB NOT NULL                -- JSON: claim id, holder and expiry of each that waits, in order
) STRICT;
