"""The platform's HTTPS server: uvicorn, ended by the platform, with connections that a fault can cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from emulator.certificates import Certificates

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open; longer than clients keep theirs in a pool."""
_END_WITHIN = 5.0


class Connections:
    """The open connections by their client's address."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def opened(self, client: tuple[str, int], transport: asyncio.Transport) -> None:
        self._transports[client] = transport

    def closed(self, client: tuple[str, int]) -> None:
        self._transports.pop(client, None)

    def cut(self, client: tuple[str, int]) -> None:
        """Close it as a broken line does: without a last word, whatever was still to be sent."""
        transport = self._transports.pop(client, None)
        if transport is not None:
            transport.abort()

    def cut_all(self) -> None:
        for client in list(self._transports):
            self.cut(client)


class Server:
    """Serves one ASGI app on one listening socket."""

    def __init__(self, app: ASGIApp, listener: socket.socket, certificates: Certificates, connections: Connections) -> None:
        self._listener, self._connections = listener, connections
        self._server = _Uvicorn(uvicorn.Config(
            app, http=_protocol(connections), log_level="warning", access_log=False, lifespan="off", proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE, ssl_certfile=str(certificates.chain), ssl_keyfile=str(certificates.key)))
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it accepts connections."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._listener]), name="server")
        ready = asyncio.get_running_loop().create_task(self._server.ready.wait())
        await asyncio.wait([self._serving, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Ends at once: clients of a platform that goes away get what clients of a broken service get."""
        self._server.should_exit = self._server.force_exit = True
        # A client that keeps an idle connection would have to answer our goodbye before TLS lets it go.
        self._connections.cut_all()
        if self._serving is not None:
            await asyncio.wait([self._serving], timeout=_END_WITHIN)
        self._listener.close()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the platform, which has more to end than this server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _protocol(connections: Connections) -> type[asyncio.Protocol]:
    class Registered(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """The server's own protocol, which tells `connections` of each connection."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._peer = transport.get_extra_info("peername")[:2]
            connections.opened(self._peer, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self._peer)
            super().connection_lost(exc)

    return Registered
