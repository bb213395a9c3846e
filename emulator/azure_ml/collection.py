"""Data collection: what a deployment is asked and answers, as JSON lines in the workspace's storage.

Layout and lines as documented in "Collect production data from models for real-time inferencing":
`modelDataCollector/{endpoint}/{deployment}/{collection}/{yyyy}/{MM}/{dd}/{HH}/{instance}.jsonl`, each line
an envelope whose `data` are the rows. `model_inputs` and `model_outputs` are tables, `request` and
`response` payloads as they went over the wire.

Collection is best effort, as in Azure, where a container's collector batches in memory: lines are kept for
at most `DELAY` seconds before they are stored, and a platform that is killed loses those. They are also
stored when a monitor is about to look at them and when the platform stops.

Different from Azure: there a scoring script must call `azureml-ai-monitoring` (only MLflow models need no
code); here every deployment's tables are taken from its requests and answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emulator.azure_ml import registration
from emulator.azure_ml.asset_kinds import DATA
from emulator.azure_ml.errors import AzureMlError, ValidationError
from emulator.azure_ml.locations import BlobLocation
from emulator.azure_ml.store import Resource
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)

DELAY = 0.25
"""Seconds, real time."""
WAITING_LIMIT = 50_000
"""Lines that wait while the storage is out of reach; older ones are dropped."""
ROOT = "azureml://datastores/workspaceblobstore/paths/modelDataCollector"
_FILE_LIMIT = 1024 * 1024
"""Bytes after which a new file is begun; a file is written whole each time it grows."""
_FOLDERS = {"minute": "%Y/%m/%d/%H/%M", "hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d", "month": "%Y/%m", "year": "%Y"}
_MOST_COLLECTIONS = 5
_AGENT = "azureml-ai-monitoring/0.1.0b4"
_TABLE = {"collectdatatype": "pandas.core.frame.DataFrame", "modelversion": "default", "agent": _AGENT}
Json = dict[str, Any]


@dataclass(slots=True)
class _File:
    """One growing file of a collection; `name` is what Azure calls the instance id."""

    folder: str
    name: str = field(default_factory=lambda: str(uuid.uuid4()))
    content: bytes = b""


@dataclass(slots=True)
class _Line:
    deployment: Resource
    collection: str
    settings: Json
    folder: str
    text: bytes


class Collector:
    """Lines wait here and are stored together. Methods are called on the event loop."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._waiting: list[_Line] = []
        self._files: dict[tuple[str, str], _File] = {}
        self._random: dict[str, random.Random] = {}
        self._storing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def record(self, deployment: Resource, body: bytes, status: int, answer: bytes) -> None:
        """Take note of a request that a deployment answered. Never raises: scoring comes first."""
        settings = deployment["properties"].get("dataCollector")
        if not settings or status != 200:
            return
        try:
            self._record(deployment, settings, body, answer)
        except Exception:
            logger.exception("a request to %s was not collected", deployment["name"])

    async def flush(self) -> None:
        """Store what waits; raises what the storage raises, and then keeps the lines."""
        async with self._storing:
            lines, self._waiting = self._waiting, []
            try:
                while lines:
                    first = lines[0]
                    key = (first.deployment["id"].lower(), first.collection)
                    mine = [line for line in lines if (line.deployment["id"].lower(), line.collection) == key]
                    with contextlib.suppress(AzureMlError):  # its datastore or asset is gone: nowhere to store it
                        await self._store(key, mine)
                    lines = [line for line in lines if (line.deployment["id"].lower(), line.collection) != key]
            finally:
                self._waiting = lines + self._waiting

    def forget(self, deployment_id: str) -> None:
        """A deployment is deleted: what waits is still stored, but its files grow no more."""
        gone = deployment_id.lower()
        self._random.pop(gone, None)
        for key in [key for key in self._files if key[0] == gone]:
            del self._files[key]

    async def stop(self) -> None:
        self._closing.set()
        if self._task is not None:
            await self._task
        try:
            await self.flush()
        except Exception:
            logger.exception("%d collected lines could not be stored", len(self._waiting))

    def _record(self, deployment: Resource, settings: Json, body: bytes, answer: bytes) -> None:
        now = self._azure_ml.context.clock.now()
        # One draw for a request: its inputs and its outputs are collected together or not at all.
        draw = self._random.setdefault(deployment["id"].lower(), random.Random(deployment["id"].lower())).random()  # noqa: S311
        correlation = str(uuid.uuid4())
        rolling = _FOLDERS[str(settings.get("rollingRate") or "Hour").lower()]
        for name, collection in (settings.get("collections") or {}).items():
            rate = collection.get("samplingRate")
            enabled = str(collection.get("dataCollectionMode")).lower() == "enabled"
            if name not in _KINDS or not enabled or (rate is not None and draw >= float(rate)):
                continue
            data = _KINDS[name](body, answer)
            if data is None:
                logger.info("%s: what was sent is no table, and %s not collected", deployment["name"], name)
                continue
            text = json.dumps(_envelope(deployment, name, data, correlation, now), separators=(",", ":")).encode() + b"\n"
            self._waiting.append(_Line(deployment, name, collection, now.strftime(rolling), text))
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._soon(), name="data collection")

    async def _soon(self) -> None:
        while self._waiting and not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), DELAY)
            try:
                await self.flush()
            except Exception as problem:
                logger.warning("collected data could not be stored, trying again: %r", problem)
                del self._waiting[:-WAITING_LIMIT]

    async def _store(self, key: tuple[str, str], lines: list[_Line]) -> None:
        root = await self._root(lines[0])
        storage = self._azure_ml.context.storage
        current = self._files.get(key)
        file = _File(current.folder, current.name, current.content) if current is not None else None
        for line in lines:
            if file is None or file.folder != line.folder or len(file.content) > _FILE_LIMIT:
                if file is not None:
                    await self._write(root, file)
                file = _File(line.folder)
                await asyncio.to_thread(storage.ensure_container, root.account, root.container)
            file.content += line.text
        if file is not None:
            await self._write(root, file)
            self._files[key] = file  # only now: lines that could not be stored come again

    async def _write(self, root: BlobLocation, file: _File) -> None:
        blob = f"{root.path}/{file.folder}/{file.name}.jsonl".lstrip("/")
        await asyncio.to_thread(self._azure_ml.context.storage.write, root.account, root.container, blob, file.content)

    async def _root(self, line: _Line) -> BlobLocation:
        """Where a collection is stored: its data asset's path. Without one it is registered as the SDK would."""
        scope = self._azure_ml.scopes.of_id(line.deployment["id"])
        if line.settings.get("dataId"):
            owner, asset = self._azure_ml.locations.asset(str(line.settings["dataId"]), DATA.plural, scope)
            return self._azure_ml.locations.blob(asset["properties"]["dataUri"], owner)
        endpoint, deployment = line.deployment["id"].split("/")[-3], line.deployment["name"]
        uri = f"{ROOT}/{endpoint}/{deployment}/{line.collection}"
        name = f"{endpoint}-{deployment}-{line.collection}"
        if self._azure_ml.store.get(f"{scope.id}/{DATA.plural}/{name}/versions/1") is None:
            owner_of = line.deployment.get("_owner") or {"objectId": "", "name": "Azure Machine Learning"}
            caller = Caller(owner_of["objectId"], owner_of["name"])
            properties = {"dataUri": uri, "dataType": "uri_folder"}
            await registration.register(self._azure_ml, DATA, scope, name, "1", properties, caller)
        return self._azure_ml.locations.blob(uri, scope)


