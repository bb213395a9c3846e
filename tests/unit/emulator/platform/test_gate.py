"""Requests are held back while the services behind the gate are replaced."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.gate import Gate


class Service:
    def __init__(self, name: str) -> None:
        self.name, self.asked, self.go_on = name, asyncio.Event(), asyncio.Event()

    def app(self) -> Starlette:
        async def slow(request: Request) -> Response:
            self.asked.set()
            await self.go_on.wait()
            return Response(self.name)

        async def quick(request: Request) -> Response:
            return Response(self.name)

        return Starlette(routes=[Route("/slow", slow), Route("/quick", quick), Route("/_emulator/health", quick)])


async def test_those_inside_end_and_those_outside_wait() -> None:
    old, new = Service("old"), Service("new")
    gate = Gate(old.app())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://x") as http:
        inside = asyncio.create_task(http.get("/slow"))
        await old.asked.wait()
        closed = asyncio.Event()

        async def replace() -> None:
            async with gate.closed(patience=30):
                assert inside.done()
                gate.app = new.app()
                closed.set()

        replacing = asyncio.create_task(replace())
        await asyncio.sleep(0)
        outside = asyncio.create_task(http.get("/quick"))
        assert (await http.get("/_emulator/health")).text == "old"  # passes at any time
        assert not closed.is_set()
        assert not outside.done()
        old.go_on.set()
        await replacing
        assert ((await inside).text, (await outside).text) == ("old", "new")


async def test_patience_has_an_end() -> None:
    old = Service("old")
    gate = Gate(old.app())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://x") as http:
        inside = asyncio.create_task(http.get("/slow"))
        await old.asked.wait()
        async with gate.closed(patience=0):
            assert not inside.done()
        old.go_on.set()
        await inside
