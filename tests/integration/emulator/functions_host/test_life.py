"""A host's life: it starts or says why not, ends in order, goes on after any end, and follows changed files."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.functions_host import LiveHost
from tests.support.platform import wait_for

HELLO = '''
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("{text}")
'''


def _small(folder: Path, source: str, settings: dict[str, Any] | None = None) -> LiveHost:
    """A host on an app without durable functions."""
    host = LiveHost("small", folder, settings)
    (host.app / "function_app.py").write_text(source)
    return host


def _ends(host: LiveHost) -> tuple[int, str]:
    host.launch()
    assert host.process is not None
    return host.process.wait(60), host.log


@pytest.mark.parametrize(("source", "settings", "host_json", "told"), [
    ("import nothing_of_that_name\n", None, None, "No module named 'nothing_of_that_name'"),
    (HELLO, {"IsEncrypted": True, "Values": {"A": "b"}}, None, "encrypted"),
    (HELLO.replace('route="hello"', 'route="hello/{id"'), None, None, "hello: the route 'api/hello/{id' can't be used"),
    (HELLO, None, {"version": "2.0", "extensions": {"durableTask": {"hubName": "%NO_SUCH_HUB%"}}}, "NO_SUCH_HUB"),
], ids=["import", "encrypted", "route", "setting"])
def test_an_app_that_does_not_load_ends_the_host_with_the_reason(tmp_path: Path, source: str, settings: dict[str, Any] | None,
                                                                 host_json: dict[str, Any] | None, told: str) -> None:
    host = _small(tmp_path, source, settings)
    if host_json is not None:
        (host.app / "host.json").write_text(json.dumps(host_json))
    code, log = _ends(host)
    assert code == 1
    assert told in log
    if settings is None and host_json is None and "route=" not in source:
        assert "function_app.py" in log, "the app's own traceback"


def test_killed_and_started_again_it_goes_on_with_its_work_and_its_keys(tmp_path: Path) -> None:
    settings = {"Values": {"SHOP_HUB": "LifeHub", "SHOP_SCHEDULE": "0 0 3 * * *"}}
    host = LiveHost("shop", tmp_path, settings).start()
    keys = host.keys
    host.admin("PUT", "/admin/functions/keyed/keys/partner", json={"value": "s3cret"}).raise_for_status()
    host.begin("approval", "life-1")
    host.becomes("life-1", "Running")
    host.kill()
    host.start()
    assert host.keys == keys
    assert host.http.get("/shop/v1/keyed", params={"code": "s3cret"}).status_code == 200
    assert host.durable("POST", "/instances/life-1/raiseEvent/approved", json=True).status_code == 202
    assert host.ended("life-1")["output"] == {"approved": True}
    assert host.stop() == 0


def test_changed_files_start_the_host_again_and_a_broken_one_is_waited_out(tmp_path: Path) -> None:
    host = _small(tmp_path, HELLO.replace("{text}", "one")).start("--watch")
    source = host.app / "function_app.py"
    assert host.http.get("/api/hello").text == "one"
    wait_for("the watch", lambda: True if "Watching" in host.log else None)
    source.write_text(HELLO.replace("{text}", "two"))
    host.wait_ready(2)
    assert host.http.get("/api/hello").text == "two"
    source.write_text("def broken(:\n")
    wait_for("the traceback", lambda: True if "SyntaxError" in host.log else None)
    source.write_text(HELLO.replace("{text}", "three"))
    host.wait_ready(3)
    assert host.http.get("/api/hello").text == "three"
    assert host.stop() == 0


def test_the_command_takes_its_port_from_local_settings(tmp_path: Path) -> None:
    host = _small(tmp_path, HELLO.replace("{text}", "here"))
    (host.app / "local.settings.json").write_text(json.dumps({"Host": {"LocalHttpPort": host.port}}))
    host.launch_command([sys.executable, "-m", "emulator.cli", "functions", "start", "--app", str(host.app), "--state", str(host.state)])
    host.wait_ready()
    assert host.http.get("/api/hello").text == "here"
    assert host.stop() == 0


STUCK = '''
import asyncio

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
stuck = asyncio.Event()


@app.route(route="stuck")
async def never(req: func.HttpRequest) -> func.HttpResponse:
    await stuck.wait()
    return func.HttpResponse("free")
'''


def test_host_jsons_limits_hold(tmp_path: Path) -> None:
    host = _small(tmp_path, STUCK)
    (host.app / "host.json").write_text(json.dumps({
        "version": "2.0", "functionTimeout": "00:00:01", "extensions": {"http": {"routePrefix": "", "maxOutstandingRequests": 1}}}))
    host.start()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: host.http.get("/stuck").status_code, range(4)))
    assert statuses.count(500) >= 1, "the time of one has passed"
    assert statuses.count(429) >= 1, "another came while it was there"
    assert set(statuses) == {429, 500}
    assert "Timeout value of 00:00:01 exceeded by function: never" in host.log
    assert host.stop() == 0


def test_an_instance_of_a_newer_version_waits_for_a_host_that_has_it(tmp_path: Path) -> None:
    section = "AzureFunctionsJobHost__extensions__durableTask__"
    settings = {"Values": {"SHOP_HUB": "VersionHub", "SHOP_SCHEDULE": "0 0 3 * * *"}}
    host = LiveHost("shop", tmp_path, settings, {f"{section}versionFailureStrategy": "Reject"}).start()
    host.http.post("/shop/v1/client/schedule", json={"name": "receipt", "id": "newer", "input": {"item": "fig"}, "version": "2.0.0"})
    wait_for("the refusal", lambda: True if "newer (receipt) is left alone" in host.log else None)
    assert host.durable("GET", "/instances/newer").status_code == 202
    assert host.stop() == 0
    host.environment[f"{section}defaultVersion"] = "2.1.0"
    host.start()
    assert host.ended("newer")["output"] == {"price": 3, "version": "2.0.0", "instance": "newer"}
    assert host.stop() == 0
