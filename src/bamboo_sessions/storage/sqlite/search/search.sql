-- The search index: a file of its own beside the database. All of it is derived and may be deleted at any time.
--
-- Rows of `words` and `parts`: 2 × `messages.row` is a message's text, one more the calls of tools in it. Rows of
-- `head_words` and `head_parts`: `sessions.key`, for the session's title and summary. A version of a message never
-- changes and its number is never used again, so a row can only be missing or superfluous, never out of date; whoever
-- searches looks at the living row.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,     -- 'epoch', 'row', 'key', 'position', 'commit_id': how far the index has come
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE namespaces (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;

CREATE VIRTUAL TABLE words USING fts5(
    namespace, session, role, text,
    content = '', contentless_delete = 1, tokenize = 'ascii'
);

CREATE VIRTUAL TABLE parts USING fts5(
    namespace, session, role, text,
    content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1'
);

CREATE VIRTUAL TABLE head_words USING fts5(
    namespace, session, text,
    content = '', contentless_delete = 1, tokenize = 'ascii'
);

CREATE VIRTUAL TABLE head_parts USING fts5(
    namespace, session, text,
    content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1'
);
