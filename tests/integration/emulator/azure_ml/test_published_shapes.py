"""Every resource that the emulator answers with has the shape that Microsoft publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform
from tests.support.published import problems

KINDS = {
    "models": "ModelContainer",
    "models/{}/versions": "ModelVersion",
    "environments": "EnvironmentContainer",
    "environments/{}/versions": "EnvironmentVersion",
    "data": "DataContainer",
    "data/{}/versions": "DataVersionBase",
    "components": "ComponentContainer",
    "components/{}/versions": "ComponentVersion",
    "codes": "CodeContainer",
    "codes/{}/versions": "CodeVersion",
    "datastores": "Datastore",
    "computes": "ComputeResource",
    "jobs": "JobBase",
    "schedules": "Schedule",
    "onlineEndpoints": "OnlineEndpoint",
    "onlineEndpoints/{}/deployments": "OnlineDeployment",
}
"""Collections below a workspace; {} stands for each name in the collection above."""


@pytest.fixture
def arm(sdk: Sdk) -> Iterator[httpx.Client]:
    from azure.identity import DefaultAzureCredential

    env = sdk.platform.env
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    workspace = (f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}"
                 f"/providers/Microsoft.MachineLearningServices/workspaces/{env['AZUREML_WORKSPACE_DEV']}")
    with httpx.Client(base_url=env["EMULATOR_URL"] + workspace, verify=env["SSL_CERT_FILE"], trust_env=False,
                      params={"api-version": "2025-12-01"}, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def _items(arm: httpx.Client, path: str) -> list[dict[str, Any]]:
    answer = arm.get(f"/{path}")
    answer.raise_for_status()
    return list(answer.json()["value"])


SENT_BY_THE_SDK = ("assetVersion",)
"""What azure-ai-ml itself writes into a job's outputs and reads back, though nobody has published it."""


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_published_shape(arm: httpx.Client, kind: str) -> None:
    above, _, _ = kind.partition("/{}")
    collections = [kind] if above == kind else [kind.format(item["name"]) for item in _items(arm, above)]
    found = [item for collection in collections for item in _items(arm, collection)]
    assert found, "there is none to look at"
    differences = {f"{item['id'].rpartition('/')[2]}: {problem}" for item in found
                   for problem in problems(KINDS[kind], item, _extras(item))}
    assert not differences, "\n".join(sorted(differences))


def _extras(item: dict[str, Any]) -> frozenset[str]:
    outputs = (item.get("properties") or {}).get("outputs") or {}
    return frozenset(f"properties.outputs.{output}.{name}" for output in outputs for name in SENT_BY_THE_SDK)


@pytest.fixture(scope="module")
def one_of_each(sdk_platform: LivePlatform, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made through the SDK, as users make them."""
    from azure.ai.ml import Input, command, dsl
    from azure.ai.ml.entities import CronTrigger, Data, Environment, JobSchedule, ManagedOnlineDeployment, ManagedOnlineEndpoint

    from tests.support import light_model

    folder: Path = tmp_path_factory.mktemp("shapes")
    line = light_model.write(folder / "model", light_model.Line(slope=2.0, intercept=1.0, column="x"), {"x": "double"})
    (folder / "code").mkdir()
    (folder / "code" / "hello.py").write_text("print('hello')\n")
    (folder / "rows.csv").write_text("x\n1\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sdk_platform.variables("ada").items():
            patch.setenv(name, value)
        sdk = Sdk(sdk_platform)
        model = sdk.register("shapes", "1", line)
        sdk.dev.environments.create_or_update(Environment(name="shapes", version="1", image="mcr.microsoft.com/shapes:1"))
        data = sdk.dev.data.create_or_update(Data(name="shapes", version="1", type="uri_file", path=str(folder / "rows.csv")))
        node = command(name="shapes", code=str(folder / "code"), command="python hello.py ${{inputs.rows}}", environment="shapes:1",
                       inputs={"rows": Input(type="uri_file", path=data.id)}, compute="serverless")
        component = sdk.dev.components.create_or_update(node.component)
        sdk.dev.jobs.create_or_update(node)

        @dsl.pipeline(default_compute="serverless")
        def one_step() -> None:
            component(rows=Input(type="uri_file", path=data.id))

        yearly = JobSchedule(name="shapes", trigger=CronTrigger(expression="0 0 1 1 *"), create_job=one_step())
        sdk.dev.schedules.begin_create_or_update(yearly).result()
        sdk.dev.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="shapes-endpoint", auth_mode="key")).result()
        sdk.dev.online_deployments.begin_create_or_update(ManagedOnlineDeployment(
            name="blue", endpoint_name="shapes-endpoint", model=model.id, instance_type="Standard_DS3_v2", instance_count=1)).result()
