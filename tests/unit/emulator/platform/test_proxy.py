"""Where the proxy leads, and where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from emulator.faults import FaultRule, Faults
from emulator.ports import listener
from emulator.proxy import ConnectProxy
from tests.support.subscriber import until

BLOB = "stdev.blob.core.windows.net"
type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """A proxy in front of a storage that sends back what it gets, in capitals."""

    def __init__(self) -> None:
        self.faults = Faults()

    async def start(self) -> None:
        self.storage = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.storage_port = self.storage.sockets[0].getsockname()[1]
        with listener(0) as free:
            self.port = free.getsockname()[1]
        ports = dict.fromkeys(("blob", "table", "queue"), self.storage_port)
        self.proxy = ConnectProxy(self.port, ports, ("stdev",), self.faults)
        await self.proxy.start()

    async def stop(self) -> None:
        await self.proxy.stop()
        self.storage.close()
        self.storage.close_clients()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    async def say(self, head: str) -> tuple[str, Connection]:
        """The proxy's first line, and the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{head}\r\nHost: x\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(1000), 10)
        return answer.decode().partition("\r\n")[0], (reader, writer)

    async def connect(self, host: str = BLOB, port: str = "443") -> tuple[str, Connection]:
        return await self.say(f"CONNECT {host}:{port} HTTP/1.1")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    found = Line()
    await found.start()
    yield found
    await found.stop()


async def echoed(connection: Connection, text: bytes) -> bytes:
    connection[1].write(text)
    return await asyncio.wait_for(connection[0].readexactly(len(text)), 10)


@pytest.mark.parametrize("host", [BLOB, "stdev.table.core.windows.net", "stdev.queue.core.windows.net", BLOB.upper()])
async def test_the_platforms_accounts_lead_to_azurite(line: Line, host: str) -> None:
    answer, connection = await line.connect(host)
    assert answer == "HTTP/1.1 200 Connection established"
    assert await echoed(connection, b"hello" * 100_000) == b"HELLO" * 100_000
    connection[1].close()


async def test_localhost_is_let_through(line: Line) -> None:
    answer, connection = await line.connect("localhost", str(line.storage_port))
    assert answer.startswith("HTTP/1.1 200")
    assert await echoed(connection, b"hello") == b"HELLO"
    connection[1].close()


@pytest.mark.parametrize(("host", "port"), [
    ("management.azure.com", "443"), ("login.microsoftonline.com", "443"), ("other.blob.core.windows.net", "443"), (BLOB, "80"),
    (f"{BLOB}.example.com", "443"), ("stdev.file.core.windows.net", "443"), ("localhost", "http"), ("", "")])
async def test_every_other_place_is_refused(line: Line, host: str, port: str) -> None:
    answer, (reader, _) = await line.connect(host, port)
    assert answer == "HTTP/1.1 403 Forbidden"
    assert await reader.read() == b""


async def test_what_is_no_connect_is_refused(line: Line) -> None:
    assert (await line.say("GET http://example.com/ HTTP/1.1"))[0] == "HTTP/1.1 403 Forbidden"
    assert (await line.say("nonsense"))[0] == ""


async def test_a_storage_that_is_down_is_a_bad_gateway(line: Line) -> None:
    line.storage.close()
    await line.storage.wait_closed()
    assert (await line.connect())[0] == "HTTP/1.1 502 Bad Gateway"


async def test_an_end_is_passed_on_in_both_directions(line: Line) -> None:
    _, (reader, writer) = await line.connect()
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


class TestFaults:
    def fault(self, line: Line, **rule: object) -> int:
        return line.faults.add(FaultRule.model_validate({"service": "storage", "path": "blob", **rule}))

    async def test_status(self, line: Line) -> None:
        self.fault(line, action="status", status=503)
        assert (await line.connect())[0] == "HTTP/1.1 503 Service Unavailable"
        assert (await line.connect())[0].startswith("HTTP/1.1 200")

    async def test_drop(self, line: Line) -> None:
        self.fault(line, action="drop")
        assert (await line.connect())[0] == ""

    async def test_hold(self, line: Line) -> None:
        number = self.fault(line, action="hold")
        connecting = asyncio.create_task(line.connect())
        await until(lambda: line.faults.list()[0]["holding"])
        assert (await line.connect("stdev.table.core.windows.net"))[0].startswith("HTTP/1.1 200")
        line.faults.remove(number)
        assert (await connecting)[0].startswith("HTTP/1.1 200")

    async def test_open_connections_can_be_cut(self, line: Line) -> None:
        _, (blob, _) = await line.connect()
        _, table = await line.connect("stdev.table.core.windows.net")
        assert line.proxy.cut(r"\.blob\.") == 1
        assert await asyncio.wait_for(blob.read(), 10) == b""
        assert await echoed(table, b"hello") == b"HELLO"
        assert line.proxy.cut(r"\.blob\.") == 0
        table[1].close()

    async def test_rules_for_other_services_do_not_count(self, line: Line) -> None:
        line.faults.add(FaultRule(path="", action="drop"))
        assert (await line.connect())[0].startswith("HTTP/1.1 200")
