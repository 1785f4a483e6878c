-- Checksums of what is stored only once, so that `check` sees bytes that the disk gave back otherwise than it got them.
-- NULL: the row is older than this step, and nothing is known.

ALTER TABLE heads ADD COLUMN checksum INTEGER;
ALTER TABLE messages ADD COLUMN checksum INTEGER;
ALTER TABLE questions ADD COLUMN checksum INTEGER;
ALTER TABLE token_usage ADD COLUMN checksum INTEGER;
ALTER TABLE records ADD COLUMN checksum INTEGER;
