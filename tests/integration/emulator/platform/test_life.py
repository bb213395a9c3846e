"""How the platform starts, ends, is killed, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from emulator.azurite import account_key
from tests.support.platform import DEADLINE, ROOT, LivePlatform, wait_for

pytestmark = pytest.mark.xdist_group("platform-life")
ACCOUNT = "stpilotage"
EVENT = {"id": "e1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "data": {}, "dataVersion": "1"}
PROMISED = {
    "ARM_CLOUD_METADATA_URL", "REGISTRY_DISCOVERY_ENDPOINT_URL", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER", "AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE_DEV", "AZUREML_WORKSPACE_STAGING",
    "AZUREML_WORKSPACE_PROD", "AZUREML_REGISTRY", "EVENTGRID_TOPIC_ENDPOINT", "EVENTGRID_TOPIC_KEY", "EVENTGRID_WEBHOOK_URL",
    "FUNCTIONS_URL", "PILOTAGE_TOKEN", "HTTPS_PROXY"}


def processes(state: Path) -> dict[int, str]:
    """Everything that runs on a state folder: process id -> command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            running = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if running and (f"{state}/" in environment or str(state) in command) and entry.name != str(os.getpid()):
            found[int(entry.name)] = command
    return found


def wait_until_nothing_runs(state: Path) -> None:
    wait_for("the end of all processes", lambda: True if not processes(state) else None)


