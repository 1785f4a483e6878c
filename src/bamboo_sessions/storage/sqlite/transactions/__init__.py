"""How a transaction is made: connections, threads, group commit, turns among processes, the write-ahead log."""