def settle(properties: Json) -> None:
    """Check a deployment's `dataCollector` and write its modes as Azure returns them; raises `ValidationError`.

    The SDK sends `enabled` and understands only `Enabled`.
    """
    settings = properties.get("dataCollector")
    if settings is None:
        return
    collections = settings.get("collections") if isinstance(settings, dict) else None
    if not isinstance(collections, dict) or not collections:
        raise ValidationError("properties.dataCollector.collections must have at least one collection.")
    if len(collections) > _MOST_COLLECTIONS:
        raise ValidationError(f"properties.dataCollector.collections must not be more than {_MOST_COLLECTIONS}.")
    rolling = settings.get("rollingRate")
    if rolling is not None and str(rolling).lower() not in _FOLDERS:
        raise ValidationError(f"properties.dataCollector.rollingRate must be one of {', '.join(_FOLDERS)}, not {rolling!r}.")
    for name, collection in collections.items():
        where = f"properties.dataCollector.collections.{name}"
        mode = str(collection.get("dataCollectionMode") or "Disabled").capitalize() if isinstance(collection, dict) else ""
        if mode not in ("Enabled", "Disabled"):
            raise ValidationError(f"{where}.dataCollectionMode must be Enabled or Disabled.")
        rate = collection.get("samplingRate")
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1):
            raise ValidationError(f"{where}.samplingRate must be from 0 to 1, not {rate!r}.")
        collection["dataCollectionMode"] = mode


def _envelope(deployment: Resource, collection: str, data: Any, correlation: str, now: datetime) -> Json:
    length = len(json.dumps(data, separators=(",", ":")))
    envelope: Json = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": deployment["id"],
        "type": f"azureml.inference.{collection}",
        "datacontenttype": "application/json",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": data,
        "contentrange": f"bytes 0-{max(0, length - 1)}/{length}",
        "correlationid": correlation,
        "xrequestid": correlation,
    }
    if collection == "request":
        envelope |= {"path": "/score", "method": "POST"}
    return envelope | (_TABLE if collection in ("model_inputs", "model_outputs") else {})


def _payload(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", errors="replace")


def input_table(raw: bytes) -> list[Json] | None:
    """The rows of a request, whichever of the accepted forms it has; None when it is no table."""
    body = _payload(raw)
    for name in ("input_data", "dataframe_split", "dataframe_records", "inputs", "data"):
        if isinstance(body, dict) and name in body and not ("columns" in body and name == "data"):
            body = body[name]
            break
    return table(body)


def table(data: Any) -> list[Json] | None:
    """Rows as pandas would make them of JSON: split form, records, columns of values, rows or plain values."""
    if isinstance(data, dict):
        columns, rows = data.get("columns"), data.get("data")
        if isinstance(columns, list) and isinstance(rows, list):
            if all(isinstance(row, list) and len(row) == len(columns) for row in rows):
                return [dict(zip(map(str, columns), row, strict=True)) for row in rows]
            return None
        values = list(data.values())
        if values and all(isinstance(value, list) and len(value) == len(values[0]) for value in values):
            return [dict(zip(data, row, strict=True)) for row in zip(*values, strict=True)]
        return [data] if values and not any(isinstance(value, dict | list) for value in values) else None
    if not isinstance(data, list) or not data:
        return None
    if all(isinstance(row, dict) for row in data):
        return data
    if all(isinstance(row, list) for row in data):
        return [{str(number): value for number, value in enumerate(row)} for row in data]
    # A column without a name is 0, as in a data frame made of an array.
    return None if any(isinstance(row, dict | list) for row in data) else [{"0": value} for value in data]


_KINDS: dict[str, Callable[[bytes, bytes], Any]] = {
    "model_inputs": lambda body, answer: input_table(body),
    "model_outputs": lambda body, answer: table(_payload(answer)),
    "request": lambda body, answer: _payload(body),
    "response": lambda body, answer: _payload(answer),
}
