"""Looking for what can't be right, and repairing it."""
