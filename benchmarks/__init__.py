"""What the store costs: side by side with other stores for agents' sessions, and with the least that SQLite allows."""
