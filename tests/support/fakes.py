"""Azure ML as a small world in memory: `ModelRegistry`, `Deployments` and `Jobs` over one state, in virtual time.

What takes Azure time takes time here too: an operation is under way until its moment has come, and whoever changes
the same resource meanwhile is told `Busy`. Refusals are Azure's. Faults are asked for by method, and either lose
the request or lose the answer of one that was carried out. Every change that was really made is in `changes`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from pilotage.domain.assets import (
    ArtifactDigest,
    AssetRef,
    BlobDigest,
    DataVersion,
    EnvironmentVersion,
    ModelVersion,
    Submitter,
)
from pilotage.domain.canonical import digest
from pilotage.domain.rollout import check_sum, normal
from pilotage.errors import Busy, Conflict, InvalidInput, NotFound, TooLarge
from pilotage.ports import (
    Answer,
    ArtifactFile,
    DeploymentSpec,
    DeploymentState,
    EndpointState,
    JobSpec,
    JobState,
    ProgramSpec,
    ScoringAddress,
    StepsSpec,
)
from tests.support.memory import FixedClock

Kind = Literal["models", "environments", "data", "components"]
Predict = Callable[[Mapping[str, Any]], Any]


def double(row: Mapping[str, Any]) -> Any:
    """The model that the sample data comes from."""
    return 2.0 * row["x"]


@dataclass
class Asset:
    """One version of an asset: its files, and what Azure says beside them."""

    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    created_by: str = "Ada Lovelace"
    job: str | None = None
    image: str = ""
    number: int = 0
    """The order in which versions were made: `@latest` is the newest."""
    predict: Predict = double
    status: int = 200
    starts: bool = True
    """Whether a deployment of this model comes up."""


@dataclass
class Deployment:
    spec: DeploymentSpec
    ready: datetime
    ends: str = "Succeeded"
    deleted: datetime | None = None
    """When its deletion, once asked for, is done."""


@dataclass
class Endpoint:
    tags: dict[str, str]
    ready: datetime
    ends: str = "Succeeded"
    traffic: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)


@dataclass
class Job:
    spec: JobSpec | ProgramSpec | StepsSpec
    ready: datetime
    ends: str = "Completed"
    message: str = ""


@dataclass
class Fault:
    """Raise `error` at the next `times` calls of a method that it is for: before the call, or after it was carried out."""

    method: str
    error: Exception
    times: int = 1
    after: bool = False
    where: Callable[..., bool] = lambda *_, **__: True


@dataclass
class Pace:
    """How long Azure takes: seconds instead of minutes, so that fewer looks at it are replayed."""

    endpoint: timedelta = timedelta(seconds=1)
    deployment: timedelta = timedelta(seconds=3)
    deletion: timedelta = timedelta(seconds=2)
    traffic: timedelta = timedelta(seconds=1)
    share: timedelta = timedelta(seconds=1)
    job: timedelta = timedelta(seconds=30)


class AzureMl:
    """The world, and the three ports onto it."""

    def __init__(self, clock: FixedClock, pace: Pace | None = None) -> None:
        self.clock, self.pace = clock, pace or Pace()
        self.assets: dict[tuple[str, str, str, str], Asset] = {}
        self._arriving: dict[tuple[str, str, str, str], datetime] = {}
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._jobs: dict[tuple[str, str], Job] = {}
        self.faults: list[Fault] = []
        self.changes: list[tuple[str, ...]] = []
        self.known: dict[str, str] = {"Ada Lovelace": "oid-ada", "Training Jobs": "oid-jobs"}
        """Display name -> object id, as the guardrails declare them."""
        self.corrupts: set[str] = set()
        self.copy_errors: dict[str, str] = {}
        """Asset names whose next copy fails after it was accepted, with what its operation then says."""
        self.stamps: dict[str, dict[str, str]] = {}
        self._failed_copies: dict[str, tuple[datetime, str]] = {}
        """Per operation: when it ends, and with what error."""
        self._copying: dict[tuple[str, str, str, str], datetime] = {}
        """Names of assets whose copies in a registry differ from their source."""
        self.job_ends = "Completed"
        self.job_writes: Callable[[Any], dict[str, bytes]] = lambda spec: {}
        """What a job has written when it is over: path -> content."""
        self.answers: dict[str, int] = {}
        """Deployment -> status of its answers, whatever its model says."""
        self.watch: Callable[[], None] = lambda: None
        """Told after each change was made: a test lets the process die here."""

    # --- setting the scene ----------------------------------------------------------------------------

    def put(self, kind: Kind, ref: AssetRef, asset: Asset) -> None:
        asset.number = len(self.assets) + 1
        self.assets[_key(kind, ref)] = asset

    def fail(self, method: str, error: Exception, times: int = 1, *, after: bool = False,
             where: Callable[..., bool] = lambda *_, **__: True) -> None:
        self.faults.append(Fault(method, error, times, after, where))

    def place(self, workspace: str, endpoint: str, spec: DeploymentSpec | None = None, traffic: dict[str, int] | None = None) -> None:
        """What stands already: an endpoint, a deployment on it, a split."""
        found = self._endpoints.setdefault((workspace, endpoint), Endpoint({}, self.clock.now()))
        if spec is not None:
            found.deployments[spec.name] = Deployment(spec, self.clock.now())
        if traffic is not None:
            found.traffic = dict(traffic)

    def remove(self, workspace: str, endpoint: str, deployment: str) -> None:
        """Somebody removes a deployment behind our back."""
        self._endpoints[workspace, endpoint].deployments.pop(deployment)

    def break_endpoint(self, workspace: str, endpoint: str, state: str = "Failed") -> None:
        self._endpoints[workspace, endpoint].ends = state

    # --- looking at it --------------------------------------------------------------------------------

    def traffic(self, workspace: str, endpoint: str) -> dict[str, int]:
        found = self._endpoints.get((workspace, endpoint))
        return normal(found.traffic) if found else {}

    def standing(self, workspace: str, endpoint: str) -> list[str]:
        """The deployments that are there, also those that failed."""
        return [state.name for state in self._states(workspace, endpoint)]

    def picture(self) -> dict[str, Any]:
        """Everything that stands, without times."""
        return {
            "assets": sorted("/".join(key) for key in self.assets if self._arrived(key)),
            "endpoints": {"/".join(key): {"traffic": normal(found.traffic), "deployments": {
                state.name: state.model_dump() for state in self._states(*key)}} for key, found in sorted(self._endpoints.items())},
            "jobs": {"/".join(key): job.spec.model_dump() for key, job in sorted(self._jobs.items())},
        }

    def fork(self, clock: FixedClock) -> AzureMl:
        """Another world that is the same so far."""
        watch, self.watch = self.watch, lambda: None
        other = copy.deepcopy(self, {id(self.clock): clock})
        self.watch = watch
        return other

    # --- ModelRegistry --------------------------------------------------------------------------------

    def pin(self, kind: Kind, ref: AssetRef) -> AssetRef:
        self._call("pin", kind, ref)
        if ref.pinned:
            return ref
        home = _key(kind, ref)[:3]
        versions = [(asset.number, key[3]) for key, asset in self.assets.items() if key[:3] == home]
        if not versions or ref.version != "@latest":
            raise NotFound(f"{ref}: there is no such asset, or no such label")
        return ref.model_copy(update={"version": max(versions)[1]})

    def model(self, ref: AssetRef) -> ModelVersion:
        self._call("model", ref)
        asset = self._asset("models", ref)
        return ModelVersion(ref=ref, id=_asset_id("models", ref), type="mlflow_model", path=f"azureml://datastores/blobs/{ref.name}",
                            tags=asset.tags, properties=dict(self.stamps.get(str(ref), {})),
                            created_by=asset.created_by, job=asset.job)

    def stamp(self, ref: AssetRef, properties: dict[str, str]) -> None:
        self._call("stamp", ref)
        self._asset("models", ref)
        self.stamps.setdefault(str(ref), {}).update(properties)

    def model_digest(self, ref: AssetRef) -> ArtifactDigest:
        self._call("model_digest", ref)
        return _digest(self._asset("models", ref).files)

    def submitters(self, model: ModelVersion) -> list[Submitter]:
        self._call("submitters", model)
        found = [Submitter(role="registrant", display_name=model.created_by, object_id=self.known.get(model.created_by))]
        if model.job:
            found.append(Submitter(role="training_job_owner", display_name="Training Jobs", object_id=self.known.get("Training Jobs")))
        return found

    def begin_share_model(self, source: AssetRef, target: AssetRef) -> str:
        return self._share("begin_share_model", "models", source, target)

    def environment(self, ref: AssetRef) -> EnvironmentVersion:
        self._call("environment", ref)
        asset = self._asset("environments", ref)
        return EnvironmentVersion(ref=ref, id=_asset_id("environments", ref), image=asset.image, definition=digest(asset.image))

    def begin_share_environment(self, source: AssetRef, target: AssetRef) -> str:
        return self._share("begin_share_environment", "environments", source, target)

    def share_failure(self, target: AssetRef, operation: str) -> str | None:
        self._call("share_failure", target, operation)
        ends, why = self._failed_copies.get(operation, (datetime.max.replace(tzinfo=UTC), ""))
        return why if ends <= self.clock.now() else None

    def data(self, ref: AssetRef) -> DataVersion:
        self._call("data", ref)
        files = self._asset("data", ref).files
        return DataVersion(ref=ref, id=_asset_id("data", ref), uri=f"azureml://datastores/blobs/{ref.name}", digest=_digest(files))

    def read_data(self, ref: AssetRef, limit: int) -> list[tuple[str, bytes]]:
        self._call("read_data", ref, limit)
        files = self._asset("data", ref).files
        if sum(map(len, files.values())) > limit:
            raise TooLarge(f"{ref} is larger than {limit} bytes")
        return sorted(files.items())

    def model_files(self, ref: AssetRef) -> list[ArtifactFile]:
        self._call("model_files", ref)
        return [ArtifactFile(path=path, size=len(content)) for path, content in sorted(self._asset("models", ref).files.items())]

    def read_model_file(self, ref: AssetRef, path: str, limit: int) -> bytes:
        self._call("read_model_file", ref, path, limit)
        files = self._asset("models", ref).files
        if path not in files:
            raise NotFound(f"{ref} has no file {path}")
        if len(files[path]) > limit:
            raise TooLarge(f"{path} is larger than {limit} bytes")
        return files[path]

    def _share(self, method: str, kind: Kind, source: AssetRef, target: AssetRef) -> str:
        with_answer = self._call(method, source, target)
        key, operation = _key(kind, target), ""
        if key not in self.assets and source.name in self.copy_errors:
            operation = f"{method}/failing"
            self._copying[key] = self.clock.now() + self.pace.share
            self._failed_copies[operation] = self._copying[key], self.copy_errors.pop(source.name)
            self._changed(method, str(target))
        elif key not in self.assets and self._copying.get(key, self.clock.now()) <= self.clock.now():
            operation = f"{method}/{len(self.assets) + 1}"
            asset = copy.deepcopy(self._asset(kind, source))
            asset.number = len(self.assets) + 1
            if source.name in self.corrupts:
                asset.image += "-other"
                asset.files = {path: content + b"!" for path, content in asset.files.items()}
            self.assets[key], self._arriving[key] = asset, self.clock.now() + self.pace.share
            self._changed(method, str(target))
        with_answer()
        return operation

    def _asset(self, kind: Kind, ref: AssetRef) -> Asset:
        key = _key(kind, ref)
        if key not in self.assets or not self._arrived(key):
            raise NotFound(f"{ref} does not exist")
        return self.assets[key]

    def _arrived(self, key: tuple[str, str, str, str]) -> bool:
        return self._arriving.get(key, self.clock.now()) <= self.clock.now()

    # --- Deployments ----------------------------------------------------------------------------------

    def endpoint(self, workspace: str, name: str) -> EndpointState | None:
        self._call("endpoint", workspace, name)
        found = self._endpoints.get((workspace, name))
        return None if found is None else self._endpoint_state(workspace, name, found)

    def endpoints(self, workspace: str) -> list[EndpointState]:
        self._call("endpoints", workspace)
        return [self._endpoint_state(*key, found) for key, found in sorted(self._endpoints.items()) if key[0] == workspace]

    def deployment(self, workspace: str, endpoint: str, name: str) -> DeploymentState | None:
        self._call("deployment", workspace, endpoint, name)
        return next((state for state in self._states(workspace, endpoint) if state.name == name), None)

    def deployments(self, workspace: str, endpoint: str) -> list[DeploymentState]:
        self._call("deployments", workspace, endpoint)
        return self._states(workspace, endpoint)

    def begin_create_endpoint(self, workspace: str, name: str, tags: dict[str, str]) -> None:
        with_answer = self._call("begin_create_endpoint", workspace, name, tags)
        found = self._endpoints.get((workspace, name))
        if found is not None and found.ready > self.clock.now():
            raise Busy(f"{workspace}/{name} is being created")
        if found is None or found.ends == "Failed":
            self._endpoints[workspace, name] = Endpoint(dict(tags), self.clock.now() + self.pace.endpoint)
            self._changed("begin_create_endpoint", workspace, name)
        with_answer()

    def begin_set_traffic(self, workspace: str, endpoint: str, traffic: dict[str, int]) -> None:
        with_answer = self._call("begin_set_traffic", workspace, endpoint, traffic)
        check_sum(traffic)
        found = self._endpoints.get((workspace, endpoint))
        if found is None:
            raise NotFound(f"endpoint {workspace}/{endpoint} does not exist")
        if found.ready > self.clock.now():
            raise Busy(f"{workspace}/{endpoint} is being changed")
        there = {state.name: state.provisioning_state for state in self._states(workspace, endpoint)}
        for name in normal(traffic):
            if there.get(name) != "Succeeded":
                raise InvalidInput(f"deployment {name} is {there.get(name, 'absent')}: it can't take traffic")
        if normal(found.traffic) != normal(traffic) or found.ends != "Succeeded":
            found.traffic, found.ready, found.ends = normal(traffic), self.clock.now() + self.pace.traffic, "Succeeded"
            self._changed("begin_set_traffic", workspace, endpoint, json.dumps(normal(traffic)))
        with_answer()

    def begin_create_deployment(self, spec: DeploymentSpec) -> None:
        with_answer = self._call("begin_create_deployment", spec)
        endpoint = self._endpoints.get((spec.workspace, spec.endpoint))
        if endpoint is None:
            raise NotFound(f"endpoint {spec.workspace}/{spec.endpoint} does not exist")
        there = next((state for state in self._states(spec.workspace, spec.endpoint) if state.name == spec.name), None)
        if there is not None and there.provisioning_state == "Deleting":
            raise Busy(f"{spec.name} is being deleted")
        if there is not None and {k: getattr(there, k) for k in DeploymentSpec.model_fields} != dict(spec):
            raise Conflict(f"{spec.name} exists otherwise")
        if there is None:
            starts = self._model_of(spec).starts
            endpoint.deployments[spec.name] = Deployment(
                spec, self.clock.now() + self.pace.deployment, "Succeeded" if starts else "Failed")
            self._changed("begin_create_deployment", spec.workspace, spec.endpoint, spec.name)
        with_answer()

    def begin_delete_deployment(self, workspace: str, endpoint: str, name: str) -> None:
        with_answer = self._call("begin_delete_deployment", workspace, endpoint, name)
        found = self._endpoints.get((workspace, endpoint))
        there = found.deployments.get(name) if found else None
        if found is not None and there is not None and there.deleted is None:
            if normal(found.traffic).get(name):
                raise InvalidInput(f"{name} takes {found.traffic[name]} % of the traffic and can't be deleted")
            there.deleted = self.clock.now() + self.pace.deletion
            self._changed("begin_delete_deployment", workspace, endpoint, name)
        with_answer()

    def logs(self, workspace: str, endpoint: str, name: str, lines: int = 50) -> str:
        self._call("logs", workspace, endpoint, name, lines)
        return "ModuleNotFoundError: No module named 'sklearn'"

    def score(self, workspace: str, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        self._call("score", workspace, endpoint, body, deployment)
        state = next((s for s in self._states(workspace, endpoint) if s.name == deployment), None)
        if state is None or state.provisioning_state != "Succeeded":
            return Answer(status=404, body="Specified deployment could not be found", seconds=0.01)
        model = self._model_of(state)
        status = self.answers.get(state.name, model.status)
        if status != 200:
            return Answer(status=status, body="the model's container says no", seconds=0.01, deployment=state.name)
        asked = json.loads(body)["input_data"]
        rows = [dict(zip(asked["columns"], row, strict=True)) for row in asked["data"]]
        return Answer(status=200, body=json.dumps([model.predict(row) for row in rows]), seconds=0.01, deployment=state.name)

    def begin_delete_endpoint(self, workspace: str, name: str) -> None:
        with_answer = self._call("begin_delete_endpoint", workspace, name)
        if self._endpoints.pop((workspace, name), None) is not None:
            self._changed("begin_delete_endpoint", workspace, name)
        with_answer()

    def address(self, workspace: str, endpoint: str, deployment: str) -> ScoringAddress:
        self._call("address", workspace, endpoint, deployment)
        return ScoringAddress(url=f"https://{endpoint}.{workspace}.example/score", headers={"azureml-model-deployment": deployment})

    def _model_of(self, spec: DeploymentSpec) -> Asset:
        parts = spec.model.split("/")
        home = ("registry", parts[3]) if spec.model.startswith("azureml://registries/") else ("workspace", parts[3])
        return self.assets[":".join(home), "models", parts[-3], parts[-1]]

    def _endpoint_state(self, workspace: str, name: str, found: Endpoint) -> EndpointState:
        state = found.ends if found.ready <= self.clock.now() else "Updating" if found.deployments else "Creating"
        return EndpointState(workspace=workspace, name=name, provisioning_state=state, traffic=found.traffic, tags=found.tags)

    def _states(self, workspace: str, endpoint: str) -> list[DeploymentState]:
        now = self.clock.now()
        states = []
        found = self._endpoints.get((workspace, endpoint))
        for _, item in sorted(found.deployments.items() if found else ()):
            if item.deleted is not None and item.deleted <= now:
                continue
            state = "Deleting" if item.deleted else item.ends if item.ready <= now else "Creating"
            error = "the container did not start" if state == "Failed" else ""
            states.append(DeploymentState(**dict(item.spec), provisioning_state=state, error=error))
        return states

    # --- Jobs -----------------------------------------------------------------------------------------

    def begin(self, spec: JobSpec) -> None:
        with_answer = self._call("begin", spec)
        there = self._jobs.get((spec.workspace, spec.name))
        if there is not None and there.spec.tags != spec.tags:
            raise Conflict(f"a job {spec.name} exists in {spec.workspace}, with other tags")
        if there is None:
            self._jobs[spec.workspace, spec.name] = Job(spec, self.clock.now() + self.pace.job, self.job_ends)
            self._changed("begin", spec.workspace, spec.name)
        with_answer()

    def begin_program(self, spec: ProgramSpec) -> None:
        with_answer = self._call("begin_program", spec)
        there = self._jobs.get((spec.workspace, spec.name))
        if there is not None and there.spec.tags != spec.tags:
            raise Conflict(f"a job {spec.name} exists in {spec.workspace}, with other tags")
        if there is None:
            self._jobs[spec.workspace, spec.name] = Job(spec, self.clock.now() + self.pace.job, self.job_ends)
            self._changed("begin_program", spec.workspace, spec.name)
        with_answer()

    def begin_steps(self, spec: StepsSpec) -> None:
        with_answer = self._call("begin_steps", spec)
        there = self._jobs.get((spec.workspace, spec.name))
        if there is not None and there.spec.tags != spec.tags:
            raise Conflict(f"a job {spec.name} exists in {spec.workspace}, with other tags")
        if there is None:
            self._jobs[spec.workspace, spec.name] = Job(spec, self.clock.now() + self.pace.job, self.job_ends)
            self._changed("begin_steps", spec.workspace, spec.name)
        with_answer()

    def written(self, workspace: str, name: str, limit: int) -> list[tuple[str, bytes]]:
        self._call("written", workspace, name, limit)
        return sorted(self.job_writes(self._jobs[workspace, name].spec).items()) if (workspace, name) in self._jobs else []

    def metrics(self, workspace: str, name: str) -> dict[str, float]:
        self._call("metrics", workspace, name)
        return {}

    def state(self, workspace: str, name: str) -> JobState | None:
        self._call("state", workspace, name)
        job = self._jobs.get((workspace, name))
        if job is None:
            return None
        over = job.ready <= self.clock.now()
        return JobState(name=name, status=job.ends if over else "Running", message="out of memory" if over and job.ends == "Failed" else "")

    def cancel(self, workspace: str, name: str) -> None:
        with_answer = self._call("cancel", workspace, name)
        job = self._jobs.get((workspace, name))
        if job is not None and job.ready > self.clock.now():
            job.ready, job.ends = self.clock.now(), "Canceled"
            self._changed("cancel", workspace, name)
        with_answer()

    # --- faults ---------------------------------------------------------------------------------------

    def _call(self, method: str, *args: Any) -> Callable[[], None]:
        """Raise the fault that loses the request; returns what raises the one that loses the answer."""
        fault = next((f for f in self.faults if f.method == method and f.times > 0 and f.where(*args)), None)
        if fault is None:
            return lambda: None
        fault.times -= 1
        if not fault.after:
            raise fault.error

        def lose() -> None:
            raise fault.error

        return lose

    def _changed(self, *what: str) -> None:
        self.changes.append(what)
        self.watch()


def _key(kind: str, ref: AssetRef) -> tuple[str, str, str, str]:
    return f"registry:{ref.registry}" if ref.registry else f"workspace:{ref.workspace}", kind, ref.name, ref.version


def _asset_id(kind: str, ref: AssetRef) -> str:
    home = f"registries/{ref.registry}" if ref.registry else f"workspaces/{ref.workspace}"
    return f"azureml://{home}/{kind}/{ref.name}/versions/{ref.version}"


def _digest(files: dict[str, bytes]) -> ArtifactDigest:
    return ArtifactDigest.of([BlobDigest(path=path, size=len(content), sha256=sha256(content).hexdigest())
                              for path, content in files.items()])
