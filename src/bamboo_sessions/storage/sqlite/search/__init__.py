"""The full-text index beside the database: derived, fed behind the writers, brought up to date by each search."""
