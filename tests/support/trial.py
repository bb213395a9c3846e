"""A Trial whose deployments are plain functions: rows in, predictions out, as a scoring server would answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pilotage.domain.assets import ArtifactDigest, AssetRef, BlobDigest, DataVersion, ModelVersion
from pilotage.domain.canonical import digest
from pilotage.errors import NotFound, TooLarge
from pilotage.gates.interface import ArtifactFile, Champion
from pilotage.ports import Answer, ScoringAddress

Row = dict[str, Any]
Model = Callable[[list[Row]], Any]
"""Rows (column -> value) to what the server answers with 200; raise `Refused` for another status."""


class Refused(Exception):
    """The server's answer is not 200."""

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(body)
        self.status, self.body = status, body


def data_version(name: str, files: Sequence[tuple[str, bytes]] = ()) -> DataVersion:
    ref = AssetRef(name=name, version="1", workspace="mlw-dev")
    blobs = [BlobDigest(path=path, size=len(content), sha256=digest(content.hex()).removeprefix("sha256:")) for path, content in files]
    return DataVersion(ref=ref, id=f"azureml:{name}:1", uri=f"azureml://datastores/d/paths/{name}", digest=ArtifactDigest.of(blobs))


@dataclass
class FakeTrial:
    """`assets`: text as in the spec -> files. `artifact_files`: the model's. `limit`: bytes a function reads."""

    candidate: Model = lambda rows: [0.0] * len(rows)
    champion_model: Model | None = None
    assets: Mapping[str, Sequence[tuple[str, bytes]]] = field(default_factory=dict)
    artifact_files: Mapping[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    trained_on: Sequence[tuple[str, bytes]] | None = None
    champion_trained_on: Sequence[tuple[str, bytes]] | None = None
    environment: str | None = None
    seed: int = 20130101
    limit: int = 32 * 1024 * 1024
    moment: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    scoring: ScoringAddress | None = None
    asked: list[tuple[bytes, bool]] = field(default_factory=list)

    @property
    def model(self) -> ModelVersion:
        return ModelVersion(ref=AssetRef(name="air-time", version="2", registry="shared-registry"), type="mlflow_model",
                            id="azureml://registries/shared-registry/models/air-time/versions/2", path="azureml://model",
                            tags=self.tags, properties=self.properties)

    @property
    def model_digest(self) -> ArtifactDigest:
        return ArtifactDigest.of([BlobDigest(path=path, size=len(content), sha256=digest(content.hex()))
                                  for path, content in self.artifact_files.items()])

    def now(self) -> datetime:
        return self.moment

    def score(self, body: bytes, *, champion: bool = False) -> Answer:
        self.asked.append((body, champion))
        model = self.champion_model if champion else self.candidate
        assert model is not None
        given = json.loads(body)["input_data"]
        if isinstance(given, dict) and "data" in given:
            rows = [dict(zip(given.get("columns", range(len(row))), row, strict=False)) for row in given["data"]]
        else:
            rows = [{"value": row} for row in given]
        try:
            return Answer(status=200, body=json.dumps(model(rows)), seconds=0.01)
        except Refused as refused:
            return Answer(status=refused.status, body=refused.body, seconds=0.01)

    def address(self) -> ScoringAddress:
        if self.scoring is None:
            raise NotFound("this trial has no server")
        return self.scoring

    def data(self, text: str) -> DataVersion:
        return data_version(text.removeprefix("azureml:").split("@")[0].split(":")[0], self.assets[text])

    def files(self, text: str) -> Sequence[tuple[str, bytes]]:
        return self._within(self.assets[text], text)

    def artifact(self) -> Sequence[ArtifactFile]:
        return [ArtifactFile(path=path, size=len(content)) for path, content in sorted(self.artifact_files.items())]

    def read_artifact(self, path: str, limit: int) -> bytes:
        if path not in self.artifact_files:
            raise NotFound(f"the model has no file {path}")
        if len(self.artifact_files[path]) > limit:
            raise TooLarge(f"{path} holds {len(self.artifact_files[path])} bytes; the limit is {limit}")
        return self.artifact_files[path]

    def champion(self) -> Champion | None:
        if self.champion_model is None:
            return None
        model = self.model.model_copy(update={"ref": self.model.ref.model_copy(update={"version": "1"})})
        return Champion(model=model, model_digest="sha256:" + "c" * 64, workspace="mlw-prod", endpoint="air-time", deployment="v1-aaaaaaaa",
                        traffic=100)

    def training(self, *, champion: bool = False) -> DataVersion | None:
        files = self.champion_trained_on if champion else self.trained_on
        return None if files is None else data_version("champion-training" if champion else "training", files)

    def training_files(self, *, champion: bool = False) -> Sequence[tuple[str, bytes]]:
        files = self.champion_trained_on if champion else self.trained_on
        if files is None:
            raise NotFound("the model does not tell what it was trained on")
        return self._within(files, "training data")

    def _within(self, files: Sequence[tuple[str, bytes]], what: str) -> Sequence[tuple[str, bytes]]:
        size = sum(len(content) for _, content in files)
        if size > self.limit:
            raise TooLarge(f"{what} holds {size} bytes; the limit is {self.limit}")
        return files
