"""Queue triggers: messages to functions, at least once; what fails too often goes to the poison queue.

Source: learn.microsoft.com, functions-bindings-storage-queue (host.json settings, poison messages, polling algorithm).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import time
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from emulator.functions_host import protos
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.runtime import AppRuntime, Function, InvocationFailed
from emulator.functions_host.settings import InvalidSettings, number, resolve, time_span
from emulator.functions_host.storage_queue import StorageQueue, connection_string

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage

log = logging.getLogger("emulator.queues")
HIDDEN_SECONDS = 600
"""How long a message is hidden while it is worked on; half-way it is hidden anew."""
_SHORTEST = 0.1


class QueueTriggers:
    """Raises InvalidConnection or InvalidSettings when a trigger or host.json's `queues` section can't be used."""

    def __init__(self, runtime: AppRuntime, bridge: DurableBridge) -> None:
        settings = runtime.extension("queues")
        self._runtime, self._bridge = runtime, bridge
        self._batch = min(number(settings, "batchSize", 16), 32)
        self._threshold = number(settings, "newBatchThreshold", self._batch // 2, 0)
        self._most = number(settings, "maxDequeueCount", 5)
        self._retry = int(_span(settings.get("visibilityTimeout", "00:00:00"), "visibilityTimeout").total_seconds())
        self._longest = max(_span(settings.get("maxPollingInterval", "00:01:00"), "maxPollingInterval").total_seconds(), _SHORTEST)
        encoding = str(settings.get("messageEncoding", "base64")).lower()
        if encoding not in ("base64", "none"):
            raise InvalidSettings("host.json: 'messageEncoding' must be base64 or none")
        self._base64 = encoding == "base64"
        self._functions = [
            (function, connection_string(str(function.trigger.get("connection") or "Storage")), resolve(str(function.trigger["queueName"])))
            for function in runtime.of_type("queueTrigger")]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Nothing runs, and nothing polls, for an app without queue triggers."""
        if not self._functions:
            return
        self._tasks = [asyncio.get_running_loop().create_task(self._listen(
            function, StorageQueue.open(connection, name), StorageQueue.open(connection, f"{name}-poison")), name=f"queue {name}")
            for function, connection, name in self._functions]

    async def stop(self) -> None:
        """Messages under way come again once they show."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, function: Function, queue: StorageQueue, poison: StorageQueue) -> None:
        from azure.core.exceptions import AzureError

        wait, working, made, told = _SHORTEST, set[asyncio.Task[None]](), False, False
        try:
            while True:
                messages: list[QueueMessage] = []
                try:
                    if not made:
                        await queue.ensure()
                        made = True
                    messages = await queue.take(self._batch, HIDDEN_SECONDS)
                    told = False
                except AzureError as error:
                    if not told:
                        log.error("%s: the queue %s can't be read: %s", function.name, queue.name, error.message)
                    made, told = False, True
                working.update(asyncio.get_running_loop().create_task(self._work(function, queue, poison, message)) for message in messages)
                if messages:
                    wait = _SHORTEST
                    while len(working) > self._threshold:
                        _, pending = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                        working = set(pending)
                else:
                    working = {task for task in working if not task.done()}
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, self._longest)
        finally:
            for task in working:
                task.cancel()
            await queue.close()
            await poison.close()

    async def _work(self, function: Function, queue: StorageQueue, poison: StorageQueue, message: QueueMessage) -> None:
        from azure.core.exceptions import AzureError

        receipt = str(message.pop_receipt)
        running = asyncio.get_running_loop().create_task(self._invoke(function, message))
        try:
            begun = time.monotonic()
            while not (await asyncio.wait([running], timeout=HIDDEN_SECONDS / 2))[0]:
                log.info("%s has worked on a message for %.0f s", function.name, time.monotonic() - begun)
                receipt = await queue.hide(message, receipt, HIDDEN_SECONDS)
            if await running:
                await queue.delete(message, receipt)
            elif (message.dequeue_count or 0) >= self._most:
                log.error("%s: message %s failed %d times and goes to %s", function.name, message.id, message.dequeue_count, poison.name)
                await poison.ensure()
                await poison.put(message.content)
                await queue.delete(message, receipt)
            else:
                await queue.hide(message, receipt, self._retry)
        except AzureError as error:
            # It shows again when its time is up, and is worked on again: at least once.
            log.error("%s: message %s: %s", function.name, message.id, error.message)
        finally:
            running.cancel()

    async def _invoke(self, function: Function, message: QueueMessage) -> bool:
        try:
            body = base64.b64decode(message.content, validate=True) if self._base64 else message.content.encode()
        except (binascii.Error, ValueError):
            log.error("%s: message %s is not base64, as host.json's messageEncoding says it is", function.name, message.id)
            return False
        metadata = {
            "Id": protos.TypedData(string=message.id), "PopReceipt": protos.TypedData(string=message.pop_receipt),
            "DequeueCount": protos.TypedData(json=json.dumps(message.dequeue_count)),
            **{name: protos.TypedData(json=json.dumps(time.astimezone(UTC).isoformat())) for name, time in (
                ("InsertionTime", message.inserted_on), ("ExpirationTime", message.expires_on),
                ("NextVisibleTime", message.next_visible_on)) if time is not None}}
        try:
            inputs = {function.trigger["name"]: protos.TypedData(string=body.decode()), **self._bridge.clients(function)}
        except UnicodeDecodeError:
            inputs = {function.trigger["name"]: protos.TypedData(bytes=body), **self._bridge.clients(function)}
        try:
            await self._runtime.invoke(function, inputs, metadata)
        except InvocationFailed as failed:
            self._runtime.report(function, failed)
            return False
        return True


def _span(text: object, name: str) -> timedelta:
    span = time_span(text) if isinstance(text, str) else None
    if span is None or span < timedelta():
        raise InvalidSettings(f"host.json: '{name}' must be a time span, it is {text!r}")
    return span
