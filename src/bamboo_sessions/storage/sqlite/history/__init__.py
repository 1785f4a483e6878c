"""Messages: their versions, where new ones stand, and how they are read."""
