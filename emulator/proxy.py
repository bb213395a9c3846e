"""A CONNECT proxy that leads the real storage host names to Azurite, and everything else nowhere.

Clients believe that they talk to `https://{account}.blob.core.windows.net`; TLS ends in Azurite. A host that
is not ours is refused, so nothing that runs on the local platform can reach public Azure by mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from asyncio.trsock import TransportSocket

from emulator.certificates import STORAGE_SUFFIX

_HOST = re.compile(rf"^(?P<account>[a-z0-9]+)\.(?P<kind>blob|table|queue)\.{re.escape(STORAGE_SUFFIX)}$")
_CHUNK = 64 * 1024


class ConnectProxy:
    def __init__(self, port: int, storage_ports: dict[str, int]) -> None:
        self.port = port
        self._storage_ports = storage_ports
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server.close_clients()

    def _destination(self, authority: str) -> int | None:
        """The local port behind `host:port`; None: refused."""
        host, _, port = authority.rpartition(":")
        if (match := _HOST.match(host.lower())) and port == "443":
            return self._storage_ports[match["kind"]]
        if host in ("localhost", "127.0.0.1") and port.isdigit():
            return int(port)
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, authority, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            port = self._destination(authority) if method == "CONNECT" else None
            if port is None:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, upstream_writer, writer.get_extra_info("socket")), _pipe(upstream_reader, writer))
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            with contextlib.suppress(OSError):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter, acknowledge: TransportSocket | None = None) -> None:
    """Copy until the end. `acknowledge` is the source's socket where its peer uses Nagle's algorithm: urllib3 does behind
    a proxy, and each small request would wait 40 ms for our delayed acknowledgement."""
    quick = getattr(socket, "TCP_QUICKACK", None)
    with contextlib.suppress(OSError):
        while True:
            if acknowledge is not None and quick is not None:
                acknowledge.setsockopt(socket.IPPROTO_TCP, quick, 1)  # the kernel forgets it; said before each read
            data = await source.read(_CHUNK)
            if not data:
                break
            sink.write(data)
            await sink.drain()
    sink.close()
