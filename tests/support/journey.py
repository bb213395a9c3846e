"""One model line's way through the whole platform, by its public doors: the SDK, HTTP, Event Grid.

Each test has a line of its own (model, policy, endpoints), so tests share a platform without meeting.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.support.light_model import AIR_TIME_COLUMNS, WINTER, Line, write
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ENDED = {"succeeded", "failed", "inconclusive", "errored", "rejected", "expired", "held", "skipped", "rolled_back", "terminated"}
ROWS = 40


def policy(line: str, **changes: Any) -> dict[str, Any]:
    """A policy for one line: quick, with everything that a policy of this release can ask for."""
    return {
        "apiVersion": "pilotage/v1", "name": line, "match": {"workspace": "mlw-dev", "model": line, "tags": {"candidate": "true"}},
        "scenario": "tabular", "registry": "shared-registry", "environment": "azureml:journey-env@latest",
        "stages": [
            {"name": "staging", "workspace": "mlw-staging", "target": {"kind": "online", "endpoint": f"{line}-stg"},
             "gates": [{"smoke": {"samples": "azureml:journey-requests@latest"}},
                       {"metric": {"metric": "mae", "holdout": "azureml:journey-holdout@latest", "target": "air_time", "max": 5,
                                   "min_rows": 20}}]},
            {"name": "production", "workspace": "mlw-prod", "target": {"kind": "online", "endpoint": line},
             "approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D"},
             "rollout": {"steps": [{"traffic": 50, "for": "PT10M"}, {"traffic": 100}], "keep_previous": "PT24H",
                         "check": {"samples": "azureml:journey-requests@latest"}}},
        ],
        **changes,
    }


def write_policies(folder: Path, lines: Sequence[str]) -> Path:
    """A policy folder with one policy a line, and the guardrails of the repository's own."""
    folder.mkdir(parents=True, exist_ok=True)
    guardrails = Path(__file__).parents[2] / "policies" / "guardrails.yaml"
    (folder / "guardrails.yaml").write_text(guardrails.read_text())
    for line in lines:
        (folder / f"{line}.yaml").write_text(yaml.safe_dump(policy(line), sort_keys=False))
    return folder


def prepare(platform: LivePlatform, folder: Path) -> None:
    """Register what every line's policy names: environment, holdout, sample requests. This process must already be Ada's."""
    from azure.ai.ml.entities import Data, Environment

    generator = random.Random(7)
    rows = [["UA", "JFK", "LAX", float(generator.randint(200, 2500)), generator.randint(6, 22)] for _ in range(ROWS)]
    columns = list(AIR_TIME_COLUMNS)
    folder.mkdir(parents=True, exist_ok=True)
    holdout = folder / "holdout.csv"
    holdout.write_text("\n".join([",".join([*columns, "air_time"]),
                                  *(",".join(map(str, [*row, WINTER.intercept + WINTER.slope * row[3]])) for row in rows)]))
    requests = folder / "requests.jsonl"
    requests.write_text("\n".join(
        json.dumps({"input_data": {"columns": columns, "index": [0, 1], "data": rows[n:n + 2]}}) for n in (0, 2, 4)))
    ml = client(platform, "DEV")
    ml.environments.create_or_update(Environment(name="journey-env", version="1", image="mcr.microsoft.com/azureml/minimal"))
    ml.data.create_or_update(Data(name="journey-holdout", version="1", type="uri_file", path=str(holdout)))
    ml.data.create_or_update(Data(name="journey-requests", version="1", type="uri_file", path=str(requests)))


def client(platform: LivePlatform, stage: str) -> MLClient:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), platform.env["AZURE_SUBSCRIPTION_ID"], platform.env["AZURE_RESOURCE_GROUP"],
                    platform.env[f"AZUREML_WORKSPACE_{stage}"])


