"""The durable tier: the port, its engines (memory, SQLite), and the wrapper for storages of one's own."""
