"""The trial inside a gate's own job: data are mounted files, predictions are what the models said in jobs of their own.

`TrialRecord` is what only the function can know; it travels with the job as one JSON file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pilotage.domain.assets import ArtifactDigest, DataVersion, Frozen, ModelVersion
from pilotage.errors import NotFound, OperationFailed, TooLarge
from pilotage.gates.interface import Champion, Trial
from pilotage.gates.signature import FILE_LIMIT
from pilotage.ports import Answer, ArtifactFile, ScoringAddress

REQUESTS = "requests.jsonl"
CANDIDATE, CHAMPION = "candidate", "champion"


class Trained(Frozen):
    """The data a model was trained on; or why it can't be told."""

    data: DataVersion | None = None
    missing: str = ""


class TrialRecord(Frozen):
    """A gate and its trial, but for the data and the predictions."""

    kind: str
    spec: dict[str, Any]
    model: ModelVersion
    model_digest: ArtifactDigest
    environment: str | None
    seed: int
    moment: datetime
    data: dict[str, DataVersion]
    """Text as in the spec -> the asset."""
    roles: dict[str, str]
    """Role -> text."""
    champion: Champion | None
    trained: dict[str, Trained]
    """`candidate` and, where one serves, `champion`."""
    signatures: dict[str, str]
    """Path -> text of the model's MLmodel files: more than these no gate in a job reads of the model."""
    about: dict[str, Any] = {}
    """Why and in what the job runs, for the evidence."""

    @classmethod
    def of(cls, trial: Trial, kind: str, spec: dict[str, Any], roles: Mapping[str, str], compares: bool,
           about: dict[str, Any]) -> TrialRecord:
        """Asks the trial for everything. Raises what it raises; TooLarge for an MLmodel file that no gate would read."""
        champion = trial.champion() if compares else None
        paths = [file.path for file in trial.artifact() if file.path.split("/")[-1] == "MLmodel" and file.path.count("/") <= 1]
        return cls(
            kind=kind, spec=spec, model=trial.model, model_digest=trial.model_digest, environment=trial.environment, seed=trial.seed,
            moment=trial.now(), data={text: trial.data(text) for text in roles.values()}, roles=dict(roles), champion=champion,
            trained={who: _trained(trial, who) for who in (CANDIDATE, CHAMPION)[:2 if champion else 1]} if compares else {},
            signatures={path: trial.read_artifact(path, FILE_LIMIT).decode("utf-8", "surrogateescape") for path in paths}, about=about)


def _trained(trial: Trial, who: str) -> Trained:
    try:
        return Trained(data=trial.training(champion=who == CHAMPION))
    except NotFound as error:
        return Trained(missing=str(error))


class Predicted:
    """What a model said to the requests that the gate had announced."""

    def __init__(self, requests: Path, result: Path) -> None:
        """`requests` and `result` are the folders that `in_job ask` and `programs/offline` wrote. Raises OperationFailed."""
        self.requests = (requests / REQUESTS).read_bytes().splitlines()
        self._place = {hashlib.sha256(line).digest(): at for at, line in enumerate(self.requests)}
        failure, said = result / "failure.json", result / "predictions.jsonl"
        self._failure = json.loads(failure.read_text()) if failure.exists() else None
        self._said = said.read_text().splitlines() if said.exists() else []
        if self._failure is None and len(self._said) != len(self.requests):
            raise OperationFailed(f"{len(self._said)} of {len(self.requests)} requests were predicted")

    def answer(self, body: bytes) -> Answer:
        """As a managed endpoint would answer: 424 when the model itself failed."""
        at = self._place.get(hashlib.sha256(body).digest())
        if at is None:
            raise OperationFailed("the gate asks for predictions that it had not announced")
        if at < len(self._said):
            return Answer(status=200, body=json.dumps(self.said(at)), seconds=0)
        assert self._failure is not None
        return Answer(status=424, body=f"the model could not {self._failure['phase']}: {self._failure['error']}", seconds=0)

    def said(self, at: int, **parsing: Any) -> Any:
        return json.loads(self._said[at], **parsing)["predictions"]

    @property
    def answered(self) -> int:
        """How many requests have predictions: the first so many."""
        return len(self._said)


@dataclass
class FileTrial:
    """`Trial` over mounted files: `mounts` by role, `predicted` by whom."""

    told: TrialRecord
    mounts: Mapping[str, Path]
    predicted: Mapping[str, Predicted] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    """Whose predictions the gate looked at."""

    @property
    def model(self) -> ModelVersion:
        return self.told.model

    @property
    def model_digest(self) -> ArtifactDigest:
        return self.told.model_digest

    @property
    def environment(self) -> str | None:
        return self.told.environment

    @property
    def seed(self) -> int:
        return self.told.seed

    def now(self) -> datetime:
        return self.told.moment

    def score(self, body: bytes, *, champion: bool = False) -> Answer:
        who = CHAMPION if champion else CANDIDATE
        self.used.add(who)
        return self.predicted[who].answer(body)

    def address(self) -> ScoringAddress:
        raise NotFound("a gate in a job reaches no deployment")

    def data(self, text: str) -> DataVersion:
        return self.told.data[text]

    def files(self, text: str) -> Sequence[tuple[str, bytes]]:
        return _files(self.mounts[next(role for role, named in self.told.roles.items() if named == text)])

    def artifact(self) -> Sequence[ArtifactFile]:
        return [ArtifactFile(path=path, size=len(self._signature(path))) for path in sorted(self.told.signatures)]

    def read_artifact(self, path: str, limit: int) -> bytes:
        if path not in self.told.signatures:
            raise NotFound(f"a gate in a job does not read {path} of the model")
        content = self._signature(path)
        if len(content) > limit:
            raise TooLarge(f"{path} holds {len(content)} bytes; the limit is {limit}")
        return content

    def _signature(self, path: str) -> bytes:
        return self.told.signatures[path].encode("utf-8", "surrogateescape")

    def champion(self) -> Champion | None:
        return self.told.champion

    def training(self, *, champion: bool = False) -> DataVersion | None:
        told = self.told.trained.get(CHAMPION if champion else CANDIDATE, Trained())
        if told.missing:
            raise NotFound(told.missing)
        return told.data

    def training_files(self, *, champion: bool = False) -> Sequence[tuple[str, bytes]]:
        who = CHAMPION if champion else CANDIDATE
        if self.training(champion=champion) is None:
            raise NotFound(f"the {who} does not tell what it was trained on")
        return _files(self.mounts[f"{who}_training"])


def _files(at: Path) -> list[tuple[str, bytes]]:
    """(path, content) of a mounted file or folder, as the registry's adapter reads them."""
    if at.is_file():
        return [(at.name, at.read_bytes())]
    return sorted((file.relative_to(at).as_posix(), file.read_bytes()) for file in at.rglob("*") if file.is_file())
