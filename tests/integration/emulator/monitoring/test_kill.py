"""A platform that is killed again and again while its schedules fire: no time is run twice, and the last is run."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.platform import LivePlatform, wait_for


def scheduled_times(http: httpx.Client, scope: str) -> list[str]:
    found = http.get(f"{scope}/jobs").raise_for_status().json()["value"]
    return [job["properties"]["properties"]["azureml.scheduleTime"] for job in found]


def client(platform: LivePlatform) -> httpx.Client:
    """Ada, signed in as a managed identity is; not through the SDK, whose import would be most of this test."""
    variables = platform.variables("ada")
    options: dict[str, Any] = {"verify": variables["SSL_CERT_FILE"], "trust_env": False}
    query = {"resource": "https://management.azure.com", "api-version": "2019-08-01", "client_id": variables["AZURE_CLIENT_ID"]}
    header = {"X-IDENTITY-HEADER": variables["IDENTITY_HEADER"]}
    token = httpx.get(variables["IDENTITY_ENDPOINT"], params=query, headers=header, **options).raise_for_status().json()["access_token"]
    return httpx.Client(base_url=variables["EMULATOR_URL"], headers={"authorization": f"Bearer {token}"}, **options)


@pytest.mark.exhaustive
def test_killed_while_schedules_fire(tmp_path: Path) -> None:
    """Each round moves the clock over the next five minutes and kills the platform a random moment later."""
    platform = LivePlatform(tmp_path / "state", functions=False).start()
    scope = (
        f"/subscriptions/{platform.env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{platform.env['AZURE_RESOURCE_GROUP']}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{platform.env['AZUREML_WORKSPACE_DEV']}"
    )
    draw = random.Random(7)
    try:
        with client(platform) as http:
            http.put(f"{scope}/environments/kill/versions/1", json={"properties": {"image": "a/b"}}).raise_for_status()
            job = {"jobType": "Command", "command": "true", "environmentId": "azureml:kill:1"}
            for number in range(5):
                trigger = {"triggerType": "Cron", "expression": "*/5 * * * *"}
                body = {"properties": {"trigger": trigger, "action": {"actionType": "CreateJob", "jobDefinition": job}}}
                http.put(f"{scope}/schedules/every{number}", json=body).raise_for_status()
            schedules = 5

            def provisioned() -> bool | None:
                states = [item["properties"]["provisioningState"] for item in http.get(f"{scope}/schedules").json()["value"]]
                return True if states == ["Succeeded"] * schedules else None

            wait_for("the schedules", provisioned)
        rounds = 12
        for _ in range(rounds):
            platform.advance("PT5M")
            time.sleep(draw.uniform(0, 0.03))  # the moment of death, not a wait for anything
            platform.kill()
            platform.restart()
        with client(platform) as http:

            def settled() -> list[str] | None:
                found = scheduled_times(http, scope)
                return found if len(found) >= schedules * rounds else None

            times = wait_for("a run for each round", settled)
        assert set(Counter(times).values()) == {schedules}, "each time once a schedule"
        assert len(times) == schedules * len(set(times))
    finally:
        platform.kill()
