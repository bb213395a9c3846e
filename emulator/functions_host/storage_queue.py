"""A queue of Azure Storage over its REST API, with the account's key: what queue triggers need of it, and no more.

Source: learn.microsoft.com, queue-service-rest-api and authorize-with-shared-key. Works with Azurite and with Azure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

from emulator.errors import EmulatorError

VERSION = "2021-12-02"
_DEVELOPMENT = ("devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
"""Azurite's documented account; it opens nothing outside of this machine."""


class InvalidConnection(EmulatorError):
    """A storage connection can't be used; the message names the setting."""


class StorageError(EmulatorError):
    """The queue service refused a request."""


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    key: bytes
    url: str
    """Of the queue service, no trailing slash."""


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    receipt: str
    text: str
    dequeue_count: int
    inserted: str
    expires: str
    next_visible: str


def account(connection: str) -> Account:
    """The account behind a connection's name (`Storage` is `AzureWebJobsStorage`); raises InvalidConnection."""
    names = [connection, f"AzureWebJobs{connection}"]
    text = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if text is None:
        raise InvalidConnection(f"the setting {' or '.join(names)} is not set: a queue trigger needs its connection string")
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        name, secret = _DEVELOPMENT
        return Account(name, base64.b64decode(secret), f"http://127.0.0.1:10001/{name}")
    try:
        name, key = parts["AccountName"], base64.b64decode(parts["AccountKey"], validate=True)
    except (KeyError, ValueError):
        raise InvalidConnection(f"the setting {names[0]} is not a connection string with AccountName and AccountKey") from None
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    url = parts.get("QueueEndpoint") or f"{parts.get('DefaultEndpointsProtocol', 'https')}://{name}.queue.{suffix}"
    return Account(name, key, url.rstrip("/"))


class StorageQueue:
    def __init__(self, owner: Account, name: str, client: httpx.AsyncClient) -> None:
        self.name = name
        self._account, self._client = owner, client

    async def ensure(self) -> None:
        """Create it unless it is there; raises StorageError, httpx.HTTPError."""
        await self._send("PUT", "", {}, expected=(201, 204))

    async def take(self, count: int, invisible_seconds: int) -> list[Message]:
        """Up to 32 messages, hidden from others for so long; raises StorageError, httpx.HTTPError."""
        answer = await self._send("GET", "/messages", {"numofmessages": str(count), "visibilitytimeout": str(invisible_seconds)})
        return [Message(id=_text(found, "MessageId"), receipt=_text(found, "PopReceipt"), text=_text(found, "MessageText"),
                        dequeue_count=int(_text(found, "DequeueCount")), inserted=_text(found, "InsertionTime"),
                        expires=_text(found, "ExpirationTime"), next_visible=_text(found, "TimeNextVisible"))
                for found in ElementTree.fromstring(answer.content).iter("QueueMessage")]  # noqa: S314 (our own storage's answer)

    async def put(self, text: str) -> None:
        """A message that never expires."""
        body = f"<QueueMessage><MessageText>{escape(text)}</MessageText></QueueMessage>".encode()
        await self._send("POST", "/messages", {"messagettl": "-1"}, body, expected=(201,))

    async def delete(self, message: Message, receipt: str) -> None:
        await self._send("DELETE", f"/messages/{message.id}", {"popreceipt": receipt}, expected=(204,))

    async def hide(self, message: Message, receipt: str, seconds: int) -> str:
        """Hide a message for so long from now, 0 shows it; returns the receipt that counts from now on."""
        answer = await self._send("PUT", f"/messages/{message.id}", {"popreceipt": receipt, "visibilitytimeout": str(seconds)},
                                  expected=(204,))
        return answer.headers["x-ms-popreceipt"]

    async def _send(self, method: str, location: str, parameters: dict[str, str], body: bytes = b"",
                    expected: tuple[int, ...] = (200,)) -> httpx.Response:
        request = self._client.build_request(method, f"{self._account.url}/{self.name}{location}", params=parameters, content=body or None,
                                             headers={"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION})
        request.headers["authorization"] = self._signature(request, parameters, len(body))
        answer = await self._client.send(request)
        if answer.status_code not in expected:
            raise StorageError(f"{method} of the queue {self.name}: {answer.status_code} {answer.headers.get('x-ms-error-code', '')}")
        return answer

    def _signature(self, request: httpx.Request, parameters: dict[str, str], length: int) -> str:
        own = "\n".join(f"{name}:{request.headers[name]}" for name in sorted(request.headers) if name.startswith("x-ms-"))
        resource = f"/{self._account.name}{urlsplit(str(request.url)).path}" + "".join(
            f"\n{name}:{value}" for name, value in sorted(parameters.items()))
        # Verb, then eleven standard headers of which only the length is ever there.
        lines = [request.method, "", "", str(length) if length else "", *[""] * 8]
        signed = hmac.new(self._account.key, "\n".join([*lines, own, resource]).encode(), hashlib.sha256).digest()
        return f"SharedKey {self._account.name}:{base64.b64encode(signed).decode()}"


def _text(message: ElementTree.Element, name: str) -> str:
    return message.findtext(name) or ""
