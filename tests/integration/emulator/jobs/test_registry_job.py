"""One job made of what a registry shares: its environment, its models, a workspace's data, its outputs in the job's datastore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk-jobs")

WORK = """
import json, pathlib, sys
import mlflow
flavored, weights, files, rows, words, share, out = sys.argv[1:]
out = pathlib.Path(out)
(out / "deep").mkdir()
seen = {
    "flavored": sorted(path.name for path in pathlib.Path(flavored).iterdir()), "weights": pathlib.Path(weights).read_text(),
    "files": sorted(path.name for path in pathlib.Path(files).iterdir()),
    "rows": sorted(path.name for path in pathlib.Path(rows).iterdir()), "words": pathlib.Path(words).read_text(),
}
(out / "deep" / "seen.json").write_text(json.dumps(seen))
mlflow.log_metrics({"rmse": float(share), "rows": len(seen["rows"])})
mlflow.log_param("a", 1)
mlflow.set_tag("t", "u")
mlflow.log_text("hello", "notes.txt")
"""


def blobs(client: MLClient, prefix: str) -> dict[str, bytes]:
    """The blobs of the workspace's default datastore below a path, by their names in it."""
    from azure.storage.blob import BlobServiceClient

    datastore = client.datastores.get_default()
    key = client.datastores._list_secrets(datastore.name, False).as_dict()["key"]
    url = f"https://{datastore.account_name}.blob.core.windows.net"
    with BlobServiceClient(url, credential=key).get_container_client(datastore.container_name) as container:
        names = list(container.list_blob_names(name_starts_with=prefix))
        return {name.removeprefix(prefix): container.download_blob(name).readall() for name in names}


def test_a_job_of_a_registrys_environment_and_models(as_ada: LivePlatform, tmp_path: Path) -> None:
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import Data, Environment, Model

    sdk, name = Sdk(as_ada), f"shared-{uuid4().hex[:8]}"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "work.py").write_text(WORK)
    (tmp_path / "rows").mkdir()
    for file in ("a.csv", "b.csv"):
        (tmp_path / "rows" / file).write_text("x\n1\n")
    (tmp_path / "weights.bin").write_text("heavy")
    root = f"azureml://registries/{as_ada.env['AZUREML_REGISTRY']}"

    sdk.registry.environments.create_or_update(Environment(name=name, version="2", image="mcr.microsoft.com/azureml/minimal"))
    sdk.registry.models.create_or_update(Model(name=f"{name}-w", version="3", type="custom_model", path=str(tmp_path / "weights.bin")))
    sdk.share(sdk.register(name, "1", light_model.write(tmp_path / "model")))
    rows = sdk.dev.data.create_or_update(Data(name=name, version="1", type="uri_folder", path=str(tmp_path / "rows")))
    words = sdk.dev.data.create_or_update(Data(name=f"{name}-a", version="1", type="uri_file", path=str(tmp_path / "rows" / "a.csv")))
    sdk.dev.jobs.create_or_update(command(
        name=name, code=str(tmp_path / "code"), environment=f"{root}/environments/{name}/versions/2", compute="cpu-cluster",
        command="python work.py ${{inputs.flavored}} ${{inputs.weights}} ${{inputs.files}} ${{inputs.rows}} ${{inputs.words}}"
                " ${{inputs.share}} ${{outputs.out}}",
        inputs={
            "flavored": Input(type="mlflow_model", path=f"{root}/models/{name}/versions/1"),
            "weights": Input(type="custom_model", path=f"{root}/models/{name}-w/versions/3"),
            "files": Input(type="uri_folder", path=f"{root}/models/{name}/versions/1"),
            "rows": Input(type="uri_folder", path=f"azureml:{rows.name}:{rows.version}"),
            "words": Input(type="uri_file", path=words.id), "share": 0.5,
        },
        outputs={"out": Output(type="uri_folder")},
    ))  # fmt: skip

    def ended() -> object:
        job = sdk.dev.jobs.get(name)
        return job if job.status in ("Completed", "Failed", "Canceled") else None

    job = wait_for(f"the end of {name}", ended)
    assert job.status == "Completed"  # type: ignore[attr-defined]
    assert job.environment == f"{root}/environments/{name}/versions/2"  # type: ignore[attr-defined]

    written = blobs(sdk.dev, f"azureml/{name}/out/")
    assert list(written) == ["deep/seen.json"]
    model = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert json.loads(written["deep/seen.json"]) == {
        "flavored": model, "weights": "heavy", "files": model, "rows": ["a.csv", "b.csv"], "words": "x\n1\n",
    }  # fmt: skip
    sdk.dev.jobs.download(name, download_path=tmp_path / "down", all=True)
    assert (tmp_path / "down" / "named-outputs" / "out" / "deep" / "seen.json").read_bytes() == written["deep/seen.json"]
    assert (tmp_path / "down" / "artifacts" / "notes.txt").read_text() == "hello"

    # The job's variables alone said where `mlflow.log_metrics()` logs to: its own run, which run history shows too.
    env = as_ada.env
    with httpx.Client(headers={"authorization": f"Bearer {_token()}"}, trust_env=False, verify=env["SSL_CERT_FILE"]) as http:
        tracking = job.services["Tracking"].endpoint.replace("azureml://", "https://")  # type: ignore[attr-defined]
        run = http.get(f"{tracking}/api/2.0/mlflow/runs/get", params={"run_id": name}).raise_for_status().json()["run"]
        history = f"{env['EMULATOR_URL']}/history{tracking.partition('/mlflow')[2]}/runs/{name}"
        metrics = http.get(f"{history}/metrics").raise_for_status().json()["value"]
    assert {metric["key"]: metric["value"] for metric in run["data"]["metrics"]} == {"rmse": 0.5, "rows": 2.0}
    assert {metric["name"]: metric["cells"] for metric in metrics} == {"rmse": [{"rmse": 0.5}], "rows": [{"rows": 2.0}]}
    assert run["data"]["params"] == [{"key": "a", "value": "1"}]
    assert (run["info"]["status"], job.tags["t"]) == ("FINISHED", "u")  # type: ignore[attr-defined]


def _token() -> str:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential().get_token("https://management.azure.com/.default").token
