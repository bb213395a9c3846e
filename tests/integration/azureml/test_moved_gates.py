"""Gates whose data is over the limit, as the activities run them: through the unmodified azure-ai-ml, and really run as jobs."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pilotage.azureml import OnlineDeployments, PipelineJobs, WorkspaceModelRegistry
from pilotage.clock import SystemClock
from pilotage.domain.assets import AssetRef
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, OperationFailed
from pilotage.gates.interface import JobOutcome
from pilotage.gates.measuring import Measurement
from pilotage.gates.moving import JobRules, Moved
from pilotage.messages import GateRequest
from pilotage.ports import DeploymentSpec
from tests.support.light_model import Line, write
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")

W = "mlw-dev"
COLUMNS = {"size": "double"}
HOLDOUT = "azureml:moved-holdout:1"
GATES: dict[str, dict[str, Any]] = {
    "metric": {"metric": "mae", "holdout": HOLDOUT, "target": "minutes", "max": 2},
    "champion": {"metric": "mae", "holdout": HOLDOUT, "target": "minutes", "resamples": 200},
    "responsible_ai": {"metric": "mae", "holdout": HOLDOUT, "target": "minutes", "sensitive": ["region"], "max_ratio": 1.5,
                       "resamples": 200},
    "data_quality": {"data_asset": HOLDOUT, "min_rows": 10},
}


@dataclass(frozen=True)
class Ground:
    """A candidate's deployment on an endpoint; a holdout; an environment."""

    registry: WorkspaceModelRegistry
    deployments: OnlineDeployments
    jobs: PipelineJobs
    endpoint: str
    candidate: AssetRef
    environment: str

    def measurement(self, kind: str, rules: JobRules) -> Measurement:
        holdout = self.registry.data(AssetRef(name="moved-holdout", version="1", workspace=W))
        return Measurement.of(GateRequest(
            promotion=f"try-{uuid4().hex[:8]}", name=kind, kind=kind, spec=GATES[kind], home=W, source=self.candidate,
            model=self.registry.model(self.candidate).id, model_digest=self.registry.model_digest(self.candidate).model_dump(),
            environment=self.environment, data={HOLDOUT: holdout.model_dump(mode="json")},
            target={"workspace": W, "endpoint": self.endpoint, "name": "candidate"},
            production={"workspace": W, "endpoint": self.endpoint}), self.registry, self.deployments, SystemClock(), rules)

    def with_deployment(self, ada: MLClient, name: str, version: str, line: Line, folder: Path) -> Ground:
        """The same, once a model is registered and stands."""
        from azure.ai.ml.entities import Model

        made = ada.models.create_or_update(Model(
            name=self.candidate.name, version=version, type="mlflow_model", path=str(write(folder / name, line, COLUMNS))))
        self.deployments.begin_create_deployment(DeploymentSpec(
            workspace=W, endpoint=self.endpoint, name=name, model=str(made.id), environment=self.environment,
            instance_type="Standard_DS3_v2"))
        wait_for(name, lambda: True if (
            at := self.deployments.deployment(W, self.endpoint, name)) and at.provisioning_state == "Succeeded" else None)
        return self

    def run(self, kind: str, rules: JobRules) -> tuple[Measurement, JobOutcome]:
        """Begun, submitted twice as a repeated activity does, and waited for."""
        measurement = self.measurement(kind, rules)
        moved = measurement.begin()
        assert isinstance(moved, Moved)
        measurement.submit(self.jobs, moved)
        measurement.submit(self.jobs, moved)
        wait_for(f"the end of {measurement.job}",
                 lambda: True if (state := self.jobs.state(W, measurement.job)) and state.terminal else None)
        return measurement, measurement.outcome(self.jobs)


