"""The demo: conversations replayed by several processes into one store, and an independent check of the result."""

from bamboo_sessions.cli.demo.command import demo

__all__ = ["demo"]
