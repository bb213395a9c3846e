"""`kill -9` of the platform under a running job: nothing outlives it, and the job goes on after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.platform import LivePlatform, wait_for

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-pilotage"
    "/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev"
)


def connected(platform: LivePlatform) -> httpx.Client:
    """An HTTP client with a token of Ada's managed identity."""
    env = platform.variables("ada")
    options: dict[str, Any] = {"verify": env["SSL_CERT_FILE"], "trust_env": False, "timeout": 30}
    query = {"resource": "https://management.azure.com", "api-version": "2019-08-01", "client_id": env["AZURE_CLIENT_ID"]}
    answer = httpx.get(env["IDENTITY_ENDPOINT"], params=query, headers={"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]}, **options)
    token = answer.raise_for_status().json()["access_token"]
    return httpx.Client(base_url=env["EMULATOR_URL"], headers={"authorization": f"Bearer {token}"}, **options)


def put(http: httpx.Client, path: str, properties: dict[str, Any]) -> None:
    http.put(f"{WORKSPACE}/{path}", json={"properties": properties}).raise_for_status()


def component(http: httpx.Client, name: str, command: str, **ports: Any) -> None:
    spec = {"type": "command", "name": name, "version": "1", "command": command, "environment": "azureml:env:1", **ports}
    put(http, f"components/{name}/versions/1", {"componentSpec": spec})


@pytest.mark.xdist_group("restart-jobs")
def test_a_killed_platforms_pipeline_goes_on_from_its_first_unfinished_step(tmp_path: Path) -> None:
    platform = LivePlatform(tmp_path / "state", functions=False).start()
    counted, begun, gate = tmp_path / "counted", tmp_path / "begun", tmp_path / "gate"
    try:
        with connected(platform) as http:
            put(http, "environments/env/versions/1", {"image": "mcr.microsoft.com/azureml/minimal"})
            output = {"outputs": {"o": {"type": "uri_file"}}}
            component(http, "count", f"echo once >> {counted}; echo -n done > ${{{{outputs.o}}}}", **output)
            # A shell that waits for a child: the kernel ends the shell with the platform, but not the child.
            command = f"python -c 'import os; print(os.getpid())' > {begun}.new; mv {begun}.new {begun};"
            command += f" until test -e {gate}; do sleep 0.1; done; cat ${{{{inputs.i}}}} > ${{{{outputs.o}}}}"
            component(http, "wait", command, inputs={"i": {"type": "uri_file"}}, **output)
            steps = {
                "first": {"componentId": "count:1"},
                "second": {"componentId": "wait:1", "inputs": {"i": {"value": "${{parent.jobs.first.outputs.o}}"}},
                           "outputs": {"o": {"value": "${{parent.outputs.o}}"}}},
            }  # fmt: skip
            put(http, "jobs/p", {"jobType": "Pipeline", "jobs": steps, "outputs": {"o": {"jobOutputType": "uri_file"}}})
            wait_for("the second step", lambda: begun.exists() or None)
        platform.kill()
        gate.touch()
        platform.start()
        with connected(platform) as http:
            job = wait_for("the end of the job", lambda: _ended(http))
            assert job["status"] == "Completed"
            children = http.get(f"/history/v1.0{WORKSPACE}/runs/p/children").json()["value"]
        assert [(child["displayName"], child["status"]) for child in children] == [("first", "Completed"), ("second", "Completed")]
        assert counted.read_text().splitlines() == ["once"]
        assert platform.stop() == 0
    finally:
        platform.kill()


def _ended(http: httpx.Client) -> dict[str, Any] | None:
    job: dict[str, Any] = http.get(f"{WORKSPACE}/jobs/p").json()["properties"]
    return job if job["status"] in ("Completed", "Failed", "Canceled") else None
