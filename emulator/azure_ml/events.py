"""Workspace events: written with the change they tell of, handed to Event Grid afterwards.

An event is a row in an outbox, inserted in the transaction that made the change, so that neither can
exist without the other; a relay hands rows to the event sink and then forgets them. A crash between
the two hands an event over twice, which Event Grid's at-least-once delivery allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from typing import Any

from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import ResourceStore
from emulator.context import Clock, EventSink

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
TYPE_PREFIX = "Microsoft.MachineLearningServices."

PASCAL_SAMPLES = frozenset({"ModelRegistered", "ModelDeployed", "DatasetDriftDetected"})
"""Event types whose documented samples have PascalCase fields, against their own specification."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    event TEXT NOT NULL
);
"""


class Outbox:
    """`shape` is `sample` (as Azure's documented samples) or `specification` (camelCase, text versions)."""

    def __init__(self, store: ResourceStore, sink: EventSink, clock: Clock, shape: str = "sample") -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._sink = sink
        self._clock = clock
        self._shape = shape
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake.set()
        self._relay = asyncio.create_task(self._run(), name="azure ml event relay")

    async def stop(self) -> None:
        """Let the hand-over that runs finish; what is left is handed over by the next process."""
        self._stopping = True
        self._wake.set()
        if self._relay is not None:
            await self._relay

    def emit(self, scope: Scope, event_type: str, subject: str, data: dict[str, Any]) -> None:
        """Emit `ModelRegistered` and its like for a workspace; `data` in camelCase, as specified.

        Call it inside the transaction of the change. Registries emit nothing.
        """
        if scope.is_registry:
            return
        event = {
            "id": str(uuid.uuid4()),
            "subject": subject,
            "eventType": TYPE_PREFIX + event_type,
            "eventTime": self._clock.now().isoformat().replace("+00:00", "Z"),
            "data": shaped(event_type, data, self._shape),
            "dataVersion": "",
            "metadataVersion": "1",
        }
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO outbox (topic, event) VALUES (?, ?)", (scope.id, json.dumps(event))
            )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        pause: float | None = None
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()
            pause = None
            try:
                await asyncio.to_thread(self._drain)
            except Exception:
                logger.exception("events could not be handed to Event Grid; trying again")
                pause = RETRY_SECONDS

    def _drain(self) -> None:
        for sequence, topic, event in self._store.query(
            "SELECT sequence, topic, event FROM outbox ORDER BY sequence"
        ):
            self._sink.publish(topic, [json.loads(event)])
            with self._store.transaction() as connection:
                connection.execute("DELETE FROM outbox WHERE sequence = ?", (sequence,))


def shaped(event_type: str, data: dict[str, Any], shape: str) -> dict[str, Any]:
    """Event data with the casing and the version type of the documented sample, or of the specification.

    >>> shaped("ModelRegistered", {"modelName": "m", "modelVersion": "20"}, "sample")
    {'ModelName': 'm', 'ModelVersion': 20}
    """
    if shape != "sample" or event_type not in PASCAL_SAMPLES:
        return data
    fields = {name[:1].upper() + name[1:]: value for name, value in data.items()}
    version = fields.get("ModelVersion")
    if isinstance(version, str) and version.isdecimal():
        fields["ModelVersion"] = int(version)
    return fields
