"""A CONNECT proxy that leads the real storage host names to Azurite, and everything else nowhere.

Clients believe that they talk to `https://{account}.blob.core.windows.net`; TLS ends in Azurite. A host that
is not ours is refused, so nothing that runs on the local platform can reach public Azure by mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from asyncio import StreamReader, StreamWriter
from asyncio.trsock import TransportSocket
from collections.abc import Collection, Mapping
from http import HTTPStatus

from emulator.certificates import STORAGE_SUFFIX
from emulator.faults import Faults

_HOST = re.compile(rf"^(?P<account>[a-z0-9]+)\.(?P<kind>blob|table|queue)\.{re.escape(STORAGE_SUFFIX)}$")
_CHUNK = 64 * 1024
_QUICK = getattr(socket, "TCP_QUICKACK", None)


class ConnectProxy:
    """Listens on loopback. Faults of service `storage` apply to connections: their path is the host's name."""

    def __init__(self, port: int, storage_ports: Mapping[str, int], accounts: Collection[str], faults: Faults) -> None:
        self._port, self._storage_ports, self._accounts, self._faults = port, storage_ports, accounts, faults
        self._server: asyncio.Server | None = None
        self._tunnels: dict[StreamWriter, str] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server.close_clients()

    def cut(self, host: str) -> int:
        """Break the open connections to hosts that match the pattern; returns how many.

        Clients keep connections in pools: a fault that is to hit their next request has to take these away first.
        """
        found = [writer for writer, name in self._tunnels.items() if re.search(host, name, re.IGNORECASE)]
        for writer in found:
            writer.transport.abort()
        return len(found)

    def _destination(self, host: str, port: str) -> int | None:
        """The local port behind a host and port; None: refused."""
        if (match := _HOST.match(host)) and port == "443" and match["account"] in self._accounts:
            return self._storage_ports[match["kind"]]
        if host in ("localhost", "127.0.0.1") and port.isdigit():
            return int(port)
        return None

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        # What a broken or strange client sends ends its own connection and nothing else.
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, authority, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            host, _, port = authority.lower().rpartition(":")
            local = self._destination(host, port) if method == "CONNECT" else None
            if local is None:
                await _refuse(writer, HTTPStatus.FORBIDDEN)
            elif await self._goes_on(host, reader, writer):
                await self._connect(host, local, reader, writer)
        writer.close()

    async def _goes_on(self, host: str, reader: StreamReader, writer: StreamWriter) -> bool:
        """Apply a fault to a connection that is being made; False when it ends here."""
        fault = self._faults.take("storage", "CONNECT", host)
        if fault is None or fault.rule.action == "fail_operation":
            return True
        match fault.rule.action:
            case "drop":
                writer.transport.abort()
                return False
            case "status":
                await _refuse(writer, HTTPStatus(fault.rule.status))
                return False
            case "delay":
                await asyncio.sleep(fault.rule.delay_seconds)
            case "hold":
                # A client says nothing until it has our answer: what can be read is its going.
                return await fault.hold(asyncio.ensure_future(reader.read(1)))
        return True

    async def _connect(self, host: str, port: int, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            storage_reader, storage_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await _refuse(writer, HTTPStatus.BAD_GATEWAY)
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._tunnels[writer] = host
        try:
            await asyncio.gather(_copy(reader, storage_writer, writer.get_extra_info("socket")), _copy(storage_reader, writer, None))
        finally:
            del self._tunnels[writer]
            storage_writer.close()


async def _refuse(writer: StreamWriter, status: HTTPStatus) -> None:
    writer.write(f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()


async def _copy(source: StreamReader, sink: StreamWriter, acknowledge: TransportSocket | None) -> None:
    """Copy until the end, then end the sink. `acknowledge` is the source's socket where its peer uses Nagle's algorithm:
    urllib3 does behind a proxy, and each small request would wait 40 ms for our delayed acknowledgement."""
    try:
        while True:
            if acknowledge is not None and _QUICK is not None:
                acknowledge.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)  # the kernel forgets it; said before each read
            data = await source.read(_CHUNK)
            if not data:
                break
            sink.write(data)
            await sink.drain()
    except OSError:
        sink.transport.abort()
    else:
        sink.close()
