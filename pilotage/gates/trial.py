"""The trial of a candidate that really stands in staging: every question is answered through the app's ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from pilotage.domain.assets import ArtifactDigest, AssetRef, DataVersion, ModelVersion, parse_asset
from pilotage.domain.rollout import normal
from pilotage.errors import InvalidInput, NotFound, Throttled, TooLarge, Unavailable
from pilotage.gates.interface import Champion
from pilotage.ports import Answer, ArtifactFile, Clock, Deployments, ModelRegistry, ScoringAddress

DATA_LIMIT = 32 * 1024 * 1024
"""Bytes of gate data that a function reads, when no setting says otherwise; with more the gate runs as an Azure ML job."""
TRAINING_DATA = "pilotage.training_data"
"""Property of a model: the data asset it was trained on, such as azureml:air-time-flights:1."""


@dataclass(frozen=True)
class Place:
    """A deployment on an endpoint."""

    workspace: str
    endpoint: str
    deployment: str

    def __str__(self) -> str:
        return f"{self.workspace}/{self.endpoint}/{self.deployment}"


@dataclass(frozen=True)
class RegisteredFiles:
    """The files of a registered version, for what reads no more of it."""

    registry: ModelRegistry
    ref: AssetRef

    def artifact(self) -> Sequence[ArtifactFile]:
        return self.registry.model_files(self.ref)

    def read_artifact(self, path: str, limit: int) -> bytes:
        return self.registry.read_model_file(self.ref, path, limit)


@dataclass
class LiveTrial:
    """`Trial` over a deployment. `source` is the version as registered (its properties tell its training data), `artifact_ref`
    the one whose files are looked at; `production` is (workspace, endpoint), None where nothing serves or none is compared with."""

    registry: ModelRegistry
    deployments: Deployments
    clock: Clock
    source: AssetRef
    artifact_ref: AssetRef
    model_digest: ArtifactDigest
    environment: str | None
    pinned: dict[str, DataVersion]
    home: str
    candidate: Place
    production: tuple[str, str] | None = None
    roles: dict[str, str] = field(default_factory=dict)
    """Role -> text of the data assets that the gate measures with."""
    compares: bool = False
    """Whether the gate looks at the training data of both versions too."""
    limit: int = DATA_LIMIT
    champions_environment: str | None = field(default=None, init=False)
    """Asset id, once `champion` was asked for."""

    @cached_property
    def model(self) -> ModelVersion:
        """The version that is deployed, with what was said of it where it was registered."""
        told = self.registry.model(self.source)
        if self.artifact_ref == self.source:
            return told
        found = self.registry.model(self.artifact_ref)
        return found.model_copy(update={
            "tags": told.tags | found.tags, "properties": told.properties | found.properties,
            "description": found.description or told.description})

    @property
    def seed(self) -> int:
        return int(self.model_digest.value.removeprefix("sha256:")[:12], 16)

    def now(self) -> datetime:
        return self.clock.now()

    def score(self, body: bytes, *, champion: bool = False) -> Answer:
        place = self.candidate
        if champion:
            found = self.champion()
            if found is None:
                raise NotFound("nothing serves production")
            place = Place(found.workspace, found.endpoint, found.deployment)
        answer = self.deployments.score(place.workspace, place.endpoint, body, deployment=place.deployment)
        if answer.status == 429:  # too many requests at once says nothing of the model
            raise Throttled(f"{place} asks for fewer requests")
        if answer.status >= 500:  # a managed endpoint maps its model's failures to 424 and 408: 5xx is its own infrastructure
            raise Unavailable(f"{place.endpoint} itself answered {answer.status}: {answer.body[:200]}")
        return answer

    def address(self) -> ScoringAddress:
        place = self.candidate
        return self.deployments.address(place.workspace, place.endpoint, place.deployment)

    def data(self, text: str) -> DataVersion:
        return self.pinned[text]

    def files(self, text: str) -> Sequence[tuple[str, bytes]]:
        self._refuse_much()
        return self.registry.read_data(self.pinned[text].ref, self.limit)

    @cached_property
    def inputs(self) -> dict[str, DataVersion]:
        """All data of the gate, by role; what can't be found is the gate's own to tell."""
        found = {role: self.pinned[text] for role, text in self.roles.items()}
        for who in (False, True) if self.compares else ():
            try:
                trained = self.training(champion=who)
            except NotFound:
                continue
            if trained is not None:
                found[f"{'champion' if who else 'candidate'}_training"] = trained
        return found

    @property
    def size(self) -> int:
        """Bytes of all data of the gate, as they were digested: known before any is read. An asset in two roles counts once."""
        return sum({data.id: data.digest.size for data in self.inputs.values()}.values())

    def _refuse_much(self) -> None:
        if self.size > self.limit:
            told = ", ".join(f"{role} {data.digest.size}" for role, data in self.inputs.items())
            raise TooLarge(f"the gate's data holds {self.size} bytes ({told}); a function reads {self.limit}")

    def artifact(self) -> Sequence[ArtifactFile]:
        return self.registry.model_files(self.artifact_ref)

    def read_artifact(self, path: str, limit: int) -> bytes:
        return self.registry.read_model_file(self.artifact_ref, path, limit)

    def champion(self) -> Champion | None:
        return self._champion

    @cached_property
    def _champion(self) -> Champion | None:
        """From live traffic: the registry's latest version may never have served anybody."""
        if self.production is None:
            return None
        workspace, endpoint = self.production
        found = self.deployments.endpoint(workspace, endpoint)
        live = normal(found.traffic) if found else {}
        if not live:
            return None
        # The most traffic; of equals the first by name, so that every look finds the same one.
        name = min(live, key=lambda deployment: (-live[deployment], deployment))
        state = self.deployments.deployment(workspace, endpoint, name)
        if state is None:
            raise Unavailable(f"{workspace}/{endpoint} sends {live[name]} % of its traffic to {name}, which can't be read")
        ref = asset_ref(state.model)
        self.champions_environment = state.environment
        return Champion(model=self.registry.model(ref), model_digest=self.registry.model_digest(ref).value, workspace=workspace,
                        endpoint=endpoint, deployment=name, traffic=live[name])

    def training(self, *, champion: bool = False) -> DataVersion | None:
        return self._champions_training if champion else self._training

    @cached_property
    def _training(self) -> DataVersion | None:
        return self._trained_on(self.model)

    @cached_property
    def _champions_training(self) -> DataVersion | None:
        return self._trained_on(self._champion.model) if self._champion else None

    def _trained_on(self, model: ModelVersion) -> DataVersion | None:
        text = model.properties.get(TRAINING_DATA) or model.tags.get(TRAINING_DATA)
        if not text:
            return None
        try:
            ref = asset_ref(text) if text.startswith("/subscriptions/") else parse_asset(text, self.home)
        except ValueError as error:
            raise InvalidInput(f"the property {TRAINING_DATA} of {model.ref}: {error}") from None
        return self.registry.data(self.registry.pin("data", ref))

    def training_files(self, *, champion: bool = False) -> Sequence[tuple[str, bytes]]:
        found = self.training(champion=champion)
        if found is None:
            raise NotFound(f"the {'champion' if champion else 'candidate'} does not tell what it was trained on")
        self._refuse_much()
        return self.registry.read_data(found.ref, self.limit)


def asset_ref(asset_id: str) -> AssetRef:
    """An asset's id (a registry's URI, or a workspace's ARM id with or without `azureml:`) as a reference. Raises InvalidInput."""
    text = asset_id.removeprefix("azureml:") if asset_id.startswith("azureml:/subscriptions") else asset_id
    parts = text.split("/")
    if text.startswith("azureml://registries/") and len(parts) == 8:
        return AssetRef(registry=parts[3], name=parts[5], version=parts[7])
    folded = [part.casefold() for part in parts]
    if "workspaces" in folded and "versions" in folded:
        at, version = folded.index("workspaces"), folded.index("versions")
        if version + 1 < len(parts) and at + 1 < len(parts):
            return AssetRef(workspace=parts[at + 1], name=parts[version - 1], version=parts[version + 1])
    raise InvalidInput(f"{asset_id!r} is not a registered version: Pilotage reads what a registry or a workspace holds")
