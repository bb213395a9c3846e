"""What crosses the durable wire.

Orchestrations and activities exchange JSON dicts only (the Functions converter rejects classes);
these models are how each side writes and reads them: `Model(...).wire()` and `Model.model_validate(d)`.
Every message carries `schema` and changes by addition only: an orchestration that was started by an
older release must still read its input. Unknown fields are ignored, new fields have defaults.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from pilotage.domain.approval import Ballot, Tally, Vote
from pilotage.domain.assets import AssetRef, Submitter
from pilotage.domain.drift import DriftAlert
from pilotage.domain.passport import GENESIS
from pilotage.domain.plan import Plan
from pilotage.domain.policy import ApprovalRule, PromotionPolicy

SCHEMA = 1
VOTE_EVENT = "vote"
"""External event that wakes `approval`; its payload is {"id": ...} and carries no authority."""
ALERT_EVENT = "alert"
"""External event that tells `drift` of a further alert while it coalesces."""


ROLLBACK_EVENT = "rollback"
"""External event that ends a rollout's bake at once; the epoch, not the event, is what stops it."""


class Message(BaseModel):
    """The base of every message: immutable, tolerant of fields that a later release adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    schema_: int = Field(SCHEMA, alias="schema")

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def read(cls, value: dict[str, Any]) -> Self:
        return cls.model_validate(value)


class Trigger(Message):
    """What started a promotion."""

    kind: Literal["event", "manual", "retry"]
    id: str = ""
    """Event id or request id."""
    at: str
    actor: str | None = None
    """Object id of who asked by hand."""


class PromotionRequest(Message):
    """Input of `promotion`, and the text of its claim."""

    id: str
    attempt: int = 1
    source: AssetRef
    """The model as registered: in a workspace, or directly in the registry."""
    policy: dict[str, Any]
    policy_hash: str
    trigger: Trigger
    previous: str | None = None
    """The promotion of which this is a retry."""

    def parsed_policy(self) -> PromotionPolicy:
        return PromotionPolicy.from_wire(self.policy)


class Cursor(Message):
    """Where a passport ends: the next sequence number and the digest of the last entry."""

    sequence: int = 0
    previous: str = GENESIS


class StagingRequest(Message):
    """Input of `staging`."""

    promotion: PromotionRequest
    cursor: Cursor
    model: str
    """Asset id of the registry's model version."""
    environment: str | None
    data: dict[str, dict[str, Any]]
    """The policy's text of each data asset -> DataVersion (pinned)."""
    components: dict[str, dict[str, Any]] = {}
    """The policy's text of each component -> AssetRef (pinned)."""
    model_digest: dict[str, Any] = {}
    """ArtifactDigest of the model."""
    environment_definition: str = "unpinned"
    submitters: list[Submitter] = []
    tags: dict[str, str] = {}


class GateRequest(Message):
    """Input of `gate`, and of its activities: one gate of one candidate."""

    promotion: str
    """The promotion, or the trial by hand, for which it is measured."""
    name: str
    """What the result is called."""
    kind: str
    spec: dict[str, Any]
    """The gate's spec, as the policy has it."""
    home: str
    """Workspace in which short asset texts are resolved."""
    source: AssetRef
    """The model as registered, with its properties."""
    model: str
    """Asset id of the version that is deployed."""
    model_digest: dict[str, Any]
    """ArtifactDigest."""
    environment: str | None = None
    environment_definition: str = "unpinned"
    data: dict[str, dict[str, Any]] = {}
    """The policy's text of each data asset -> DataVersion."""
    components: dict[str, dict[str, Any]] = {}
    """The policy's text of each component -> AssetRef (pinned)."""
    target: dict[str, str]
    """{"workspace", "endpoint", "name"} of the candidate's deployment."""
    size: dict[str, Any] = {}
    """{"instance_type", "instances"} of it."""
    production: dict[str, str] = {}
    """{"workspace", "endpoint"} where the champion serves."""


class StagingResult(Message):
    """Output of `staging`: gate results in the policy's order."""

    cursor: Cursor
    outcome: str
    message: str
    results: list[dict[str, Any]] = []


class ApprovalRequest(Message):
    """Input of `approval`, and the record that the decision endpoint reads."""

    promotion: str
    stage: str = "production"
    round: int = 1
    """How often this promotion has asked for this stage: a plan that has changed is put before the voters anew."""
    plan: Plan
    plan_hash: str
    rule: dict[str, Any]
    submitters: list[Submitter]
    team: str | None = None
    policy: str = ""
    model: str = ""
    version: str = ""
    channels: list[str] = []
    """Where it is announced: names of channels, as the policy has them."""
    changed: list[str] = []
    """Why it is asked anew: how this plan differs from the one before it."""
    opened_at: str
    expires_at: str
    cursor: Cursor = Cursor()

    @property
    def ballot(self) -> Ballot:
        return Ballot(promotion=self.promotion, stage=self.stage, plan_hash=self.plan_hash, round=self.round, submitters=self.submitters,
                      rule=ApprovalRule.model_validate(self.rule), opened_at=self.opened_at, expires_at=self.expires_at)

    @property
    def step(self) -> str:
        """The last part of the instance id of the orchestration that waits for this decision."""
        return approval_step(self.stage, self.round)


def approval_step(stage: str, round: int) -> str:
    """The last part of the instance id of an approval."""
    return "approval" if (stage, round) == ("production", 1) else f"approval-{stage}-{round}"


