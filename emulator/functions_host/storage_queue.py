"""A queue of Azure Storage for queue triggers: azure-storage-queue, off the event loop. Works with Azurite and with Azure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.errors import EmulatorError

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient, QueueMessage


class InvalidConnection(EmulatorError):
    """A storage connection can't be used; the message names the setting."""


def connection_string(connection: str) -> str:
    """The setting behind a connection's name (`Storage` is `AzureWebJobsStorage`); raises InvalidConnection."""
    names = [connection, f"AzureWebJobs{connection}"]
    text = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if text is None:
        raise InvalidConnection(f"the setting {' or '.join(names)} is not set: a queue trigger needs its connection string")
    StorageQueue.open(text, "any", names[0])  # a bad one is told when the app loads
    return text


class StorageQueue:
    """Every method raises AzureError."""

    def __init__(self, client: QueueClient) -> None:
        self.name = str(client.queue_name)
        self._client = client

    @classmethod
    def open(cls, connection: str, name: str, setting: str = "connection") -> StorageQueue:
        """Raises InvalidConnection, which names the setting."""
        # Here, because an app without queue triggers must not pay for it.
        from azure.storage.queue import QueueClient

        try:
            # No retries of its own: whoever listens asks again anyway, and a host that ends must not wait for them.
            return cls(QueueClient.from_connection_string(connection, name, retry_total=0, connection_timeout=20, read_timeout=60))
        except ValueError as error:
            raise InvalidConnection(f"the setting {setting} is no connection string of a storage account: {error}") from None

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def ensure(self) -> None:
        """Create it unless it is there."""
        from azure.core.exceptions import ResourceExistsError

        try:
            await self._do(self._client.create_queue)
        except ResourceExistsError:
            return

    async def take(self, count: int, invisible_seconds: int) -> list[QueueMessage]:
        """Up to 32 messages, hidden from others for so long."""
        return await self._do(lambda: list(self._client.receive_messages(max_messages=count, visibility_timeout=invisible_seconds)))

    async def put(self, text: str) -> None:
        """A message that never expires."""
        await self._do(lambda: self._client.send_message(text, time_to_live=-1))

    async def delete(self, message: QueueMessage, receipt: str) -> None:
        await self._do(lambda: self._client.delete_message(message.id, receipt))

    async def hide(self, message: QueueMessage, receipt: str, seconds: int) -> str:
        """Hide a message for so long from now, 0 shows it; returns the receipt that counts from now on."""
        answer = await self._do(lambda: self._client.update_message(message.id, receipt, visibility_timeout=seconds))
        return str(answer.pop_receipt)

    async def _do[Result](self, call: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(call)
