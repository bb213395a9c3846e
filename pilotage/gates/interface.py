"""The one interface of gates: what a gate is given, and what it gives back.

A gate is a class with `kind`, `version`, `spec` and the methods of `Gate`. It measures through a `Trial` and
judges; it knows no Azure and no durable orchestration. What takes long, or must load the model, is work for an
Azure ML job: `begin` then returns a `GateJob`, and `finish` judges what the job wrote.

Teams add gates of their own as entry points of the group `pilotage.gates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Protocol

from pilotage.domain.assets import ArtifactDigest, DataVersion, Frozen, ModelVersion
from pilotage.domain.gate_specs import GateSpec
from pilotage.domain.gates import GateResult
from pilotage.ports import Answer, ArtifactFile, ScoringAddress

__all__ = ["ArtifactFile", "Champion", "Gate", "GateJob", "JobGate", "JobInput", "JobOutcome", "Trial"]


class Champion(Frozen):
    """The version that serves production now, told from live traffic."""

    model: ModelVersion
    model_digest: str
    """`sha256:...`, computed from its files now."""
    workspace: str
    endpoint: str
    deployment: str
    traffic: int
    """Percent of the endpoint's live traffic: the most of all its deployments."""


class Trial(Protocol):
    """A candidate that stands in staging, with everything that gates may ask about it.

    Every method may raise `Throttled`, `Unavailable`, `Busy` (the gate is begun again later), `PermissionDenied`,
    `NotFound` and `InvalidInput` (the gate is Errored, with the message). Gates let these pass through.
    """

    @property
    def model(self) -> ModelVersion: ...

    @property
    def model_digest(self) -> ArtifactDigest: ...

    @property
    def environment(self) -> str | None:
        """Asset id of the pinned environment; None: the model brings its own."""

    @property
    def seed(self) -> int:
        """For everything random: equal for equal model digests, so that a repeated measurement draws alike."""

    def now(self) -> datetime: ...

    def score(self, body: bytes, *, champion: bool = False) -> Answer:
        """One scoring request (JSON) to the candidate's deployment, or to the champion's.

        429 is raised as Throttled and 5xx as Unavailable: they say nothing of the model. Any other status is an answer.
        """

    def address(self) -> ScoringAddress:
        """Where and with which headers the candidate's deployment is reached, for a gate that sends many requests itself."""

    def data(self, text: str) -> DataVersion:
        """The pinned data asset that a spec names. Raises KeyError for one that `spec.data()` does not name."""

    def files(self, text: str) -> Sequence[tuple[str, bytes]]:
        """(path, content) of the asset's files, sorted by path. In a function, raises TooLarge when all data of the gate is over the limit:
        a gate of `moving.MOVABLE` then runs as a job."""

    def artifact(self) -> Sequence[ArtifactFile]:
        """The files of the model, sorted by path, without reading them."""

    def read_artifact(self, path: str, limit: int) -> bytes:
        """One file of the model. Raises TooLarge over `limit` bytes, NotFound."""

    def champion(self) -> Champion | None:
        """What serves production now; None when nothing does."""

    def training(self, *, champion: bool = False) -> DataVersion | None:
        """The data the model was trained on, where its property `pilotage.training_data` names an asset; pinned. None: not told."""

    def training_files(self, *, champion: bool = False) -> Sequence[tuple[str, bytes]]:
        """Files of `training`. Raises TooLarge, NotFound."""


class JobInput(Frozen):
    """An input of a gate's job: a data asset, the model, or a literal (type `string`, `number`, `integer`, `boolean`)."""

    type: str
    """`uri_file`, `uri_folder`, `mlflow_model`, `custom_model`, `string`, ..."""
    value: str
    """Asset id or `azureml://` path; or the literal."""


class GateJob(Frozen):
    """Work for an Azure ML job: a program of ours that is uploaded with it, or a team's registered component.

    What it writes into its output `result` (uri_folder) comes back in `JobOutcome.files`.
    """

    program: str | None = None
    """Folder below `pilotage/gates/programs`, uploaded as the job's code."""
    command: str = ""
    """With a program: such as `python predict.py --model ${{inputs.model}} --result ${{outputs.result}}`."""
    component: str | None = None
    """Text of a component asset, such as azureml:air-time-tests@latest."""
    output: str = "result"
    """With a component: which of its outputs comes back."""
    environment: str | None = None
    """With a program: asset id of the environment it runs in."""
    inputs: dict[str, JobInput] = {}
    compute: str


class JobOutcome(Frozen):
    """How a gate's job ended."""

    name: str
    status: str
    """Azure ML's word: Completed, Failed, Canceled."""
    message: str = ""
    link: str = ""
    """Its page in the studio."""
    files: list[tuple[str, bytes]] = []
    """(path, content) of what it wrote, sorted; empty when it wrote nothing."""
    metrics: dict[str, float] = {}
    """What it logged by MLflow, last values."""


class Gate[Spec: GateSpec](Protocol):
    """One kind of gate. Instances have no state."""

    kind: ClassVar[str]
    version: ClassVar[str]
    """Raised whenever equal inputs may be judged differently: evidence is carried over between equal versions only."""
    compares: ClassVar[bool]
    """Whether the verdict depends on what serves production now."""

    @property
    def spec(self) -> type[Spec]: ...

    def begin(self, trial: Trial, spec: Spec) -> GateResult | GateJob:
        """Measure and judge; or say what a job must do first."""


class JobGate[Spec: GateSpec](Gate[Spec], Protocol):
    """A gate whose `begin` may return a job."""

    def finish(self, trial: Trial, spec: Spec, job: JobOutcome) -> GateResult:
        """Judge what the job did. Only called after `begin` returned a job."""
