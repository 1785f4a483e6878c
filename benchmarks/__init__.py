"""First measurements: what the store costs, against a floor of one hand-written SQLite transaction, in one run."""
