"""What the app needs of Azure ML: registries, endpoints, jobs. See `pilotage.ports` for what every method may raise."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from pilotage.domain.assets import ArtifactDigest, AssetRef, DataVersion, EnvironmentVersion, Frozen, ModelVersion, Submitter


class ArtifactFile(Frozen):
    """One file of an artifact; `path` is below the artifact's root, `size` in bytes."""

    path: str
    size: int


class ModelRegistry(Protocol):
    """Assets in workspaces and registries."""

    def pin(self, kind: Literal["models", "environments", "data", "components"], ref: AssetRef) -> AssetRef:
        """Resolve a label (`@latest`) to the version it means now; a pinned ref comes back as it is. Raises NotFound."""

    def model(self, ref: AssetRef) -> ModelVersion:
        """Raises NotFound."""

    def stamp(self, ref: AssetRef, properties: dict[str, str]) -> None:
        """Add properties to a model version; those that are there with equal text are left alone.

        Raises NotFound, and Conflict where one is there with another text: a property is added, never changed.
        """

    def model_digest(self, ref: AssetRef) -> ArtifactDigest:
        """Digest of the artifact's blobs, read in a stream. Raises NotFound when there is no file."""

    def submitters(self, model: ModelVersion) -> list[Submitter]:
        """The registrant and, where the model came from a job, that job's owner, by object id where it can be told."""

    def begin_share_model(self, source: AssetRef, target: AssetRef) -> str:
        """Start copying a workspace's version into a registry; returns at once with the operation that does it.

        Empty when there is none to follow: the version exists, or an earlier call's copy is under way.
        """

    def environment(self, ref: AssetRef) -> EnvironmentVersion:
        """Raises NotFound."""

    def begin_share_environment(self, source: AssetRef, target: AssetRef) -> str:
        """As `begin_share_model`."""

    def share_failure(self, target: AssetRef, operation: str) -> str | None:
        """Why a copy's operation has failed; None while it runs, and when it has succeeded."""

    def data(self, ref: AssetRef) -> DataVersion:
        """Raises NotFound. Reads the files to digest them."""

    def read_data(self, ref: AssetRef, limit: int) -> list[tuple[str, bytes]]:
        """Files (path, content) of a pinned data asset, sorted by path. Raises TooLarge over `limit` bytes in all."""

    def model_files(self, ref: AssetRef) -> list[ArtifactFile]:
        """The files of a model, sorted by path; none is read. Raises NotFound."""

    def read_model_file(self, ref: AssetRef, path: str, limit: int) -> bytes:
        """One file of a model. Raises TooLarge over `limit` bytes, NotFound."""


class EndpointState(Frozen):
    """An online endpoint as read."""

    workspace: str
    name: str
    provisioning_state: str
    """`Succeeded`, `Failed`, or a state on the way (`Creating`, `Updating`, `Deleting`)."""
    traffic: dict[str, int] = {}
    tags: dict[str, str] = {}


class DeploymentSpec(Frozen):
    """An online deployment as wanted."""

    workspace: str
    endpoint: str
    name: str
    model: str
    """`azureml://registries/{r}/models/{n}/versions/{v}`."""
    environment: str | None = None
    instance_type: str
    instances: int = 1
    tags: dict[str, str] = {}


class DeploymentState(DeploymentSpec):
    """An online deployment as read."""

    provisioning_state: str
    error: str = ""


class Answer(Frozen):
    """What a scoring request was answered."""

    status: int
    body: str
    seconds: float
    deployment: str = ""


class ScoringAddress(Frozen):
    """How one deployment is reached by whoever sends many requests: URL and headers, of which one is a secret (no repr shows them)."""

    url: str
    headers: dict[str, str] = Field(repr=False)


