"""Durable state in SQLite behind the Durable Task gRPC service, on durabletask's test backend.

Layers, each on the one before: `changes` (every answer is in the file first), `queues` and `turns` (work for the app), `times`
(timers, late starts), `families` (sub-orchestrations), `entities`, `queries`, `backend` (life, recovery). Beside them:
`journal` (the file), `schema` (its layout and migrations), `open_work` (what a history began and nobody answered), `wheel` (the
one timer thread), `paging`, `virtual_time`.
"""

from emulator.durable.backend import SqliteBackend
from emulator.durable.schema import NewerState, UnusableState

__all__ = ["NewerState", "SqliteBackend", "UnusableState"]
