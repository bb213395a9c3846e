"""A small Azure ML in memory, for orchestrations and activities: endpoints with traffic, deployments that take a while, jobs.

It keeps the rules that matter here (an unknown model can't be deployed, traffic names deployments, a deployment with
traffic can't be deleted) and every effect that was asked for, in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pilotage.domain.assets import ArtifactDigest, AssetRef, BlobDigest, DataVersion, EnvironmentVersion, ModelVersion, Submitter
from pilotage.domain.rollout import check_sum, normal
from pilotage.errors import Conflict, NotFound, PilotageError
from pilotage.ports import Answer, ArtifactFile, DeploymentSpec, DeploymentState, EndpointState, JobSpec, JobState

MLMODEL = b"flavors: {}\n"
ADA = Submitter(role="registrant", display_name="Ada", object_id="oid-ada")


class World:
    """Implements ModelRegistry, Deployments and Jobs."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.models: dict[str, ModelVersion] = {}
        self.digests: dict[str, str] = {}
        self.endpoints_: dict[tuple[str, str], dict[str, int]] = {}
        self.deployments_: dict[tuple[str, str, str], DeploymentState] = {}
        self.jobs: dict[str, JobState] = {}
        self.submitters_ = [ADA]
        self.broken_deployments: set[str] = set()
        """Endpoints whose deployments fail to start."""
        self.broken_copies = False
        self.answer: Callable[[str, int], tuple[int, Any]] = lambda endpoint, rows: (200, [1.0] * rows)
        self.job_ends = "Completed"
        self.on_job: Callable[[JobSpec], None] = lambda spec: None
        self.before: dict[str, Callable[[], None]] = {}
        """What happens right before an effect, by its name: faults and races."""

    def register(self, name: str = "line", version: str = "1", workspace: str = "dev", **tags: str) -> None:
        ref = AssetRef(name=name, version=version, workspace=workspace)
        self.models[str(ref)] = ModelVersion(ref=ref, id=f"/{ref}", type="mlflow_model", path="azureml://x", created_by="Ada",
                                             tags={"candidate": "true", **tags})
        self.digests[str(ref)] = f"bytes of {name}:{version}"

    def _effect(self, name: str, *what: object) -> None:
        if hook := self.before.get(name):
            hook()
        self.effects.append(" ".join([name, *map(str, what)]))

    # --- ModelRegistry ------------------------------------------------------------------------------------

    def pin(self, kind: str, ref: AssetRef) -> AssetRef:
        return ref if ref.pinned else ref.model_copy(update={"version": "1"})

    def model(self, ref: AssetRef) -> ModelVersion:
        if str(ref) not in self.models:
            raise NotFound(f"{ref} does not exist")
        return self.models[str(ref)]

    def stamp(self, ref: AssetRef, properties: dict[str, str]) -> None:
        self.model(ref)

    def model_digest(self, ref: AssetRef) -> ArtifactDigest:
        self.model(ref)
        return ArtifactDigest.of([BlobDigest(path="MLmodel", size=1, sha256=self.digests[str(ref)])])

    def submitters(self, model: ModelVersion) -> list[Submitter]:
        return self.submitters_

    def begin_share_model(self, source: AssetRef, target: AssetRef) -> str:
        if str(target) not in self.models:
            self._effect("share", target)
            self.models[str(target)] = self.models[str(source)].model_copy(update={
                "ref": target, "id": f"azureml://registries/{target.registry}/models/{target.name}/versions/{target.version}"})
            self.digests[str(target)] = "other bytes" if self.broken_copies else self.digests[str(source)]
        return ""

    def environment(self, ref: AssetRef) -> EnvironmentVersion:
        return EnvironmentVersion(ref=ref, id=f"azureml://{ref}", image="image", definition="sha256:environment")

    def begin_share_environment(self, source: AssetRef, target: AssetRef) -> str:
        """Environments are everywhere here."""
        return ""

    def share_failure(self, target: AssetRef, operation: str) -> str | None:
        return None

    def data(self, ref: AssetRef) -> DataVersion:
        return DataVersion(ref=ref, id=f"/{ref}", uri="azureml://x", digest=ArtifactDigest.of([]))

    def read_data(self, ref: AssetRef, limit: int) -> list[tuple[str, bytes]]:
        if "holdout" in ref.name:
            return [("holdout.csv", b"x,y\n" + b"1,1.0\n" * 200)]
        return [("requests.jsonl", json.dumps({"input_data": {"columns": ["x"], "data": [[1], [2]]}}).encode())]

    def model_files(self, ref: AssetRef) -> list[ArtifactFile]:
        self.model(ref)
        return [ArtifactFile(path="MLmodel", size=len(MLMODEL))]

    def read_model_file(self, ref: AssetRef, path: str, limit: int) -> bytes:
        self.model(ref)
        return MLMODEL

    # --- Deployments --------------------------------------------------------------------------------------

    def endpoint(self, workspace: str, name: str) -> EndpointState | None:
        traffic = self.endpoints_.get((workspace, name))
        return None if traffic is None else EndpointState(workspace=workspace, name=name, provisioning_state="Succeeded", traffic=traffic)

    def endpoints(self, workspace: str) -> list[EndpointState]:
        return [found for where, name in list(self.endpoints_) if where == workspace and (found := self.endpoint(where, name))]

    def deployment(self, workspace: str, endpoint: str, name: str) -> DeploymentState | None:
        return self.deployments_.get((workspace, endpoint, name))

    def deployments(self, workspace: str, endpoint: str) -> list[DeploymentState]:
        return [d for (where, of, _), d in self.deployments_.items() if (where, of) == (workspace, endpoint)]

    def begin_create_endpoint(self, workspace: str, name: str, tags: dict[str, str]) -> None:
        self._effect("endpoint", name)
        self.endpoints_.setdefault((workspace, name), {})

    def begin_set_traffic(self, workspace: str, endpoint: str, traffic: dict[str, int]) -> None:
        check_sum(traffic)
        self._effect("traffic", endpoint, traffic)
        for name in traffic:
            assert (workspace, endpoint, name) in self.deployments_, f"traffic names {name}, which is not there"
        self.endpoints_[workspace, endpoint] = dict(traffic)

    def begin_create_deployment(self, spec: DeploymentSpec) -> None:
        key = (spec.workspace, spec.endpoint, spec.name)
        if key in self.deployments_:
            if self.deployments_[key].model != spec.model:
                raise Conflict(f"{spec.name} is there with another model")
            return
        self._effect("deploy", spec.endpoint, spec.name)
        state = "Failed" if spec.endpoint in self.broken_deployments else "Succeeded"
        self.deployments_[key] = DeploymentState(**spec.model_dump(), provisioning_state=state, error="" if state == "Succeeded" else "no")

    def begin_delete_deployment(self, workspace: str, endpoint: str, name: str) -> None:
        assert name not in normal(self.endpoints_[workspace, endpoint]), f"{name} still has traffic"
        self._effect("delete", endpoint, name)
        self.deployments_.pop((workspace, endpoint, name), None)

    def logs(self, workspace: str, endpoint: str, name: str, lines: int = 50) -> str:
        return "its log"

    def score(self, workspace: str, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        status, value = self.answer(endpoint, len(json.loads(body)["input_data"]["data"]))
        return Answer(status=status, body=json.dumps(value), seconds=0.01, deployment=deployment or "")

    # --- Jobs ---------------------------------------------------------------------------------------------

    def begin(self, spec: JobSpec) -> None:
        if spec.name not in self.jobs:
            self._effect("job", spec.name)
            self.jobs[spec.name] = JobState(name=spec.name, status=self.job_ends)
            self.on_job(spec)

    def state(self, workspace: str, name: str) -> JobState | None:
        return self.jobs.get(name)

    def cancel(self, workspace: str, name: str) -> None:
        self._effect("cancel", name)
        self.jobs[name] = JobState(name=name, status="Canceled")



def failing(error: PilotageError, times: int = 1) -> Callable[[], None]:
    """A hook that raises so many times."""
    left = [times]

    def hook() -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return hook
