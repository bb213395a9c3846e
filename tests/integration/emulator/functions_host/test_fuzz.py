"""Malformed requests of every kind, seeded: never a 500, never a broken host."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.support.functions_host import LiveHost

SEED = 20_261_123
_TEXTS = ["", "x", "@", "@counter@x", "a%2Fb", "%00", "%ff%fe", "..", "%2e%2e", "x" * 300, "%F0%9F%90%9F", "{id}", "%7B%7D",
          "a b".replace(" ", "%20"),
          "-1", "9" * 40, "null", "nan", "%25", "%", "%zz", "a;b", "a'b", "a%22b", "%0a", "$", "*", "~", "INSTANCEID"]
_VALUES = ["", "true", "maybe", "-1", "0", "1e999", "nan", "9" * 30, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
           "2026-13-01", "now",
           "Running", "Running,,", ",", "Unknown", "\x00", "é", "%", "ShopHub", "2026-01-01", "[]", "{}", "\ud7ff"]
_NAMES = ["showInput", "showHistory", "showHistoryOutput", "returnInternalServerErrorOnFailure", "createdTimeFrom", "createdTimeTo",
          "runtimeStatus",
          "instanceIdPrefix", "top", "taskHub", "connection", "timeout", "pollingInterval", "reason", "op", "fetchState",
          "lastOperationTimeFrom",
          "lastOperationTimeTo", "restartWithNewInstanceId", "recursive", "functionName", "TOP"]
_BODIES = [b"", b"{", b"null", b"[" * 20_000, b"NaN", b"1e999", b"\xff\xfe", b'"\\ud800"', b'{"a":' * 2_000, b"9" * 5_000, b'"x"', b"{}",
           b"[]", b"[1]",
           b'{"offset_seconds":"x"}', b'{"offset_seconds":-1}', b'{"offset_seconds":NaN}', b'{"offset_seconds":[]}', b'{"value":1}',
           b'{"input":{}}',
           b'[{"data":{}}]', b"\x00"]
_TYPES = ["", "application/json", "text/plain", "application/json; charset=utf-16", "application/cloudevents+json", "multipart/form-data",
          "é"]
_METHODS = [*["GET"] * 5, *["POST"] * 6, *["DELETE"] * 3, "PUT", "PATCH", "HEAD", "OPTIONS", "BREW"]
_OPERATIONS = ["terminate", "suspend", "resume", "rewind", "restart", "raiseEvent", "raiseEvent/x", "dance"]


def _requests(count: int, seed: int) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """Method, target, headers, body."""
    chance = random.Random(seed)
    pick = chance.choice

    def target() -> str:
        durable, text = "/runtime/webhooks/durabletask", pick(_TEXTS)
        return pick([
            f"{durable}/instances", f"{durable}/instances/{text}", f"{durable}/instances/{pick([text, 'fuzz-1'])}/{pick(_OPERATIONS)}",
            f"{durable}/orchestrators/{pick(['order', 'rounds', text])}/{pick(_TEXTS)}", f"{durable}/orchestrators/{text}",
            f"{durable}/entities/{pick(['counter', text])}/{pick(_TEXTS)}", f"{durable}/entities/{text}", f"{durable}/{text}",
            f"{durable}{text}",
            f"/runtime/webhooks/{text}", "/runtime/webhooks/eventgrid", f"/shop/v1/items/{text}", f"/shop/v1/items/{text}/{pick(_TEXTS)}",
            f"/shop/v1/files/{text}", f"/{text}", f"/admin/functions/{text}", "/admin/functions/nightly/keys/" + text, "/_emulator/clock",
            f"/admin/host/{pick(['keys', 'systemkeys', 'functionkeys', text])}/{pick(_TEXTS)}", f"/admin/{text}", "/admin/host/status"])

    for _ in range(count):
        query = "&".join(f"{name}={quote(pick(_VALUES), safe='%')}" for name in chance.sample(_NAMES, chance.randint(0, 4)))
        headers = {"content-type": pick(_TYPES)}
        if chance.random() < 0.2:
            headers["x-ms-continuation-token"] = pick(["x", "cGFnZTo=", "cGFnZTp4", "cGFnZTotNQ==", "é", "9" * 100])
        if chance.random() < 0.2:
            headers["aeg-event-type"] = pick(["Notification", "SubscriptionValidation", "Unsubscribe", "x"])
        yield pick(_METHODS), f"{target()}?{query}", headers, pick(_BODIES)


def _status(host: LiveHost, method: str, target: str, headers: dict[str, str], body: bytes) -> int:
    """Over a bare socket: a client library would mend much of it."""
    lines = [f"{method} {target} HTTP/1.1", f"host: 127.0.0.1:{host.port}", "connection: close", f"content-length: {len(body)}",
             f"x-functions-key: {host.keys['master']}", *(f"{name}: {value}" for name, value in headers.items() if value)]
    with socket.create_connection(("127.0.0.1", host.port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return int(connection.makefile("rb").readline().split()[1])


def _fuzz(host: LiveHost, count: int, seed: int) -> None:
    if host.durable("GET", "/instances/fuzz-1").status_code == 404:
        host.begin("rounds", "fuzz-1", 0)
    bad = [(found, request) for request in _requests(count, seed)
           if not 200 <= (found := _status(host, *request)) < 500]
    assert bad == []
    assert "failed in the host" not in host.log
    host.begin("rounds", f"fuzz-after-{seed}", 0)
    assert host.ended(f"fuzz-after-{seed}")["runtimeStatus"] == "Completed"


def test_no_malformed_request_is_a_server_error(shop: LiveHost) -> None:
    _fuzz(shop, 250, SEED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(8))
def test_no_malformed_request_is_a_server_error_at_length(shop: LiveHost, seed: int) -> None:
    _fuzz(shop, 1500, seed)
