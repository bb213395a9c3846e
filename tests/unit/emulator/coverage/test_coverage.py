"""The coverage table says what the code does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from starlette.responses import Response

from emulator.azure_ml.resource import ArmRequest, Unsupported
from emulator.coverage import GOLDEN, Operation, asked, operations, render

ROOT = Path(__file__).parents[4]


def test_the_published_table_is_the_codes() -> None:
    """`python -m emulator.coverage > docs/emulator/coverage.md` mends it."""
    assert (ROOT / "docs" / "emulator" / "coverage.md").read_text() == render(ROOT / GOLDEN)


class Kites(Unsupported):
    fidelity: ClassVar[dict[str, str]] = {"get": "documented", "put": "documented", "post:fly": "documented"}

    async def get(self, request: ArmRequest) -> Response:
        return Response()

    async def put(self, request: ArmRequest) -> Response:
        return Response()

    async def post(self, request: ArmRequest) -> Response:
        if request.action == "land":
            return Response()
        match request.action:
            case "fly" | "dive":
                return Response()
        return await super().post(request)


class Strings(Unsupported):
    async def post(self, request: ArmRequest) -> Response:
        return Response()


def test_what_is_overridden_is_an_operation() -> None:
    found = list(operations({"kites/strings": Strings(), "kites": Kites()}, frozenset({("kites", "put")})))
    assert found == [
        Operation("kites", "get", "documented"), Operation("kites", "put", "SDK-verified"), Operation("kites", "post:dive", "assumed"),
        Operation("kites", "post:fly", "documented"), Operation("kites", "post:land", "assumed"),
        Operation("kites/strings", "post", "assumed")]


def test_a_level_that_is_none_is_refused() -> None:
    class Wrong(Kites):
        fidelity: ClassVar[dict[str, str]] = {"get": "certain"}

    with pytest.raises(ValueError, match="certain"):
        list(operations({"kites": Wrong()}, frozenset()))


def test_golden_journals_are_read(tmp_path: Path) -> None:
    (tmp_path / "1.0").mkdir()
    (tmp_path / "1.0" / "some.json").write_text(json.dumps([
        "GET {workspaces/w}?api-version=1", "GET {workspaces/w}/Models?api-version=1", "GET {workspaces/w}/models/{name}/versions/1",
        "PUT /mferp/managementfrontend{registries/r}/models/{name}", "POST {workspaces/w}/onlineEndpoints/{name}/listKeys?api-version=1",
        "POST {registries/r}/import", "POST /endpoints/{name}/score", "POST {registries/r}/datarefs/{name}/versions/1"]))
    assert asked(tmp_path) == {
        ("", "get"), ("models", "list"), ("models/versions", "get"), ("models", "put"), ("onlineendpoints", "post:listkeys"),
        ("", "post:import"), ("datarefs/versions", "post")}
    assert asked(tmp_path / "none") == frozenset()
