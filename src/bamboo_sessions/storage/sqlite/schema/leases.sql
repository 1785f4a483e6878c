-- Run leases: who may run the agent on a session, and who waits for it.
--
-- The token is counted in the session's row, which every commit reads anyway and which deletion keeps: so a commit that
-- carries an older one is refused at no cost, and tokens never restart. All the rest is a row of its own, which is
-- there only while somebody holds the session or waits for it, or died while it did.

ALTER TABLE sessions ADD COLUMN lease_token INTEGER NOT NULL DEFAULT 0;     -- the newest one; 0: none

CREATE TABLE leases (
    change     INTEGER PRIMARY KEY AUTOINCREMENT,   -- a new number with each change: what waiters look for
    session    INTEGER NOT NULL UNIQUE,
    claim_id   TEXT,                        -- NULL, like the next two: nobody holds it, somebody waits
    holder     TEXT,
    expires_at INTEGER,
    ttl        INTEGER NOT NULL,            -- microseconds; it was renewed so long before expires_at
    waiting    BLOB NOT NULL                -- JSON: claim id, holder and expiry of each that waits, in order
) STRICT;