@pytest.fixture(scope="module")
def ground(ada: MLClient, registry: WorkspaceModelRegistry, deployments: OnlineDeployments, jobs: PipelineJobs,
           tmp_path_factory: pytest.TempPathFactory) -> Ground:
    from azure.ai.ml.entities import Data, Environment

    folder = tmp_path_factory.mktemp("moved")
    draw = random.Random(7)
    rows = [f"{size:.3f},{draw.choice('ab')},{2 * size + draw.gauss(0, 1):.3f}" for size in (draw.uniform(1, 9) for _ in range(600))]
    (folder / "holdout.csv").write_text("\n".join(["size,region,minutes", *rows]))
    ada.environments.create_or_update(Environment(name="moved-env", version="1", image="mcr.microsoft.com/azureml/minimal"))
    ada.data.create_or_update(Data(name="moved-holdout", version="1", type="uri_file", path=str(folder / "holdout.csv")))
    environment = registry.environment(AssetRef(name="moved-env", version="1", workspace=W)).id
    name, endpoint = f"moved-{uuid4().hex[:8]}", f"moved-{uuid4().hex[:12]}"
    deployments.begin_create_endpoint(W, endpoint, {})
    wait_for(endpoint, lambda: True if (at := deployments.endpoint(W, endpoint)) and at.provisioning_state == "Succeeded" else None)
    ground = Ground(registry, deployments, jobs, endpoint, AssetRef(name=name, version="2", workspace=W), environment)
    return ground.with_deployment(ada, "candidate", "2", Line(slope=2, intercept=0, column="size"), folder)


@pytest.fixture(scope="module")
def champion(ground: Ground, ada: MLClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A worse version that serves."""
    ground.with_deployment(ada, "champion", "1", Line(slope=2.5, intercept=0, column="size"), tmp_path_factory.mktemp("worse"))
    ground.deployments.begin_set_traffic(W, ground.endpoint, {"champion": 100})
    wait_for("traffic", lambda: True if (
        at := ground.deployments.endpoint(W, ground.endpoint)) and at.traffic.get("champion") == 100 else None)


ONE_BYTE = JobRules(limit=1, environment="azureml:moved-env@latest")


@pytest.mark.parametrize("kind", [
    "metric", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in ("champion", "responsible_ai", "data_quality"))])
def test_a_job_finds_what_the_function_would_have_found(
    ground: Ground, azure: LivePlatform, request: pytest.FixtureRequest, kind: str
) -> None:
    if kind == "champion":
        request.getfixturevalue("champion")
    measurement, outcome = ground.run(kind, ONE_BYTE)
    assert outcome.status == "Completed", outcome.message
    assert len(azure.journal(f"/jobs/{measurement.job}$", "PUT")) == 1
    found = measurement.finish(outcome)
    here = ground.measurement(kind, JobRules()).begin()
    assert isinstance(here, GateResult)
    ran = found.evidence["ran_as_job"]
    assert (ran["job"], ran["limit_bytes"], ran["environment"]) == (measurement.job, 1, ground.environment)
    assert ran["data_bytes"] > 600
    assert all(asked["different"] == 0 and asked["rows"] == 600 for asked in ran["asked_again"].values())
    assert sorted(ran["asked_again"]) == {"champion": ["candidate", "champion"], "data_quality": []}.get(kind, ["candidate"])
    assert here.outcome is GateOutcome.PASSED
    assert found.model_copy(update={"evidence": {k: v for k, v in found.evidence.items() if k != "ran_as_job"}}) == here


def test_a_step_that_fails_is_told_with_its_reason_and_link(ground: Ground) -> None:
    measurement = ground.measurement("data_quality", ONE_BYTE)
    moved = measurement.begin()
    assert isinstance(moved, Moved)
    measurement.submit(ground.jobs, replace(moved, record=moved.record.model_copy(update={"kind": "unheard_of"})))
    wait_for("its end", lambda: True if (state := ground.jobs.state(W, measurement.job)) and state.terminal else None)
    with pytest.raises(OperationFailed, match=r"wrote no verdict: .*there is no gate 'unheard_of'.*\(https://\S+\)"):
        measurement.finish(measurement.outcome(ground.jobs))


def test_an_environment_that_is_not_there_is_told_by_its_setting(ground: Ground) -> None:
    with pytest.raises(InvalidInput, match=r"PILOTAGE_GATES_ENVIRONMENT is azureml:no-such-env@latest: .*large-data\.md"):
        ground.measurement("metric", replace(ONE_BYTE, environment="azureml:no-such-env@latest")).begin()
