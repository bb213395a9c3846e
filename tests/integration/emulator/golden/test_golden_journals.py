"""What the unmodified SDK asks for an operation, held against golden files: method, path and api-version, in order.

A change means that the SDK has changed its contract, or that an answer of ours sends it another way. Look at it, and if it is
right: `UPDATE_GOLDEN=1 pytest tests/integration/emulator/golden` writes the files anew. Each minor version of azure-ai-ml that
asks otherwise has a folder of its own; another one is held against the newest.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")
HERE = Path(__file__).parent
MINOR = ".".join(version("azure-ai-ml").split(".")[:2])
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HASH = re.compile(r"(?<=[=/])[0-9a-f]{40,64}\b", re.IGNORECASE)
_SCOPE = re.compile(r"/subscriptions/\{guid\}/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/([^/]+/[^/?]+)")
_OURS = ("azure_ml",)
_SAID = ("api-version", "$top", "$orderby", "listviewtype", "stage", "hash", "hashversion")
"""What of a query belongs to the contract."""


class Scene:
    """One of everything that the operations need, under a name of its own."""

    def __init__(self, sdk: Sdk, name: str, folder: Path) -> None:
        self.sdk, self.name = sdk, name
        self.line = light_model.write(folder / "model", light_model.Line(2.0, 1.0, "x"), {"x": "double"})
        self.rows = folder / "rows.csv"
        self.rows.write_text("x\n1\n")
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "hello.py").write_text(f"print('{name}')\n")  # nobody else has uploaded the same
        self.request = folder / "request.json"
        self.request.write_text('{"input_data": {"columns": ["x"], "data": [[2.0]]}}')

    def model_create(self) -> None:
        self.sdk.register(self.name, "1", self.line)

    def model_get(self) -> None:
        self.sdk.dev.models.get(self.name, "1")

    def model_latest(self) -> None:
        self.sdk.dev.models.get(self.name, label="latest")

    def model_list(self) -> None:
        list(self.sdk.dev.models.list(self.name))

    def model_tag(self) -> None:
        model = self.sdk.dev.models.get(self.name, "1")
        model.tags = {"seen": "yes"}
        self.sdk.dev.models.create_or_update(model)

    def model_archive(self) -> None:
        self.sdk.dev.models.archive(self.name, "1")

    def model_share(self) -> None:
        self.sdk.share(self.sdk.dev.models.get(self.name, "1"))

    def registry_model_get(self) -> None:
        self.sdk.registry.models.get(self.name, "1")

    def environment_create(self) -> None:
        from azure.ai.ml.entities import Environment

        self.sdk.dev.environments.create_or_update(Environment(name=self.name, version="1", image="mcr.microsoft.com/golden:1"))

    def data_create(self) -> None:
        from azure.ai.ml.entities import Data

        self.sdk.dev.data.create_or_update(Data(name=self.name, version="1", type="uri_file", path=str(self.rows)))

    def component_create(self) -> None:
        self.sdk.dev.components.create_or_update(self._command().component)

    def job_submit(self) -> None:
        node = self._command()
        node.name = self.name
        self.sdk.dev.jobs.create_or_update(node)

    def job_get(self) -> None:
        self.sdk.dev.jobs.get(self.name)

    def job_cancel(self) -> None:
        self.sdk.dev.jobs.begin_cancel(self.name).result()

    def endpoint_create(self) -> None:
        from azure.ai.ml.entities import ManagedOnlineEndpoint

        self.sdk.prod.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=self.name, auth_mode="key")).result()

    def deployment_create(self) -> None:
        self.sdk.deploy(self.name, "blue", f"azureml://registries/{self.sdk.platform.env['AZUREML_REGISTRY']}/models/{self.name}/versions/1")

    def endpoint_traffic(self) -> None:
        self.sdk.route(self.name, blue=100)

    def endpoint_keys(self) -> None:
        self.sdk.prod.online_endpoints.get_keys(self.name)

    def endpoint_invoke(self) -> None:
        assert self.sdk.prod.online_endpoints.invoke(self.name, request_file=str(self.request)) == "[5.0]"

    def deployment_logs(self) -> None:
        self.sdk.prod.online_deployments.get_logs("blue", self.name, 10)

    def endpoint_delete(self) -> None:
        self.sdk.prod.online_endpoints.begin_delete(self.name).result()

    # --- breadth ------------------------------------------------------------------------------------

    def workspace_get(self) -> None:
        self.sdk.dev.workspaces.get("mlw-dev")

    def workspace_list(self) -> None:
        list(self.sdk.dev.workspaces.list())

    def models_list(self) -> None:
        list(self.sdk.dev.models.list())

    def environment_get(self) -> None:
        self.sdk.dev.environments.get(self.name, "1")

    def environment_list(self) -> None:
        list(self.sdk.dev.environments.list(self.name))

    def environments_list(self) -> None:
        list(self.sdk.dev.environments.list())

    def environment_archive(self) -> None:
        self.sdk.dev.environments.archive(self.name)

    def data_get(self) -> None:
        self.sdk.dev.data.get(self.name, "1")

    def data_list(self) -> None:
        list(self.sdk.dev.data.list(self.name))

    def datas_list(self) -> None:
        list(self.sdk.dev.data.list())

    def component_get(self) -> None:
        self.sdk.dev.components.get(self.name, "1")

    def component_list(self) -> None:
        list(self.sdk.dev.components.list(self.name))

    def components_list(self) -> None:
        list(self.sdk.dev.components.list())

    def datastore_create(self) -> None:
        from azure.ai.ml.entities import AccountKeyConfiguration, AzureBlobDatastore

        self.sdk.dev.datastores.create_or_update(AzureBlobDatastore(
            name=self.name, account_name="stmlwdev", container_name="golden", credentials=AccountKeyConfiguration(account_key="x")))

    def datastore_get(self) -> None:
        self.sdk.dev.datastores.get(self.name)

    def datastore_list(self) -> None:
        list(self.sdk.dev.datastores.list())

    def datastore_delete(self) -> None:
        self.sdk.dev.datastores.delete(self.name)

    def compute_create(self) -> None:
        from azure.ai.ml.entities import AmlCompute

        self.sdk.dev.compute.begin_create_or_update(AmlCompute(name=self.name, size="STANDARD_DS3_V2", max_instances=1)).result()

    def compute_get(self) -> None:
        self.sdk.dev.compute.get(self.name)

    def compute_list(self) -> None:
        list(self.sdk.dev.compute.list())

    def compute_delete(self) -> None:
        self.sdk.dev.compute.begin_delete(self.name).result()

    def job_list(self) -> None:
        # Where no other test has jobs: a pipeline among those listed would make the SDK read its workspace, once a client.
        list(self.sdk.staging.jobs.list(max_results=1))

    def schedule_create(self) -> None:
        from azure.ai.ml import dsl
        from azure.ai.ml.entities import CronTrigger, JobSchedule

        component = self.sdk.dev.components.get(self.name, "1")

        @dsl.pipeline(default_compute="cpu-cluster")
        def one_step() -> None:
            component()

        self.sdk.dev.schedules.begin_create_or_update(
            JobSchedule(name=self.name, trigger=CronTrigger(expression="0 0 1 1 *"), create_job=one_step())).result()

    def schedule_get(self) -> None:
        self.sdk.dev.schedules.get(self.name)

    def schedule_list(self) -> None:
        list(self.sdk.dev.schedules.list())

    def schedule_disable(self) -> None:
        self.sdk.dev.schedules.begin_disable(self.name).result()

    def schedule_delete(self) -> None:
        self.sdk.dev.schedules.begin_delete(self.name).result()

    def endpoint_get(self) -> None:
        self.sdk.prod.online_endpoints.get(self.name)

    def endpoint_list(self) -> None:
        list(self.sdk.prod.online_endpoints.list())

    def endpoint_regenerate(self) -> None:
        self.sdk.prod.online_endpoints.begin_regenerate_keys(self.name, key_type="secondary").result()

    def deployment_get(self) -> None:
        self.sdk.prod.online_deployments.get("blue", self.name)

    def deployment_list(self) -> None:
        list(self.sdk.prod.online_deployments.list(self.name))

    def deployment_delete(self) -> None:
        self.sdk.route(self.name, blue=0)
        self.sdk.prod.online_deployments.begin_delete("blue", self.name).result()

    def registry_models_list(self) -> None:
        list(self.sdk.registry.models.list())

    def registry_model_create(self) -> None:
        from azure.ai.ml.entities import Model

        self.sdk.registry.models.create_or_update(Model(name=f"{self.name}-own", version="1", path=str(self.line), type="mlflow_model"))

    def registry_model_download(self) -> None:
        self.sdk.registry.models.download(self.name, "1", download_path=str(self.code.parent / "down"))

    def registry_environment_create(self) -> None:
        from azure.ai.ml.entities import Environment

        self.sdk.registry.environments.create_or_update(Environment(name=self.name, version="1", image="mcr.microsoft.com/golden:1"))

    def _command(self) -> Any:
        from azure.ai.ml import command

        return command(name=self.name, display_name=self.name, code=str(self.code), command="python hello.py && sleep 60",
                       environment=f"{self.name}:1", compute="cpu-cluster")


OPERATIONS: tuple[Callable[[Scene], None], ...] = (
    Scene.model_create, Scene.model_get, Scene.model_latest, Scene.model_list, Scene.model_tag, Scene.model_share,
    Scene.registry_model_get, Scene.environment_create, Scene.data_create, Scene.component_create, Scene.job_submit, Scene.job_get,
    Scene.job_cancel, Scene.endpoint_create, Scene.deployment_create, Scene.endpoint_traffic, Scene.endpoint_keys, Scene.endpoint_invoke,
    Scene.deployment_logs, Scene.workspace_get, Scene.workspace_list, Scene.models_list, Scene.environment_get, Scene.environment_list,
    Scene.environments_list, Scene.data_get, Scene.data_list, Scene.datas_list, Scene.component_get, Scene.component_list,
    Scene.components_list, Scene.datastore_create, Scene.datastore_get, Scene.datastore_list, Scene.datastore_delete,
    Scene.compute_create, Scene.compute_get, Scene.compute_list, Scene.compute_delete, Scene.job_list, Scene.schedule_create,
    Scene.schedule_get, Scene.schedule_list, Scene.schedule_disable, Scene.schedule_delete, Scene.endpoint_get, Scene.endpoint_list,
    Scene.endpoint_regenerate, Scene.deployment_get, Scene.deployment_list, Scene.deployment_delete, Scene.endpoint_delete,
    Scene.registry_models_list, Scene.registry_model_create, Scene.registry_model_download,
    Scene.registry_environment_create, Scene.environment_archive, Scene.model_archive)
"""In an order in which each finds what it needs."""


@pytest.fixture(scope="module")
def asked(sdk_platform: LivePlatform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Each operation with the requests that it made."""
    from azure.ai.ml.constants._endpoint import EndpointInvokeFields

    found: dict[str, list[str]] = {}
    name = f"g{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        for key, value in sdk_platform.variables("ada").items():
            patch.setenv(key, value)
        # The SDK keeps the deployment that anybody has named before in a dict of its module.
        patch.delitem(EndpointInvokeFields.DEFAULT_HEADER, EndpointInvokeFields.MODEL_DEPLOYMENT, raising=False)
        sdk = Sdk(sdk_platform)
        _ = sdk.dev, sdk.staging, sdk.prod, sdk.registry  # what making a client asks is no operation's
        scene = Scene(sdk, name, tmp_path_factory.mktemp("golden"))
        for operation in OPERATIONS:
            before = max((entry["seq"] for entry in sdk_platform.journal()), default=0)
            operation(scene)
            entries = sdk_platform.control("GET", "/journal", params={"since": before})["items"]
            found[operation.__name__] = contract([entry for entry in entries if entry["service"] in _OURS], name)
    return found