def up(state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`emulator up` that is expected to end by itself."""
    command = [sys.executable, "-m", "emulator.cli", "up", "--state", str(state), "--ports", "auto", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)


def use(platform: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in platform.variables("ada").items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def live(state: Path) -> Iterator[LivePlatform]:
    """A platform of its own without the app, which the test may kill."""
    platform = LivePlatform(state, functions=False).start()
    yield platform
    platform.kill()
    wait_until_nothing_runs(state)


def test_it_ends_cleanly_and_leaves_nothing(live: LivePlatform) -> None:
    assert set(live.env) >= PROMISED
    assert len(processes(live.state)) >= 2
    assert live.stop() == 0
    assert processes(live.state) == {}
    log = (live.state / "up.log").read_text().splitlines()
    assert (log[-2], log[-1]) == ("ready", "ending")


def test_ctrl_c_ends_it_too(live: LivePlatform) -> None:
    os.kill(live_process(live), signal.SIGINT)
    wait_until_nothing_runs(live.state)


def live_process(live: LivePlatform) -> int:
    return int((live.state / "lock").read_text())


def test_a_signal_while_it_starts_ends_it(state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True)
    (state / "env").write_text("EMULATOR_URL=https://localhost:1\n")  # an earlier one's: who waits for the file must not find it
    command = [sys.executable, "-m", "emulator.cli", "up", "--state", str(state), "--ports", "auto", "--no-functions"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_for("its first child", lambda: True if (state / "processes.json").exists() else None)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    assert "ready" not in output.split()
    assert not (state / "env").exists()
    assert processes(state) == {}


class TestKilled:
    def test_alone_it_takes_its_children_along(self, live: LivePlatform) -> None:
        os.kill(live_process(live), signal.SIGKILL)
        wait_until_nothing_runs(live.state)

    def test_started_again_it_goes_on(self, live: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
        use(live, monkeypatch)
        before = dict(live.env)
        key = {"account_name": ACCOUNT, "account_key": account_key(ACCOUNT)}
        row = {"PartitionKey": "p", "RowKey": "r", "n": 1}
        named = AzureNamedKeyCredential(ACCOUNT, account_key(ACCOUNT))
        tables: dict[str, Any] = {"endpoint": f"https://{ACCOUNT}.table.core.windows.net", "credential": named}
        live.advance("PT1H")
        live.control("POST", "/eventgrid/publish", json={"topic": "drift-alerts", "events": [EVENT]})
        blob = BlobServiceClient(f"https://{ACCOUNT}.blob.core.windows.net", key).create_container("kept").get_blob_client("b")
        blob.upload_blob(b"acknowledged")
        with TableServiceClient(**tables).create_table("kept") as client:
            client.create_entity(row)
        live.kill()

        live.start()
        with BlobServiceClient(f"https://{ACCOUNT}.blob.core.windows.net", key) as again:
            assert again.get_blob_client("kept", "b").download_blob().readall() == b"acknowledged"
        with TableServiceClient(**tables).get_table_client("kept") as client:
            assert client.get_entity("p", "r")["n"] == 1
        assert {name: value for name, value in live.env.items() if name != "PILOTAGE_TOKEN"} == {
            name: value for name, value in before.items() if name != "PILOTAGE_TOKEN"}
        assert live.control("GET", "/clock")["offset_seconds"] == 3600
        (delivery,) = live.control("GET", "/eventgrid/deliveries")["items"]
        assert (delivery["eventId"], delivery["state"], delivery["attempts"]) == ("e1", "pending", 0)


class TestTwo:
    def test_a_second_one_on_the_same_folder_is_refused(self, live: LivePlatform) -> None:
        second = up(live.state)
        assert second.returncode == 1
        assert f"process {live_process(live)}" in second.stderr
        assert live.control("GET", "/health")["status"] == "ok"

    def test_stop_ends_the_one_that_runs(self, live: LivePlatform) -> None:
        command = [sys.executable, "-m", "emulator.cli", "stop", "--state", str(live.state)]
        assert subprocess.run(command, cwd=ROOT, timeout=DEADLINE, check=False).returncode == 0
        wait_until_nothing_runs(live.state)
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert (again.returncode, again.stdout.split()[0]) == (0, "no")


class TestAChildThatDies:
    def test_the_platform_says_so_and_ends(self, live: LivePlatform) -> None:
        (azurite,) = [pid for pid, command in processes(live.state).items() if "azurite.js" in command]
        os.kill(azurite, signal.SIGKILL)
        wait_until_nothing_runs(live.state)
        log = (live.state / "up.log").read_text()
        assert "ChildDied: azurite ended with exit code -9" in log

    def test_an_app_that_does_not_load_is_shown_with_its_reason(self, tmp_path: Path) -> None:
        app = tmp_path / "app"
        app.mkdir()
        (app / "host.json").write_text('{"version": "2.0"}')
        (app / "function_app.py").write_text("raise RuntimeError('not today')")
        config = tmp_path / "platform.yaml"
        config.write_text((ROOT / "platform.yaml").read_text().replace("  path: .\n", "  path: app\n"))
        result = up(tmp_path / "state", "--config", str(config))
        assert result.returncode == 1
        assert "ChildDied: functions" in result.stderr
        assert "not today" in result.stderr
        assert processes(tmp_path / "state") == {}


@pytest.mark.parametrize(("options", "words"), [
    (["--ports", "some"], "fixed or auto"), (["--config", "nowhere.yaml"], "nowhere.yaml does not exist")])
def test_what_can_not_be_started_is_said_in_a_line(tmp_path: Path, options: list[str], words: str) -> None:
    result = up(tmp_path / "state", *options)
    assert result.returncode in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_events_wait_for_the_app(state: Path) -> None:
    """Published while there is no app; delivered to it, with the handshake before, when it comes up on the same folder."""
    before = LivePlatform(state, functions=False).start()
    before.control("POST", "/eventgrid/publish", json={"topic": "drift-alerts", "events": [EVENT]})
    before.kill()
    platform = LivePlatform(state).start()
    try:
        def delivered() -> dict[str, Any] | None:
            (item,) = platform.control("GET", "/eventgrid/deliveries")["items"]
            return item if item["state"] == "delivered" else None

        assert wait_for("the delivery", delivered)["attempts"] == 1
        described = {item["name"]: item["validated"] for item in platform.control("GET", "/eventgrid/subscriptions")["items"]}
        assert described == {"drift-alerts": True, "model-events": False, "drift-breaches": False}
        assert platform.stop() == 0
        assert processes(state) == {}
    finally:
        platform.kill()
