"""`Microsoft.Authorization` over HTTP: bad requests are refused in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from emulator.access import Access
from emulator.authorization import Authorization
from emulator.azure_ml.store import ResourceStore
from emulator.config import PlatformConfig
from emulator.context import Caller

SCOPE = "/subscriptions/s"
PATH = f"{SCOPE}/providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555"


class Somebody:
    """Verifies that whoever asks is Ada."""

    def caller(self, authorization: str | None) -> Caller:
        return Caller("oid-ada", "Ada")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    config = PlatformConfig.model_validate({
        "tenant": "t", "subscription": "s", "resource_group": "rg", "location": "eastus", "ledger_account": "stledger",
        "workspaces": [{"name": "dev", "account": "stdev"}], "registries": [], "app_identity": "ada", "job_identity": "ada",
        "identities": [{"id": "ada", "name": "Ada", "object_id": "oid-ada"}]})
    store = ResourceStore(tmp_path / "azureml.sqlite")
    app = Starlette(routes=Authorization(config, Access(config, store), Somebody(), "https://localhost:1").routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://localhost:1") as client:
        yield client
    store.close()


def body(role: str = "Reader", principal: str = "oid-ada") -> bytes:
    return f'{{"properties": {{"roleDefinitionId": "{role}", "principalId": "{principal}"}}}}'.encode()


@pytest.mark.parametrize(("content", "status", "code"), [
    (body(), 201, None),
    (body(principal="\\ud800"), 400, "PrincipalNotFound"), (body(role="\\ud800"), 404, "RoleDefinitionDoesNotExist"),
    (body(principal=""), 400, "BadRequestFormat"), (b'{"properties": {"roleDefinitionId": 1, "principalId": []}}', 400, "BadRequestFormat"),
    (b"[]", 400, "InvalidRequestContent"), (b"\xff", 400, "InvalidRequestContent"), (b"[" * 100_000, 400, "InvalidRequestContent")])
async def test_what_is_asked_of_an_assignment(http: httpx.AsyncClient, content: bytes, status: int, code: str | None) -> None:
    answer = await http.put(PATH, content=content)
    assert answer.status_code == status
    assert answer.json().get("error", {}).get("code") == code


@pytest.mark.parametrize("content", [
    b"{}", b"[]", b"no", b"[" * 100_000, b'{"identity": 1, "role": 2, "scope": 3}',
    b'{"identity": "\\ud800", "role": "Reader", "scope": "dev"}',
    b'{"identity": "ada", "role": "\\ud800", "scope": "dev"}', b'{"identity": "ada", "role": "Reader", "scope": "\\ud800"}'])
async def test_what_is_asked_by_the_control_api(http: httpx.AsyncClient, content: bytes) -> None:
    for method in ("PUT", "DELETE"):
        assert (await http.request(method, "/_emulator/access", content=content)).status_code == 400
