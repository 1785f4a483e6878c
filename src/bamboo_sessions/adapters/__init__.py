"""Frameworks' own kinds of session and store, kept in a `SessionRepository`: one module each, with an extra each.

A module imports its framework and is imported by name only: `from bamboo_sessions.adapters.openai_agents import
BambooSession`, after `pip install bamboo-sessions[openai-agents]`. `opening` is what all of them share.
"""
