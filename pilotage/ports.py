"""What the app needs from outside, as protocols. Adapters implement them; tests use the in-memory doubles.

Every method may raise `Throttled`, `Unavailable` or `Busy` (try again) and `PermissionDenied`.
Calls block and set their own timeouts (at most two minutes); they run in the worker's thread pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from pilotage.domain.access import Actor
from pilotage.domain.assets import (
    ArtifactDigest,
    AssetRef,
    DataVersion,
    EnvironmentVersion,
    Frozen,
    ModelVersion,
    Submitter,
)
from pilotage.domain.policy import Guardrails, PromotionPolicy
from pilotage.domain.signatures import Jwk, Signature


class Clock(Protocol):
    def now(self) -> datetime:
        """UTC, aware. Orchestrations never use it: they have their context's time."""


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


class Records(Protocol):
    """Create-only records (Azure Storage blobs in production)."""

    def create(self, name: str, content: bytes) -> bool:
        """True: created. False: it exists with the same bytes. Raises Conflict when the bytes differ."""

    def read(self, name: str) -> bytes | None: ...

    def names(self, prefix: str, limit: int | None = None) -> list[str]:
        """Names under a prefix, sorted."""

    def delete(self, name: str) -> None:
        """Only for markers of the outbox: evidence is never deleted. Absent is fine."""


class Rows(Protocol):
    """Small mutable rows with optimistic concurrency (an Azure table in production)."""

    def get(self, table: str, key: str) -> tuple[dict[str, Any], str] | None:
        """The row's JSON value and its etag."""

    def put(self, table: str, key: str, value: dict[str, Any], etag: str | None, columns: dict[str, str] | None = None) -> None:
        """Insert (etag None) or replace exactly the version of the etag. Raises Conflict when somebody else was first.

        `columns` are short texts to filter by in `scan`.
        """

    def scan(self, table: str, where: dict[str, str] | None = None, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        """Values whose columns equal `where`, in the order of their keys, from behind the key `after` on."""


class Notification(Frozen):
    """What is told to people: no secrets but the link, which is why it is made in the activity."""

    kind: str
    title: str
    why: str = ""
    """Why it is told now."""
    text: str
    promotion: str
    link: str = ""
    """The page: of the decision, with its token, where one is asked for; else of the promotion."""
    decision_url: str = ""
    link_token: str = ""
    facts: dict[str, str] = {}
    """What it is about."""
    gates: dict[str, str] = {}
    """What the gates found: `in all`, then gate -> outcome and message, the worst first."""
    outlook: dict[str, str] = {}
    """Time, window and cost."""


class Notifier(Protocol):
    def known(self) -> dict[str, list[str]]:
        """The configured channels: name -> where it is told, each a name for `send`. No URL: those are secrets."""

    def names(self, wanted: list[str]) -> list[str]:
        """Where it is told when a policy names these channels."""

    def send(self, notification: Notification, channel: str) -> None:
        """Raises Unavailable or Throttled when the channel does not accept it, InvalidInput when there is none of that name."""


class Identity(Protocol):
    def verify(self, authorization: str | None) -> Actor:
        """The caller of a bearer token, verified against the issuer's keys. Raises Unauthenticated."""


class Groups(Protocol):
    """The directory's word on groups, for people who are in more of them than a token holds."""

    def of(self, object_id: str, candidates: Sequence[str]) -> list[str]:
        """Those of `candidates` (object ids of groups) that the person is a member of, directly or through another group.

        Raises Unavailable when the directory does not answer, Forbidden when it does not know the person: nobody is
        taken for a member because nobody could be asked.
        """


class LinkClaims(Frozen):
    """What a decision link is bound to."""

    promotion: str
    stage: str
    plan_hash: str
    round: int
    nonce: str = ""
    """Told apart by it: nobody decides twice by one link, or by one form."""


class FormClaims(LinkClaims):
    """What a form on a page is bound to: one person besides."""

    object_id: str
    purpose: str
    """What it may do, such as `decide`."""


class Tickets(Protocol):
    """Signed, expiring decision links, and the forms of the pages that they open."""

    def issue(self, claims: LinkClaims, expires_at: datetime) -> str: ...

    def redeem(self, token: str) -> LinkClaims:
        """Raises Forbidden (forged) or Gone (expired)."""

    def issue_form(self, claims: LinkClaims, object_id: str, purpose: str, expires_at: datetime) -> str:
        """A form's ticket for this person alone: a page of somebody else can't send it (CSRF)."""

    def redeem_form(self, token: str, object_id: str, purpose: str) -> FormClaims:
        """Raises Forbidden (forged, somebody else's, for something else) or Gone (expired). Used once: who acts on it keeps its nonce."""


class Signer(Protocol):
    """The key that signs passports. Raises Unavailable and Throttled as every port."""

    def public_key(self) -> Jwk:
        """P-256, without a name: it is named by its thumbprint."""

    def sign(self, content: bytes) -> Signature:
        """ES256 over the content."""


class PolicySource(Protocol):
    """Where policies come from. A policy that can't be read is an error of that policy only."""

    def policies(self) -> Sequence[PromotionPolicy]: ...

    def guardrails(self) -> Guardrails: ...

    def problems(self) -> Iterable[str]:
        """Why policies were left out, each with file, line and fix."""


class Orchestrator(Protocol):
    """The durable client, as far as triggers use it."""

    def state(self, instance_id: str) -> str | None:
        """Runtime status (`PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, `TERMINATED`, ...); None: no such instance."""

    def start(self, orchestration: str, instance_id: str, message: dict[str, Any]) -> None:
        """Durable when it returns; a second start of one id is a success that starts nothing."""

    def raise_event(self, instance_id: str, event: str, data: dict[str, Any]) -> None: ...
