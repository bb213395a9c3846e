"""Events as the world delivers them: many times, in any order, in any shape."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.journey import Journey, client
from tests.support.platform import wait_for

pytestmark = pytest.mark.xdist_group("fault")
Lines = Callable[[str], Journey]
COPIES = 200


def _shapes(line: Journey, workspace: str) -> list[dict[str, Any]]:
    """One meaning in every shape that Azure is known to send it in."""
    data = [
        {"ModelName": line.line, "ModelVersion": 1, "ModelTags": {"candidate": "true"}, "ModelProperties": {}},
        {"modelName": line.line, "modelVersion": "1", "modelTags": {"candidate": "true"}, "modelProperties": {}},
        {"MODELNAME": line.line, "modelversion": 1, "ModelTags": None, "ModelProperties": None},
    ]
    kind = "Microsoft.MachineLearningServices.ModelRegistered"
    grid = [{"topic": topic, "subject": f"models/{line.line}:1", "eventType": kind, "eventTime": "2026-01-02T03:04:05Z", "dataVersion": "",
             "metadataVersion": "1", "data": item} for item, topic in itertools.product(data, (workspace, workspace.lower()))]
    cloud = [{"specversion": "1.0", "source": workspace, "type": kind, "time": "2026-01-02T03:04:05Z", "subject": f"models/{line.line}:1",
              "data": item} for item in data]
    return grid + cloud


def test_200_duplicates_and_permutations_are_one_promotion(faulty: Lines) -> None:
    line = faulty("disorder")
    env = line.platform.env
    workspace = (f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}/providers/"
                 f"Microsoft.MachineLearningServices/workspaces/{env['AZUREML_WORKSPACE_DEV']}")
    shapes = _shapes(line, workspace)
    events = [{**shapes[n % len(shapes)], "id": f"{line.line}-{n % 150}"} for n in range(COPIES)]
    random.Random(3).shuffle(events)

    def deliver(event: dict[str, Any]) -> int:
        is_cloud = "specversion" in event
        headers = {"content-type": "application/cloudevents+json"} if is_cloud else {"aeg-event-type": "Notification"}
        with httpx.Client(timeout=60, trust_env=False) as http:
            return http.post(env["EVENTGRID_WEBHOOK_URL"], json=event if is_cloud else [event], headers=headers).status_code

    line.register("1")  # and its own event, on top
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(deliver, events)) == {202}
    promotion = line.started("1")
    line.reach(promotion, "awaiting_approval")
    assert [p["id"] for p in line.promotions()] == [promotion]
    assert deliver(events[0]) == 202
    assert [p["id"] for p in line.promotions()] == [promotion]
    assert len(line.deployments("STAGING")) == 0
    imports = [e for e in line.platform.journal(path=r"/registries/shared-registry/import$") if line.line in str(e["body"])]
    assert len(imports) <= 1


def test_what_cannot_be_understood_is_kept_and_harms_nobody(faulty: Lines) -> None:
    line = faulty("ignored")
    url = line.platform.env["EVENTGRID_WEBHOOK_URL"]
    before = len(line.promotions())

    def post(content: bytes) -> int:
        headers = {"aeg-event-type": "Notification", "content-type": "application/json"}
        with httpx.Client(timeout=60, trust_env=False) as http:
            return http.post(url, content=content, headers=headers).status_code

    assert post(b"not json") == 400
    assert post(b'"text"') == 400
    for body in (b'[{"id":"1"}]', b'[{"id":"1","eventType":"Other.Thing","subject":"x","eventTime":"2026-01-01T00:00:00Z","data":{}}]',
                 b'[{"id":"2","eventType":"Microsoft.MachineLearningServices.ModelRegistered","subject":"models/x","topic":"/nowhere",'
                 b'"eventTime":"never","dataVersion":"","data":{"ModelVersion":[]}}]'):
        assert post(body) == 202, "a 5xx would make Event Grid send it for a day"
    assert len(line.promotions()) == before


def test_a_throttled_and_failing_azure_delays_and_does_not_fail(faulty: Lines) -> None:
    line = faulty("ignored")
    line.platform.fault(method="PUT", path=f"/onlineEndpoints/{line.line}-stg/deployments/", action="status", status=429,
                        headers={"Retry-After": "1"}, count=2)
    line.platform.fault(method="GET", path=f"/onlineEndpoints/{line.line}-stg", action="status", status=503, count=2)
    line.platform.fault(method="PUT", path=f"/onlineEndpoints/{line.line}-stg$", action="drop", when="after", count=1)
    line.register("1")
    promotion = line.started("1")
    line.reach(promotion, "awaiting_approval")
    assert line.deployments("STAGING") == []
    line.platform.clear_faults()


def test_a_deployment_operation_that_fails_fails_the_candidate_and_leaves_nothing(faulty: Lines) -> None:
    line = faulty("ignored")
    line.platform.fault(method="PUT", path=f"/onlineEndpoints/{line.line}-stg/deployments/", action="fail_operation",
                        code="OutOfQuota", message="no cores are left in the region")
    line.register("2")
    found = line.reach(line.started("2"), "failed", "errored")
    assert "did not start" in found["message"]
    wait_for("the teardown", lambda: True if line.deployments("STAGING") == [] else None)
    names = {endpoint.name for endpoint in client(line.platform, "PROD").online_endpoints.list()}
    assert line.line not in names
