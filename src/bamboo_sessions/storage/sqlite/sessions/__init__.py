"""What a transaction does to sessions: rows and heads, commits, trees, leases, records, the ledger, the feed."""
