"""Durable state in SQLite behind the Durable Task gRPC service, on durabletask's test backend.

`backend` takes the test backend's bookkeeping and mends its faults; `journal` keeps every acknowledged change
in one transaction; `recovery` derives what is open from history; `wheel` is the one timer thread.
"""

from emulator.durable.backend import SqliteBackend

__all__ = ["SqliteBackend"]