def contract(entries: list[dict[str, Any]], name: str) -> list[str]:
    """The requests of the SDK (jobs and the platform's own ask under other names), with what differs each time made alike."""
    lines: list[str] = []
    for entry in entries:
        if entry["caller"] == "Training Jobs" or entry["path"] == "/metadata/endpoints":  # how often that is asked is not the contract
            continue
        line = f"{entry['method']} {entry['path']}"
        said = sorted((key, value) for key, value in entry["query"].items() if key.lower() in _SAID)
        line += "?" + "&".join(f"{key}={value}" for key, value in said) if said else ""
        line = _SCOPE.sub(r"{\1}", _HASH.sub("{hash}", _GUID.sub("{guid}", line.replace(name, "{name}"))))
        if not lines or lines[-1] != line:  # a poll is asked as often as it takes
            lines.append(line)
    return lines


def golden(operation: str) -> Path:
    """The file of this minor version, or of the newest that there is."""
    folders = sorted((folder for folder in HERE.iterdir() if re.fullmatch(r"\d+\.\d+", folder.name)),
                     key=lambda folder: [int(part) for part in folder.name.split(".")])
    own = HERE / MINOR / f"{operation}.json"
    return own if own.exists() or not folders else folders[-1] / f"{operation}.json"


@pytest.mark.parametrize("operation", [operation.__name__ for operation in OPERATIONS])
def test_the_sdk_asks_as_it_did(asked: dict[str, list[str]], operation: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path = HERE / MINOR / f"{operation}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asked[operation], indent=1) + "\n")
    assert asked[operation] == json.loads(golden(operation).read_text())


def test_no_golden_file_is_left_behind() -> None:
    names = {operation.__name__ for operation in OPERATIONS}
    assert {path.stem for path in HERE.glob("*/*.json")} == names
