"""A whole app on in-memory doubles, for tests of intake and of the routes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, cast

from pilotage.bootstrap import App, NoDirectory
from pilotage.domain.access import Actor
from pilotage.domain.approval import Vote
from pilotage.domain.assets import AssetRef, Submitter
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.plan import Plan, PriorState
from pilotage.domain.policy import PromotionPolicy
from pilotage.intake import Intake
from pilotage.ledger import Ledger
from pilotage.messages import ApprovalRequest, PromotionRow
from pilotage.ports import Groups, LinkClaims, Records, Rows
from pilotage.settings import Settings
from tests.support.memory import (
    SIGNER,
    FixedClock,
    MemoryOrchestrator,
    MemoryPolicies,
    MemoryRecords,
    MemoryRows,
    MemoryTickets,
    RecordingNotifier,
    StaticIdentity,
)

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "rg-pilotage"
TOPIC = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.MachineLearningServices/workspaces"
DEV, PROD = f"{TOPIC}/mlw-dev", f"{TOPIC}/mlw-prod"

SETTINGS = Settings.model_validate({
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_RESOURCE_GROUP": GROUP,
    "PILOTAGE_LEDGER_BLOB_URL": "https://ledger.blob.core.windows.net", "PILOTAGE_LEDGER_TABLE_URL": "https://ledger.table.core.windows.net",
    "PILOTAGE_AUTH_ISSUER": "https://issuer.example/v2.0", "PILOTAGE_LINK_KEY": "k" * 32, "PILOTAGE_SIGNING_KEY": "/nowhere/key.pem",
    "PILOTAGE_BASE_URL": "https://pilotage.example",
})

_POLICY: dict[str, Any] = {
    "apiVersion": "pilotage/v1", "name": "air-time", "scenario": "tabular", "registry": "shared-registry",
    "match": {"workspace": "mlw-dev", "model": "air-time", "tags": {"candidate": "true"}},
    "environment": "azureml:air-time-env@latest",
    "stages": [
        {"name": "staging", "workspace": "mlw-staging", "target": {"endpoint": "air-time-stg"},
         "gates": [{"smoke": {"samples": "azureml:air-time-requests@latest"}}]},
        {"name": "production", "workspace": "mlw-prod", "target": {"endpoint": "air-time"},
         "approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D"}},
    ],
    "on_drift": {"action": "retrain", "job": "azureml:train-air-time@latest"},
}


def policy(name: str = "air-time", *, endpoint: str | None = None, **changes: Any) -> PromotionPolicy:
    """The demo's policy under another name and endpoint, with top-level keys changed (None removes one)."""
    text = copy.deepcopy(_POLICY)
    text["name"] = name
    text["match"]["model"] = name
    text["stages"][1]["target"]["endpoint"] = endpoint or name
    text["stages"][0]["target"]["endpoint"] = f"{endpoint or name}-stg"
    text |= changes
    return PromotionPolicy.model_validate({key: value for key, value in text.items() if value is not None})


