"""Every answer is true for good: what it says is in the file before it is given.

Changes are made in memory under the backend's lock and noted. Whoever answers then waits until the batch that holds
all it saw is written: the first one writes it, for all who came before; those who come meanwhile share the next.
That holds for readers and for work items too: nobody learns of a change that a power loss could undo.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend as memory

from emulator.durable.journal import Batch, Journal
from emulator.durable.virtual_time import OffsetClock, VirtualDatetime, acting

log = logging.getLogger("emulator.durable")
memory.datetime = VirtualDatetime  # type: ignore[misc]  # its clock, not the machine's


class _Kept[Item](dict[str, Item]):
    """A dict that tells when a key goes."""

    def __init__(self, gone: Callable[[str], None]) -> None:
        super().__init__()
        self._gone = gone

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._gone(key)

    def clear(self) -> None:
        for key in list(self):
            del self[key]


@dataclass
class _Noted:
    """What changed and is not in the file. None for what is no longer there."""

    instances: set[str] = field(default_factory=set)
    entities: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    gone_entities: set[str] = field(default_factory=set)
    parents: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    start_times: dict[str, datetime | None] = field(default_factory=dict)
    delays: dict[int, tuple[str, datetime, pb.HistoryEvent] | None] = field(default_factory=dict)


class Changes(memory.InMemoryOrchestrationBackend):
    """What has changed since the last batch, and the batches."""

    def __init__(self, path: Path | None, clock: OffsetClock, port: int) -> None:
        super().__init__(max_history_size=200_000, port=port)
        self.clock = clock
        self.journal = Journal(path)
        self.commits = 0
        """Transactions written by this process."""
        self._instances = _Kept(self._instance_gone)
        self._entities = _Kept(self._entity_gone)
        # Tokens must not come again after a restart: an answer of an earlier life would look like ours.
        self._next_completion_token = time.time_ns()
        self._new_generation = itertools.count(time.time_ns())
        self._noted = _Noted()
        self._parents: dict[str, tuple[str, int]] = {}
        """Sub-orchestrations that run: id to (parent's id, task id)."""
        self._start_times: dict[str, datetime] = {}
        self._commit_lock = threading.Lock()
        self._open_batch, self._written_batch = 1, 0

    # --- noting ---------------------------------------------------------------------------------------

    def _instance_gone(self, key: str) -> None:
        self._noted.gone.add(key)
        self._noted.instances.discard(key)
        # An answer to work of the one that is gone is nobody's, and must not hold back one that comes under its id.
        self._orchestration_in_flight.discard(key)
        self._orchestration_queue_set.discard(key)
        self._release(key)
        self._set_parent(key, None)

    def _entity_gone(self, key: str) -> None:
        self._noted.gone_entities.add(key)
        self._noted.entities.discard(key)

    def _touch(self, instance_id: str) -> None:
        self._noted.instances.add(instance_id)

    def _touch_entity(self, entity_id: str) -> None:
        self._noted.entities.add(entity_id)

    def _set_parent(self, child: str, parent: tuple[str, int] | None) -> None:
        if parent is not None:
            self._parents[child] = self._noted.parents[child] = parent
        elif self._parents.pop(child, None) is not None:
            self._noted.parents[child] = None

    def _release(self, instance_id: str) -> bool:
        """End the wait for a start time; False if there was none."""
        if self._start_times.pop(instance_id, None) is None:
            return False
        self._noted.start_times[instance_id] = None
        return True

    def _generation_of(self, instance: memory.OrchestrationInstance) -> int:
        """A number for one life of an instance: another after continue-as-new, rewind or restart."""
        generation = instance.__dict__.get("_generation")
        return generation if generation is not None else self._another_generation(instance)

    def _another_generation(self, instance: memory.OrchestrationInstance) -> int:
        generation = instance.__dict__["_generation"] = next(self._new_generation)
        return generation

    def _token(self) -> int:
        self._next_completion_token += 1
        return self._next_completion_token - 1

    # --- answering ------------------------------------------------------------------------------------

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Look at and change the state; on leaving, also by an error, all that was seen is in the file. Raises sqlite3.Error."""
        with acting(self.clock):
            try:
                with self._lock:
                    try:
                        yield
                    finally:
                        batch = self._seen()
            finally:
                self._commit(batch)

    def _seen(self) -> int:
        """The batch that must be written before anyone may be told of the present state. Under the lock."""
        return self._open_batch if any(vars(self._noted).values()) else self._open_batch - 1

    def _commit(self, number: int) -> None:
        """Wait until a batch is written, or write it. Not under the lock. Raises sqlite3.Error; the changes stay noted then."""
        if self._written_batch >= number:
            return
        with self._commit_lock:
            if self._written_batch >= number:
                return
            noted = _Noted()
            batch = Batch(self.clock.now())
            try:
                with self._lock:
                    noted = self._prepare(batch)
                    sealed = self._open_batch
                    self._open_batch += 1
                self.journal.write(batch)
            except BaseException:
                with self._lock:
                    self._note_again(noted)
                    self.journal.forget(batch)
                raise
            self.commits += 1
            self._written_batch = sealed

    def _prepare(self, batch: Batch) -> _Noted:
        journal = self.journal
        noted = self._noted
        for key in sorted(noted.gone):
            journal.no_instance(batch, key)
        for key in sorted(noted.instances & self._instances.keys()):
            instance = self._instances[key]
            # What dispatching put before the events is put there again by the next dispatch.
            inserted = instance.__dict__.get("_inserted")
            inbox = [event for event in (*instance.dispatched_events, *instance.pending_events) if event is not inserted]
            journal.instance(batch, instance, self._generation_of(instance), inbox, instance.__dict__.get("_parent"),
                             instance.__dict__.get("_scheduled"))
        for key in sorted(noted.gone_entities):
            journal.no_entity(batch, key)
        for key in sorted(noted.entities & self._entities.keys()):
            journal.entity(batch, self._entities[key])
        for child, parent in noted.parents.items():
            journal.parent(batch, child, parent)
        for key, due in noted.start_times.items():
            journal.start_at(batch, key, due)
        for number, signal in noted.delays.items():
            journal.delay(batch, number, signal)
        self._noted = _Noted()
        return noted

    def _note_again(self, before: _Noted) -> None:
        now = self._noted
        for name in ("instances", "entities", "gone", "gone_entities"):
            getattr(now, name).update(getattr(before, name))
        now.parents = {**before.parents, **now.parents}
        now.start_times = {**before.start_times, **now.start_times}
        now.delays = {**before.delays, **now.delays}

    def _write_down(self) -> None:
        """What happened without anyone asking for an answer. A full disk must not end the thread that calls."""
        try:
            with self._answering():
                pass
        except Exception:
            log.exception("durable state could not be written; the next change tries again")
