"""The words and rules of sessions: pure, synchronous, without I/O.

Everything here can be tested by the million. It imports the standard library, msgspec and uuid-utils only.
"""