class Deployments(Protocol):
    """Managed online endpoints. `begin_*` returns once Azure has accepted; the state is polled."""

    def endpoint(self, workspace: str, name: str) -> EndpointState | None: ...

    def endpoints(self, workspace: str) -> list[EndpointState]: ...

    def deployment(self, workspace: str, endpoint: str, name: str) -> DeploymentState | None: ...

    def deployments(self, workspace: str, endpoint: str) -> list[DeploymentState]: ...

    def begin_create_endpoint(self, workspace: str, name: str, tags: dict[str, str]) -> None: ...

    def begin_set_traffic(self, workspace: str, endpoint: str, traffic: dict[str, int]) -> None: ...

    def begin_create_deployment(self, spec: DeploymentSpec) -> None: ...

    def begin_delete_deployment(self, workspace: str, endpoint: str, name: str) -> None: ...

    def begin_delete_endpoint(self, workspace: str, name: str) -> None:
        """Delete an endpoint with what is on it; absent is fine. Only for those that a rehearsal made for itself."""

    def logs(self, workspace: str, endpoint: str, name: str, lines: int = 50) -> str: ...

    def score(self, workspace: str, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        """Send one scoring request; any HTTP status is an answer. Raises Unavailable when there is none."""

    def address(self, workspace: str, endpoint: str, deployment: str) -> ScoringAddress:
        """Where one deployment is reached, by whoever sends many requests. Raises NotFound."""


class JobSpec(Frozen):
    """A pipeline component to run as a job under a deterministic name."""

    workspace: str
    name: str
    component: AssetRef
    """Pinned."""
    inputs: dict[str, str]
    """Input -> literal, or data asset id."""
    compute: str
    tags: dict[str, str] = {}
    experiment: str
    output: str | None = None
    """The component's output that is read back when the job has ended; None: none is."""
    timeout: int | None = None
    """Seconds after which Azure ends it, whoever waits; a component that is a pipeline has limits of its own steps' making."""
    offered: dict[str, str] = {}
    """Inputs that are given where the component declares them: name -> literal or asset id."""


class ProgramSpec(Frozen):
    """A program of ours to run as a job under a deterministic name; what it writes into its output `result` is read back."""

    workspace: str
    name: str
    program: str
    """Folder with the code, on this machine."""
    command: str
    environment: str | None
    """Asset id; None is refused: what runs the model needs the model's own environment."""
    timeout: int
    """Seconds after which Azure ends it, though nobody waits for it any more: its promotion may have been terminated."""
    inputs: dict[str, tuple[str, str]]
    """Name -> (type, asset id or literal)."""
    compute: str
    tags: dict[str, str] = {}
    experiment: str


class ProgramStep(Frozen):
    """One program of ours in a job of several."""

    name: str
    program: str
    """Folder with the code, on this machine."""
    command: str
    environment: str
    """Asset id."""
    inputs: dict[str, str]
    """Input of the step -> input or document of the job, or `step.output` of a step before it."""
    outputs: list[str]
    """Folders that it writes."""


class StepsSpec(Frozen):
    """Programs of ours that run one after the other as one job, each in its own environment."""

    workspace: str
    name: str
    steps: list[ProgramStep]
    """The last one's output `result` is read back."""
    inputs: dict[str, tuple[str, str]]
    """Name -> (type, asset id)."""
    documents: dict[str, str] = {}
    """Name -> text of a file that is uploaded with the job."""
    timeout: int
    """Seconds after which Azure ends a step."""
    compute: str
    tags: dict[str, str] = {}
    experiment: str


class JobState(Frozen):
    name: str
    status: str
    """Azure ML's word: NotStarted, Running, Completed, Failed, Canceled, ..."""
    message: str = ""
    link: str = ""
    """Its page in the studio."""

    @property
    def terminal(self) -> bool:
        return self.status in ("Completed", "Failed", "Canceled", "NotResponding")


class Jobs(Protocol):
    def begin(self, spec: JobSpec) -> None:
        """Submit; does nothing when the job exists. Raises NotFound for an unknown component or input."""

    def state(self, workspace: str, name: str) -> JobState | None: ...

    def begin_program(self, spec: ProgramSpec) -> None:
        """Submit; does nothing when the job exists. The program's folder is uploaded with it."""

    def begin_steps(self, spec: StepsSpec) -> None:
        """As `begin_program`, of several programs."""

    def written(self, workspace: str, name: str, limit: int) -> list[tuple[str, bytes]]:
        """(path, content) of what a job wrote into the output that is read back, sorted; empty when it wrote nothing.

        Raises TooLarge over `limit` bytes in all.
        """

    def metrics(self, workspace: str, name: str) -> dict[str, float]:
        """What the job and its steps logged by MLflow: last values by name; empty when they logged nothing."""

    def cancel(self, workspace: str, name: str) -> None: ...
