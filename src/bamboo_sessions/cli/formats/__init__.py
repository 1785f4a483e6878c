"""Formats of conversations that can be imported and exported: pure functions between their documents and sessions."""