@dataclass
class Desk:
    """Stores, doubles and the intake over them."""

    policies: MemoryPolicies = field(default_factory=lambda: MemoryPolicies([policy()]))
    records: MemoryRecords = field(default_factory=MemoryRecords)
    rows: MemoryRows = field(default_factory=MemoryRows)
    clock: FixedClock = field(default_factory=FixedClock)
    orchestrator: MemoryOrchestrator = field(default_factory=MemoryOrchestrator)
    identity: StaticIdentity = field(default_factory=StaticIdentity)
    directory: Groups = field(default_factory=NoDirectory)

    def __post_init__(self) -> None:
        self.tickets = MemoryTickets(self.clock)
        self.ledger = Ledger(self.records, self.rows, self.clock, signer=SIGNER)

    def intake(self, records: Records | None = None, rows: Rows | None = None) -> Intake:
        """An intake as a process has it; over other views of the same stores when given."""
        ledger = Ledger(records or self.records, rows or self.rows, self.clock, signer=SIGNER)
        return Intake(self.policies, ledger, self.clock, self.orchestrator, lambda name: SETTINGS.workspace(name).arm_id)

    def app(self) -> App:
        """The app of the routes. What reaches Azure ML is absent: a route that touches it fails."""
        absent = cast(Any, None)
        return App(settings=SETTINGS, clock=self.clock, policies=self.policies, ledger=self.ledger, notifier=RecordingNotifier(),
                   identity=self.identity, tickets=self.tickets, registry=absent, deployments=absent, jobs=absent, groups=self.directory)

    def actor(self, token: str, *roles: str, groups: tuple[str, ...] = ()) -> str:
        """Somebody with these app roles (short names); returns the header that they send."""
        self.identity.actors[token] = Actor(object_id=f"oid-{token}", name=token, groups=list(groups),
                                            roles=[f"Pilotage.{role}" for role in roles])
        return f"Bearer {token}"

    def promotion(
        self, phase: PromotionPhase, *, id: str = "promote-air-time-1-abc-1", team: str | None = None, **changes: Any
    ) -> PromotionRow:
        """A promotion as the ledger's index shows it."""
        row = PromotionRow(
            id=id, model="air-time", version="1", source=AssetRef(name="air-time", version="1", workspace="mlw-dev"), policy="air-time",
            team=team, phase=phase.value, sequence=5, created_at="2026-01-05T08:00:00.000+00:00",
            updated_at="2026-01-05T08:30:00.000+00:00", workspace="mlw-prod", endpoint="air-time")
        row = row.model_copy(update=changes)
        self.ledger.promotions.put(row)
        return row

    def open_approval(self, row: PromotionRow, *, approvers: tuple[str, ...] = ("group:ml-leads",), quorum: int = 1, round: int = 1,
                      submitters: tuple[Submitter, ...] = (), steps: int = 100, **rules: Any) -> tuple[ApprovalRequest, str]:
        """An open request, and the token of the link that was sent for it."""
        rule = {"quorum": quorum, "approvers": list(approvers), "expires": "P3D", **rules}
        plan = Plan(
            promotion=row.id, model="azureml://registries/shared-registry/models/air-time/versions/1", model_digest="sha256:00",
            environment=None, environment_definition="unpinned", workspace=row.workspace, endpoint=row.endpoint, deployment="v1-00",
            instance_type="Standard_DS3_v2", instances=1, steps=[{"traffic": steps, "for": "PT0S"}], keep_previous="P1D",
            approval=rule, policy="air-time", policy_hash="sha256:01", evidence=[], prior=PriorState(exists=False))
        request = ApprovalRequest(
            promotion=row.id, round=round, policy="air-time", model=row.model, version=row.version, plan=plan,
            plan_hash=plan.hash, rule=rule, submitters=list(submitters), team=row.team,
            opened_at=f"2026-01-05T08:0{round}:00.000+00:00", expires_at="2026-01-08T08:00:00.000+00:00")
        self.ledger.approvals.open(request)
        token = self.tickets.issue(
            LinkClaims(promotion=row.id, stage="production", plan_hash=plan.hash, round=round), self.clock.now().replace(day=8))
        return request, token

    def votes(self, request: ApprovalRequest) -> list[Vote]:
        return self.ledger.approvals.votes(request)


def registered(
    version: Any = 1, *, model: str = "air-time", topic: str = DEV, id: str = "e-1", cloud: bool = False, **data: Any
) -> dict[str, Any]:
    """A ModelRegistered event in Event Grid's schema or as a CloudEvent."""
    body = {"modelName": model, "modelVersion": version, "modelTags": {"candidate": "true"}, "modelProperties": {}, **data}
    kind, time = "Microsoft.MachineLearningServices.ModelRegistered", "2026-01-05T09:00:00.1234567Z"
    common = {"id": id, "subject": f"models/{model}:{version}", "data": body}
    if cloud:
        return common | {"specversion": "1.0", "source": topic, "type": kind, "time": time}
    return common | {"topic": topic, "eventType": kind, "eventTime": time, "dataVersion": "", "metadataVersion": "1"}