class Journey:
    """Acts for one line on one platform. It survives a restart of the platform: addresses are read anew."""

    def __init__(self, platform: LivePlatform, line: str, folder: Path) -> None:
        self.platform, self.line, self._folder = platform, line, folder

    # --- the data scientist ---------------------------------------------------------------------------------

    def register(self, version: str, model: Line = WINTER, tags: dict[str, str] | None = None) -> None:
        from azure.ai.ml.entities import Model

        client(self.platform, "DEV").models.create_or_update(Model(
            name=self.line, version=version, type="mlflow_model", path=str(write(self._folder / f"{self.line}-{version}", model)),
            tags={"candidate": "true"} if tags is None else tags))

    def traffic(self) -> dict[str, int]:
        found = client(self.platform, "PROD").online_endpoints.get(self.line)
        return {name: share for name, share in found.traffic.items() if share}

    def deployments(self, stage: str) -> list[str]:
        endpoint = f"{self.line}-stg" if stage == "STAGING" else self.line
        return sorted(item.name for item in client(self.platform, stage).online_deployments.list(endpoint))

    def score(self, distance: float) -> tuple[int, Any]:
        """Ask the live endpoint about one flight."""
        online = client(self.platform, "PROD").online_endpoints
        found, keys = online.get(self.line), online.get_keys(self.line)
        with httpx.Client(verify=self.platform.env["SSL_CERT_FILE"], trust_env=False, timeout=60) as http:
            answer = http.post(found.scoring_uri, headers={"Authorization": f"Bearer {keys.primary_key}"}, json={
                "input_data": {"columns": list(AIR_TIME_COLUMNS), "index": [0], "data": [["UA", "JFK", "LAX", distance, 9]]}})
        return answer.status_code, answer.json() if answer.status_code == 200 else answer.text

    # --- the operator ---------------------------------------------------------------------------------------

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        with httpx.Client(base_url=self.platform.env["FUNCTIONS_URL"], timeout=60, trust_env=False) as http:
            bearer = token if token is not None else self.platform.env["PILOTAGE_TOKEN"]
            return http.request(method, path, headers={"Authorization": f"Bearer {bearer}"} if bearer else {}, **options)

    def promotions(self) -> list[dict[str, Any]]:
        answer = self.call("GET", "/api/promotions", params={"model": self.line})
        answer.raise_for_status()
        return list(answer.json()["items"])

    def get(self, promotion: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/promotions/{promotion}")
        answer.raise_for_status()
        return dict(answer.json())

    def started(self, version: str) -> str:
        return wait_for(f"a promotion of {self.line}:{version}",
                        lambda: next((p["id"] for p in self.promotions() if p["version"] == version), None))

    def reach(self, promotion: str, *phases: str) -> dict[str, Any]:
        """Wait for one of the phases; an end that is none of them fails at once, and says why."""

        def look() -> dict[str, Any] | None:
            found = self.get(promotion)
            if found["phase"] in phases:
                return found
            assert found["phase"] not in ENDED, f"{promotion} ended {found['phase']}: {found['message']}"
            return None

        return wait_for(f"{promotion} in {phases}", look)

    def step(self, promotion: str, name: str, kind: str = "outcome") -> dict[str, Any]:
        """Wait for a passport entry; returns its data."""
        return wait_for(f"{kind} {name} of {promotion}", lambda: next(
            (s["data"] for s in self.get(promotion)["steps"] if s["step"] == name and s["kind"] == kind), None))

    # --- the approver ---------------------------------------------------------------------------------------

    def announcement(self, promotion: str) -> dict[str, Any]:
        return wait_for("the announcement", lambda: next(
            (m for m in self.platform.mailbox("machines") if m["promotion"] == promotion and m["kind"] == "awaiting_approval"), None))

    def decide(self, announcement: dict[str, Any], username: str, decision: str = "approve",
               reason: str = "as the gates say") -> httpx.Response:
        return httpx.post(announcement["decision_url"], timeout=60, trust_env=False,
                          headers={"Authorization": f"Bearer {self.platform.user_token(username)}"},
                          json={"decision": decision, "reason": reason, "token": announcement["link_token"]})

    def approve(self, promotion: str, username: str = "grace") -> None:
        self.reach(promotion, "awaiting_approval")
        answer = self.decide(self.announcement(promotion), username)
        assert answer.status_code in (200, 202), answer.text

    def bake(self, promotion: str, until: Sequence[str] = ("succeeded",)) -> dict[str, Any]:
        """Let virtual time pass until the rollout's steps have baked."""

        def look() -> dict[str, Any] | None:
            found = self.get(promotion)
            if found["phase"] in ENDED:
                return found
            if found["steps"][-1]["step"] == "rollout.traffic" and found["steps"][-1]["kind"] == "outcome":
                self.platform.advance("PT10M")
            return None

        found = wait_for(f"{promotion} in {until}", look)
        assert found["phase"] in until, f"{promotion} ended {found['phase']}: {found['message']}"
        return found

    def promote(self, version: str, model: Line = WINTER) -> str:
        """The straight way: registered, approved, live."""
        self.register(version, model)
        promotion = self.started(version)
        self.approve(promotion)
        self.bake(promotion)
        return promotion
