"""Faults as the unmodified azure-ai-ml meets them: each kind, before and after the request has had its effect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform, wait_for

pytestmark = pytest.mark.xdist_group("sdk")


@pytest.fixture
def sdk(as_ada: LivePlatform) -> Iterator[Sdk]:
    yield Sdk(as_ada)
    as_ada.clear_faults()


@pytest.fixture
def name() -> str:
    return f"f{uuid.uuid4().hex[:10]}"


def register(sdk: Sdk, name: str) -> Any:
    from azure.ai.ml.entities import Environment

    return sdk.dev.environments.create_or_update(Environment(name=name, version="1", image="i:1"))


def statuses(sdk: Sdk, name: str, method: str = "PUT") -> list[int]:
    """What was answered to the writes of one environment, oldest first; 0: nothing."""
    return [entry["status"] for entry in sdk.platform.journal(f"/environments/{name}/versions/1$", method)]


@pytest.mark.parametrize(("fault", "answers"), [
    ({"action": "status", "status": 503, "count": 2}, [503, 503, 201]),
    ({"action": "status", "status": 500, "when": "after"}, [500, 200]),
    ({"action": "drop"}, [0, 201]),
    ({"action": "drop", "when": "after"}, [0, 200]),
    ({"action": "delay", "delay_seconds": 0.05, "count": 3}, [201]),
    ({"action": "delay", "delay_seconds": 0.05, "when": "after"}, [201]),
], ids=["status-before", "status-after", "drop-before", "drop-after", "delay-before", "delay-after"])
def test_the_sdk_gets_over_what_passes(sdk: Sdk, name: str, fault: dict[str, Any], answers: list[int]) -> None:
    headers = {"retry-after-ms": "20"} if fault["action"] == "status" else {}
    sdk.platform.fault(service="azure_ml", method="PUT", path=f"/environments/{name}/versions/1$", headers=headers, **fault)
    assert register(sdk, name).version == "1"
    found = [status for status in statuses(sdk, name) if status]
    # The SDK's transport may try a broken connection once more than its retry policy says.
    assert [*dict.fromkeys(statuses(sdk, name))] == [*dict.fromkeys(answers)]
    assert found[-1] == answers[-1]
    assert len(sdk.dev.environments.get(name, "1").id) > 0


def test_throttling_says_when_to_come_back(sdk: Sdk, name: str) -> None:
    sdk.platform.fault(method="PUT", path=f"/environments/{name}/versions/1$", action="status", status=429, headers={"Retry-After": "1"},
                       code="TooManyRequests")
    assert register(sdk, name).name == name
    assert statuses(sdk, name) == [429, 201]


def test_a_fault_is_of_its_route_and_method_and_count(sdk: Sdk, name: str) -> None:
    number = sdk.platform.fault(method="GET", path=f"/environments/{name}/versions/1$", action="status", status=404, code="Gone", skip=1,
                                count=1)
    register(sdk, name)
    register(sdk, f"{name}-other")
    assert sdk.dev.environments.get(name, "1").name == name
    with pytest.raises(ResourceNotFoundError, match="Gone"):
        sdk.dev.environments.get(name, "1")
    assert sdk.dev.environments.get(name, "1").name == name
    [fault] = [item for item in sdk.platform.control("GET", "/faults")["items"] if item["id"] == number]
    assert fault["hits"] == 1


def test_a_failing_operation_fails_with_its_code(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    sdk.platform.fault(method="PUT", path=f"/onlineEndpoints/{name}$", action="fail_operation", code="OutOfCapacity", message="no machines")
    with pytest.raises(HttpResponseError, match="OutOfCapacity"):
        sdk.dev.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    assert sdk.dev.online_endpoints.get(name).provisioning_state == "Failed"


def test_a_stuck_operation_is_in_progress_until_the_rule_goes(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    fault = sdk.platform.fault(method="PUT", path=f"/onlineEndpoints/{name}$", action="stick_operation")
    endpoint = ManagedOnlineEndpoint(name=name, auth_mode="key")
    poller = sdk.dev.online_endpoints.begin_create_or_update(endpoint)
    wait_for("the operation to be stuck", lambda: True if sdk.platform.holding(fault) else None)
    assert sdk.dev.online_endpoints.get(name).provisioning_state == "Creating"
    assert not poller.done()
    with pytest.raises(HttpResponseError) as refused:
        sdk.dev.online_endpoints.begin_create_or_update(endpoint)
    assert refused.value.status_code == 409
    sdk.platform.control("DELETE", f"/faults/{fault}")
    assert poller.result().provisioning_state == "Succeeded"
    sdk.dev.online_endpoints.begin_delete(name).result()


def test_a_stuck_operation_of_another_request_sticks_alone(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    fault = sdk.platform.fault(method="DELETE", path=f"/onlineEndpoints/{name}$", action="stick_operation")
    sdk.dev.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    poller = sdk.dev.online_endpoints.begin_delete(name)
    wait_for("the deletion to be stuck", lambda: True if sdk.platform.holding(fault) else None)
    assert sdk.dev.online_endpoints.get(name).provisioning_state == "Deleting"
    sdk.platform.clear_faults()
    poller.result()
    with pytest.raises(ResourceNotFoundError):
        sdk.dev.online_endpoints.get(name)