def rollout_step(number: int) -> str:
    """The last part of the instance id of a promotion's n-th rollout: one that found production changed is begun anew."""
    return "rollout" if number == 1 else f"rollout-{number}"


class Closed(Message):
    """How an approval ended. Written once: whoever comes later is told this."""

    promotion: str
    stage: str
    round: int
    plan_hash: str
    outcome: Literal["approved", "rejected", "expired", "superseded"]
    tally: Tally
    votes: list[Vote] = []
    """Those that stood."""
    by: str = ""
    """The promotion that superseded this one."""
    at: str


class ApprovalResult(Message):
    """Output of `approval`."""

    cursor: Cursor
    outcome: str
    """`approved`, `rejected`, `expired` or `superseded`."""
    tally: Tally
    by: str = ""
    """The promotion that superseded this one."""


class RolloutRequest(Message):
    """Input of `rollout`."""

    promotion: PromotionRequest
    cursor: Cursor
    plan: Plan
    plan_hash: str
    data: dict[str, dict[str, Any]]
    row: PromotionRow
    glass_broken: bool = False
    """True when the plan was approved in an emergency: then no window holds it."""


class RolloutResult(Message):
    """Output of `rollout`. `outcome` is a PromotionPhase value; `planning` asks for another plan: production is not as expected."""

    cursor: Cursor
    outcome: str
    message: str


class RollbackRequest(Message):
    """Input of `rollback`. The epoch is raised before anything is read."""

    id: str
    promotion: str
    workspace: str
    endpoint: str
    reason: str
    actor: str | None = None
    """Object id of who asked; None when the rollout's own check asked."""
    at: str
    writer_stopped: bool = False
    """True when no traffic change of the promotion can be on its way any more: its rollout itself asks, between two writes."""


class RollbackResult(Message):
    """Output of `rollback`."""

    restored: bool
    traffic: dict[str, int] = {}
    message: str


class DriftRequest(Message):
    """Input of `drift`: one incident, opened by its first alert."""

    id: str
    policy: dict[str, Any]
    policy_hash: str
    alert: DriftAlert
    opened_at: str
    endpoint_key: str

    def parsed_policy(self) -> PromotionPolicy:
        return PromotionPolicy.from_wire(self.policy)


class RetrainingRequest(Message):
    """Input of `retraining`."""

    incident: str
    policy: dict[str, Any]
    attempt: int = 1
    cursor: Cursor

    def parsed_policy(self) -> PromotionPolicy:
        return PromotionPolicy.from_wire(self.policy)


class RetrainingResult(Message):
    """Output of `retraining`."""

    cursor: Cursor
    outcome: Literal["completed", "failed"]
    job: str
    message: str


class SweepRequest(Message):
    """Input of `sweep`: what the timer found; every effect is checked again before it is made."""

    id: str
    at: str
    terminated: list[str] = []
    """Promotions whose instance ended without telling the ledger."""


class PhaseMark(Message):
    """Since when a promotion was in a phase."""

    phase: str
    at: str


class PromotionRow(Message):
    """A promotion as lists show it: the ledger's index of its passport."""

    id: str
    model: str
    version: str
    source: AssetRef
    policy: str
    team: str | None = None
    phase: str
    attempt: int = 1
    sequence: int = 0
    """Sequence of the passport entry that wrote this row: an older entry never overwrites a newer."""
    created_at: str
    updated_at: str
    workspace: str = ""
    """Production workspace."""
    endpoint: str = ""
    deployment: str = ""
    plan_hash: str = ""
    held_until: str = ""
    """When the window opens for which it waits; empty when it waits for none, or no opening is foreseen."""
    rollouts: int = 1
    """How many rollouts it has begun: all but the last found another production than their plan expected."""
    message: str = ""
    previous: str | None = None
    case: str | None = None
    """The drift incident whose retraining made this version."""
    trigger: str = ""
    submitters: list[Submitter] = []
    phases: list[PhaseMark] = []
    """The way it took, for lists; the ledger keeps it, whoever writes the row need not know it."""


class PromotionPage(Message):
    """Some promotions, newest first."""

    rows: list[PromotionRow]
    next: str
    """Where the page of older ones begins; empty when there are none."""


class EndpointRow(Message):
    """Who owns a production endpoint, at which epoch, and what lives there."""

    workspace: str
    endpoint: str
    owner: str | None = None
    epoch: int = 0
    rollback: str | None = None
    """The rollback that raised the epoch last."""
    live: LiveModel | None = None
    retained: list[Retained] = []
    displaced: list[str] = []
    """Owners and rollbacks whose epoch a rollback ended, and the promotions rolled back: they never act on this endpoint again."""
    displaced_owner: str | None = None
    """The owner from whom the last rollback took the endpoint."""
    released: list[int] = []
    """Epochs whose owners gave the endpoint up by themselves: a repeated release is told so."""


class LiveModel(Message):
    """What serves an endpoint since its last rollout."""

    promotion: str
    model: str
    version: str
    deployment: str


class Retained(Message):
    """A deployment without traffic that is kept for a while."""

    deployment: str
    until: str


class IncidentRow(Message):
    """The drift incidents of one policy's endpoint: at most one is open."""

    number: int = 0
    open: str | None = None
    alerts: list[str] = []
    """Hashes of the alerts of the newest incident."""
    runs: list[dict[str, str]] = []
    """PastRun of every retraining within the budget's memory."""


EndpointRow.model_rebuild()
RolloutRequest.model_rebuild()
