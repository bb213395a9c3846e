"""The management API on the platform, with tokens as clients of Azure Resource Manager get them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.identity import DefaultAzureCredential

from tests.support.platform import LivePlatform
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import endpoint

pytestmark = pytest.mark.xdist_group("sdk")


@pytest.fixture
def arm(as_ada: LivePlatform) -> Iterator[httpx.Client]:
    """Below the resource group's providers."""
    env = as_ada.env
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    root = f"{env['EMULATOR_URL']}/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}/providers"
    with httpx.Client(base_url=root, verify=env["SSL_CERT_FILE"], trust_env=False, params={"api-version": "2022-06-15"},
                      headers={"authorization": f"Bearer {token}"}) as client:
        yield client


def event() -> EventGridEvent:
    return EventGridEvent(subject="s", event_type="Made", data={"n": 1}, data_version="1")


async def test_a_topic_and_its_subscription_from_nothing(as_ada: LivePlatform, arm: httpx.Client) -> None:
    topic = f"/Microsoft.EventGrid/topics/t{uuid4().hex[:8]}"
    made = await asyncio.to_thread(lambda: arm.put(topic, json={"location": "eastus"}))
    address = made.json()["properties"]["endpoint"]
    async with endpoint() as webhook:
        body = {"properties": {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": webhook.url}}}}
        answer = await asyncio.to_thread(lambda: arm.put(f"{topic}/eventSubscriptions/first", json=body))
        assert (answer.status_code, answer.json()["properties"]["provisioningState"]) == (201, "Succeeded")
        keys = (await asyncio.to_thread(lambda: arm.post(f"{topic}/listKeys"))).json()
        signature = generate_sas(address, keys["key2"], datetime.now(UTC) + timedelta(hours=1))

        def send(credential: AzureKeyCredential | AzureSasCredential | DefaultAzureCredential) -> None:
            EventGridPublisherClient(address, credential, retry_total=0).send(event())

        for credential in (AzureKeyCredential(keys["key1"]), AzureSasCredential(signature), DefaultAzureCredential()):
            await asyncio.to_thread(send, credential)
        await until(lambda: len(webhook.notifications) == 3)
        await asyncio.to_thread(lambda: arm.post(f"{topic}/regenerateKey", json={"keyName": "key2"}))
        with pytest.raises(ClientAuthenticationError):
            await asyncio.to_thread(send, AzureSasCredential(signature))
        expired = generate_sas(address, keys["key1"], datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(ClientAuthenticationError):
            await asyncio.to_thread(send, AzureSasCredential(expired))
    assert (await asyncio.to_thread(lambda: arm.delete(topic))).status_code == 202


def test_azure_mls_own_paths_are_answered_by_azure_ml(arm: httpx.Client) -> None:
    workspace = "/Microsoft.MachineLearningServices/workspaces/mlw-dev"
    assert arm.get(workspace).json()["type"].casefold() == "microsoft.machinelearningservices/workspaces"
    names = [item["name"] for item in arm.get(f"{workspace}/providers/Microsoft.EventGrid/eventSubscriptions").json()["value"]]
    assert {"model-events", "drift-breaches"} <= set(names)
