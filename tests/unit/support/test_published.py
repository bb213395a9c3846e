"""The checker of published shapes sees what it is there to see."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.published import problems

DEPLOYMENT: dict[str, Any] = {
    "id": "/x", "name": "blue", "type": "t", "location": "eastus", "tags": {"team": "a"},
    "sku": {"name": "Default", "capacity": 1}, "systemData": {"createdBy": "Ada", "createdAt": "2026-01-01T00:00:00Z"},
    "properties": {
        "endpointComputeType": "Managed", "model": "azureml:m:1", "instanceType": "Standard_DS3_v2", "provisioningState": "Succeeded",
        "requestSettings": {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1},
        "scaleSettings": {"scaleType": "Default"}, "environmentVariables": {"A": "b"}, "appInsightsEnabled": False,
        "livenessProbe": {"failureThreshold": 30},
    },
}


def test_a_good_document_has_no_problems() -> None:
    assert problems("OnlineDeployment", DEPLOYMENT) == []


@pytest.mark.parametrize(("path", "value", "said"), [
    ("location", None, "location: required, and missing"),
    ("location", 1, "location: expected str, not int"),
    ("tags", ["a"], "tags: expected an object, not list"),
    ("tags.team", 1, "tags.team: expected str, not int"),
    ("sku.capacity", "1", "sku.capacity: expected int, not str"),
    ("sku.capacity", True, "sku.capacity: expected int, not bool"),
    ("systemData.createdByType", "Robot", "systemData.createdByType: 'Robot' is none of"),
    ("properties.provisioningState", "Done", "properties.provisioningState: 'Done' is none of"),
    ("properties.endpointComputeType", None, "properties.endpointComputeType: required, and missing"),
    ("properties.colour", "blue", "properties.colour: not a published property of ManagedOnlineDeployment"),
    ("properties.requestSettings.requestTimeout", 5, "properties.requestSettings.requestTimeout: expected text, not int"),
    ("properties.scaleSettings.scaleType", None, "properties.scaleSettings.scaleType: required, and missing"),
    ("properties.scaleSettings.minInstances", 1, "properties.scaleSettings.minInstances: not a published property of DefaultScaleSettings"),
    ("properties.livenessProbe.failureThreshold", 1.5, "properties.livenessProbe.failureThreshold: expected int, not float"),
    ("properties.appInsightsEnabled", "no", "properties.appInsightsEnabled: expected bool, not str"),
])
def test_what_differs_is_named(path: str, value: Any, said: str) -> None:
    document = copy.deepcopy(DEPLOYMENT)
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    found = problems("OnlineDeployment", document)
    assert len(found) == 1, found
    assert found[0].startswith(said)
