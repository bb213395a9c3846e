"""A server with faults in front of a little service, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from emulator.certificates import Certificates
from emulator.faults import FaultMiddleware, FaultRule, Faults
from emulator.journal import Journal
from emulator.ports import listener
from emulator.server import Connections, Server


@dataclass
class Bench:
    """`done` is what had its effect, in order."""

    faults: Faults
    journal: Journal
    http: httpx.AsyncClient
    done: list[str] = field(default_factory=list)

    def fault(self, **rule: object) -> int:
        return self.faults.add(FaultRule.model_validate({"path": "/things", **rule}))

    async def put(self, name: str = "a") -> httpx.Response:
        return await self.http.put(f"/things/{name}", json={"name": name})


@asynccontextmanager
async def running(certificates: Certificates) -> AsyncIterator[Bench]:
    """The bench, while the context lasts."""

    async def put(request: Request) -> Response:
        found.done.append((await request.json())["name"])
        return JSONResponse({"fail": request.state.fail_operation}, 201)

    async def stream(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield b"part"

        return StreamingResponse(parts())

    routes = [Route("/things/{name}", put, methods=["PUT"]), Route("/stream", stream), Route("/msi/token", stream),
              Route("/_emulator/x", stream)]
    faults, journal, connections = Faults(), Journal(), Connections()
    app = FaultMiddleware(Starlette(routes=routes), faults, journal, connections, lambda token: f"caller of {token}" if token else None)
    socket = listener(0)
    server = Server(app, socket, certificates, connections)
    await server.start()
    url = f"https://localhost:{socket.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, verify=certificates.trust(), trust_env=False) as http:
        found = Bench(faults, journal, http)
        yield found
    await server.stop()
