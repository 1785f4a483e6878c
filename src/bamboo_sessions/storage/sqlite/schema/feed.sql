-- What the change feed tells of a commit's messages: the rows of those that it added, which follow one another.
--
-- Rows that a commit wrote for messages that it ended (edits, and what a history that is written anew had before) aren't
-- additions, nor are those that a fork began with.

ALTER TABLE changes ADD COLUMN first_row INTEGER NOT NULL DEFAULT 0;    -- in `messages`; 0: none
ALTER TABLE changes ADD COLUMN row_count INTEGER NOT NULL DEFAULT 0;

UPDATE changes SET first_row = added.first_row, row_count = added.row_count
FROM (
    SELECT session, added_revision, min(row) AS first_row, count(*) AS row_count FROM messages AS version
    WHERE NOT EXISTS (
        SELECT 1 FROM messages AS earlier
        WHERE earlier.message_id = version.message_id AND earlier.session = version.session
        AND earlier.removed_revision = version.added_revision
    )
    GROUP BY session, added_revision
) AS added
WHERE changes.session = added.session AND changes.revision = added.added_revision
AND NOT (
    changes.revision = changes.incarnation
    AND EXISTS (
        SELECT 1 FROM heads WHERE heads.session = changes.session
        AND CASE WHEN json_valid(CAST(document AS TEXT))
            THEN json_extract(CAST(document AS TEXT), '$.forked_from') IS NOT NULL ELSE 0 END
    )
);
