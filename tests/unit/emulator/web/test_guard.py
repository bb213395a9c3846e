"""Who may ask the platform's own pages and control API."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.web import OwnPages
from emulator.web.guard import refusal

HOST = "localhost:8443"


@pytest.mark.parametrize("headers", [
    {}, {"origin": f"https://{HOST}"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}])
def test_scripts_and_our_own_pages_may_change_things(headers: dict[str, str]) -> None:
    assert refusal("POST", {"host": HOST, **headers}) is None


@pytest.mark.parametrize("headers", [
    {"origin": "https://stranger.example"}, {"origin": "null"}, {"origin": "https://localhost:9999"}, {"origin": ""}, {"origin": "http://["},
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}])
def test_a_page_of_another_site_may_not(headers: dict[str, str]) -> None:
    assert "another site" in (refusal("POST", {"host": HOST, **headers}) or "")
    assert refusal("GET", {"host": HOST, **headers}) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8443", "[::1]:8443"])
def test_its_names(host: str) -> None:
    assert refusal("GET", {"host": host}) is None


@pytest.mark.parametrize("host", ["stranger.example", "localhost.stranger.example:8443", "", "[", "127.0.0.2"])
def test_a_name_that_somebody_has_pointed_at_this_machine(host: str) -> None:
    assert "is called localhost" in (refusal("GET", {"host": host}) or "")


async def test_the_services_of_azure_are_left_alone() -> None:
    async def answer(request: Request) -> Response:
        return Response(request.url.path)

    app = OwnPages(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://stranger.example") as http:
        assert (await http.post("/endpoints/e/score", headers={"origin": "https://other.example"})).status_code == 200
        assert (await http.get("/_emulator/clock")).status_code == 403
        assert (await http.get("/")).status_code == 403
