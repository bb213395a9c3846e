"""Queue triggers against Azurite's queue service."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator import azurite
from emulator.certificates import Certificates
from emulator.functions_host.storage_queue import StorageQueue
from tests.support.functions_host import LiveHost, free_port
from tests.support.platform import wait_for

ACCOUNT = "letters"


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an account."""
    folder, port = tmp_path_factory.mktemp("azurite"), free_port()
    # Azurite's own door for queues alone, without TLS: the rest of the command is the platform's.
    node = azurite.command(folder, dict.fromkeys(azurite.KINDS, port), Certificates(folder, folder, folder, folder))[0]
    process = subprocess.Popen(
        [node, str(azurite.PACKAGE / "dist" / "src" / "queue" / "main.js"), "--location", str(folder), "--queueHost", "127.0.0.1",
         "--queuePort",
         str(port), "--silent", "--disableTelemetry", "--skipApiVersionCheck"], env=azurite.variables([ACCOUNT]), cwd=folder)
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"

    def answers() -> bool | None:
        try:
            return httpx.get(url, trust_env=False).status_code > 0
        except httpx.HTTPError:
            return None

    wait_for("Azurite", answers)
    yield f"AccountName={ACCOUNT};AccountKey={azurite.account_key(ACCOUNT)};QueueEndpoint={url}"
    process.terminate()
    process.wait(30)


def _do(connection: str, name: str, operation: str, *arguments: Any) -> Any:
    return asyncio.run(getattr(StorageQueue.open(connection, name), operation)(*arguments))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_letters_are_read_and_those_that_can_not_be_go_to_the_poison_queue(connection: str, tmp_path: Path) -> None:
    host = LiveHost("letterbox", tmp_path, {"Values": {"AzureWebJobsStorage": connection, "LETTERS": "letters"}})
    _do(connection, "letters", "ensure")
    for number in range(6):
        _do(connection, "letters", "put", _encoded(f"letter {number} & <more>"))
    _do(connection, "letters", "put", "%%% not base64")
    host.start()

    def read() -> list[dict[str, Any]]:
        return list(host.http.get("/api/letters").json())

    wait_for("six letters", lambda: True if len(read()) >= 6 else None)
    assert sorted((letter["text"], letter["count"]) for letter in read()) == [(f"letter {number} & <more>", 1) for number in range(6)]
    _do(connection, "letters", "put", _encoded("torn"))

    _do(connection, "letters-poison", "ensure")
    taken: dict[str, str] = {}

    def poison() -> set[str] | None:
        taken.update({message.id: message.content for message in _do(connection, "letters-poison", "take", 32, 600)})
        return set(taken.values()) if len(taken) == 2 else None

    assert wait_for("the poison queue", poison) == {_encoded("torn"), "%%% not base64"}
    assert [letter["count"] for letter in read() if letter["text"] == "torn"] == [1, 2, 3]
    wait_for("that nothing is left", lambda: True if _do(connection, "letters", "take", 32, 1) == [] else None)
    assert len(read()) == 9
    assert host.stop() == 0


def test_without_its_connection_the_host_says_so(tmp_path: Path) -> None:
    host = LiveHost("letterbox", tmp_path, {"Values": {"LETTERS": "letters"}})
    host.launch()
    assert host.process is not None
    assert host.process.wait(60) == 1
    assert "AzureWebJobsStorage" in host.log
