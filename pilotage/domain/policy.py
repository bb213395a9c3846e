"""Promotion policies: which models, through which stages, by which gates, with whose approval.

A policy is a team's file (`policies/*.yaml`). Unknown keys are errors; text is never taken for a
number or a boolean ("false" in quotes is refused). `Guardrails` is the platform team's file and
sets floors that a team's policy can't weaken.
"""

from __future__ import annotations

import fnmatch
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pilotage.domain.assets import parse_asset
from pilotage.domain.gate_specs import (
    ChampionGate,
    ComponentGate,
    ContractGate,
    CustomGate,
    DataQualityGate,
    ExtensionGate,
    GateSpec,
    MetricGate,
    PerformanceGate,
    ResponsibleAiGate,
    SecurityGate,
    SmokeGate,
    UnitTestsGate,
    result_name,
)
from pilotage.domain.globs import globs_meet
from pilotage.domain.strict import Duration, Strict, format_duration
from pilotage.domain.window_specs import Freeze, Windows

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
EndpointName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]$")]


class Match(Strict):
    """Which model versions a policy is for."""

    workspace: str | None = Field(None, description="Name of the workspace where the model is registered.")
    registry: str | None = Field(None, description="Name of the registry, for models registered there directly.")
    model: str = Field(description="Model name or glob pattern, such as air-time*.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags the version must carry; * matches any value.")

    @model_validator(mode="after")
    def _one_home(self) -> Self:
        if (self.workspace is None) == (self.registry is None):
            raise ValueError("match needs exactly one of workspace and registry")
        return self

    def covers(self, *, workspace: str | None, registry: str | None, model: str) -> bool:
        """True when the policy is for this model's name and home (tags are matched on the model as read)."""
        home = (self.workspace or "").casefold() == (workspace or "").casefold() and (
            (self.registry or "").casefold() == (registry or "").casefold())
        return home and fnmatch.fnmatchcase(model.casefold(), self.model.casefold())

    def missing_tags(self, tags: dict[str, str]) -> list[str]:
        """The tags that the version lacks, as `name=wanted (found ...)`; empty when all match."""
        return [
            f"{name}={wanted} (found {tags[name]})" if name in tags else f"{name}={wanted} (absent)"
            for name, wanted in self.tags.items()
            if name not in tags or (wanted != "*" and tags[name] != wanted)
        ]


class Target(Strict):
    """Where a stage deploys to."""

    kind: Literal["online"] = "online"
    endpoint: EndpointName
    instance_type: str = "Standard_DS3_v2"
    instances: Annotated[int, Field(ge=1, le=100)] = 1
    instance_cost_per_hour: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Price of one instance in the team's currency, for the estimate beside the plan.")


class Gate(Strict):
    """One gate: exactly one key."""

    smoke: SmokeGate | None = None
    contract: ContractGate | None = None
    performance: PerformanceGate | None = None
    data_quality: DataQualityGate | None = None
    metric: MetricGate | None = None
    champion: ChampionGate | None = None
    responsible_ai: ResponsibleAiGate | None = None
    security: SecurityGate | None = None
    unit_tests: UnitTestsGate | None = None
    custom: CustomGate | None = None
    extension: ExtensionGate | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in type(self).model_fields if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a gate has exactly one kind: {', '.join(type(self).model_fields)}"
                             + (f"; this one has {' and '.join(given)}" if given else ""))
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in type(self).model_fields if getattr(self, kind) is not None)

    @property
    def spec(self) -> GateSpec:
        found: GateSpec = getattr(self, self.kind)
        return found

    @property
    def name(self) -> str:
        """What its result is called."""
        return result_name(self.kind, self.spec)


Approver = Annotated[str, Field(pattern=r"^(user|group):\S+$")]


class Escalation(Strict):
    """Who else is asked when those first asked have not decided."""

    after: Duration
    to: Annotated[list[Approver], Field(min_length=1)]


class BreakGlass(Strict):
    """Who may approve in an emergency: always two of them, and reviewed afterwards."""

    approvers: Annotated[list[Approver], Field(min_length=1)]
    review_within: Duration = timedelta(days=3)


class ApprovalRule(Strict):
    """Who must say yes, and for how long we wait."""

    quorum: Annotated[int, Field(ge=1, le=10)] = 1
    approvers: Annotated[list[Approver], Field(min_length=1)] = Field(
        description="user:<object id> or group:<name or object id as in the token's groups claim>.")
    one_of_each: list[Approver] = Field(default_factory=list, description="One different person of each of these must be among them.")
    expires: Duration = timedelta(days=3)
    remind: Duration | None = Field(None, description="Tell the approvers again each time this has passed.")
    escalate: Escalation | None = None
    delegation: bool = Field(False, description="Approvers may let somebody else decide for them, until a day.")
    break_glass: BreakGlass | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.expires <= timedelta(0):
            raise ValueError("expires must be longer than zero")
        if self.quorum < len(self.one_of_each):
            raise ValueError(f"one_of_each asks {len(self.one_of_each)} different people: set quorum to {len(self.one_of_each)} or more")
        for name, after in (("remind", self.remind), ("escalate.after", self.escalate.after if self.escalate else None)):
            if after is not None and not timedelta(0) < after < self.expires:
                raise ValueError(f"{name} must be longer than zero and shorter than expires")
        glass = self.break_glass
        if glass and len({text.casefold() for text in glass.approvers}) < 2 and glass.approvers[0].startswith("user:"):
            raise ValueError("break_glass takes two different people: name two, or a group")
        return self


class Step(Strict):
    """One step of the rollout: this much traffic to the new deployment, then bake."""

    traffic: Annotated[int, Field(ge=1, le=100)]
    bake: Duration = Field(timedelta(0), alias="for")

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Rollout(Strict):
    """Green beside blue: traffic moves in steps, and back when a check fails."""

    steps: Annotated[list[Step], Field(min_length=1)] = Field(default_factory=lambda: [Step(traffic=100)])
    check: SmokeGate | None = Field(None, description="Requests sent to the new deployment before each step and after it.")
    keep_previous: Duration = timedelta(hours=24)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        shares = [step.traffic for step in self.steps]
        if shares != sorted(set(shares)):
            raise ValueError("steps must send more traffic at each step")
        if shares[-1] != 100:
            raise ValueError("the last step must send 100 % of the traffic")
        return self


class Stage(Strict):
    """A place the model goes through: gates in staging, approval and rollout in production."""

    name: Literal["staging", "production"]
    workspace: Name
    target: Target
    gates: list[Gate] = Field(default_factory=list)
    fail_fast: bool = Field(False, description="Stop the other gates as soon as one has failed.")
    approval: ApprovalRule | Literal["automatic"] | None = Field(
        None, description="Production asks people unless this says `automatic` and the guardrails allow it.")
    rollout: Rollout | None = None
    windows: Windows | None = Field(None, description="When it may be approved or rolled out; it is held meanwhile, never rejected.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "staging" and self.rollout is not None:
            raise ValueError("rollout belongs to the production stage")
        if self.name == "staging" and not self.gates:
            raise ValueError("the staging stage needs at least one gate")
        if self.name == "production" and self.approval is None:
            raise ValueError("the production stage needs an approval rule (or `approval: automatic`)")
        if self.name == "production" and self.gates:
            raise ValueError("gates belong to the staging stage; production has rollout.check")
        names = [gate.name for gate in self.gates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the gate {', '.join(twice)} is there twice: their results could not be told apart")
        return self


class Budget(Strict):
    """At most so many retrainings in a time."""

    runs: Annotated[int, Field(ge=1)] = 4
    per: Duration = timedelta(days=7)


class OnDrift(Strict):
    """What a drift alert on the production endpoint does."""

    action: Literal["retrain", "notify"]
    job: str | None = Field(None, description="Pipeline component, such as azureml:train-air-time@latest.")
    inputs: dict[str, str] = Field(default_factory=dict, description="Inputs of the job; data assets as azureml:name@latest.")
    compute: str = "cpu-cluster"
    coalesce: Duration = timedelta(minutes=10)
    cooldown: Duration = timedelta(days=1)
    budget: Budget = Field(default_factory=Budget)
    timeout: Duration = Field(timedelta(hours=12), description="Longest time a retraining may take.")
    promotion_within: Duration = Field(timedelta(hours=1), description="The retrained version's promotion starts in this time.")

    @model_validator(mode="after")
    def _has_job(self) -> Self:
        if self.action == "retrain" and not self.job:
            raise ValueError("action retrain needs job, such as azureml:train-air-time@latest")
        return self


class PromotionPolicy(Strict):
    """A team's rules for bringing one family of models into production."""

    apiVersion: Literal["pilotage/v1"]
    name: Name
    team: Name | None = Field(None, description="Scopes app roles such as Pilotage.Approver.<team>.")
    match: Match
    scenario: Literal["tabular", "vision", "language"]
    registry: Name
    environment: str | None = Field(None, description="Environment asset promoted with the model; none is recorded as unpinned.")
    stages: Annotated[list[Stage], Field(min_length=2, max_length=2)]
    on_drift: OnDrift | None = None
    freezes: list[Freeze] = Field(default_factory=list, description="Times in which nothing of this policy is changed.")
    notify: list[Name] = Field(default_factory=list, description="Channels that are told, by their names in PILOTAGE_NOTIFY_CHANNELS.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [stage.name for stage in self.stages] != ["staging", "production"]:
            raise ValueError("stages must be staging, then production")
        if self.staging.workspace.casefold() == self.production.workspace.casefold() and (
            self.staging.target.endpoint.casefold() == self.production.target.endpoint.casefold()
        ):
            raise ValueError("staging and production must not share an endpoint")
        if self.scenario != "tabular" and self.on_drift and self.on_drift.action == "retrain":
            raise ValueError(f"scenario {self.scenario} does not retrain by itself: a person annotates first; use action: notify")
        for text in self.asset_texts():
            parse_asset(text, self.home)
        return self

    @property
    def home(self) -> str:
        """The workspace in which short asset references are resolved."""
        return self.match.workspace or self.staging.workspace

    @property
    def staging(self) -> Stage:
        return self.stages[0]

    @property
    def production(self) -> Stage:
        return self.stages[1]

    @property
    def rollout(self) -> Rollout:
        return self.production.rollout or Rollout()

    def data_texts(self) -> list[str]:
        """Every data asset the gates and checks read, once each, in the policy's order."""
        named = [text for gate in self.staging.gates for text in gate.spec.data().values()]
        named += [self.rollout.check.samples] if self.rollout.check else []
        return list(dict.fromkeys(named))

    def component_texts(self) -> list[str]:
        """Every component the gates run, once each."""
        specs = [gate.spec for gate in self.staging.gates]
        return list(dict.fromkeys(spec.component for spec in specs if isinstance(spec, ComponentGate)))

    def asset_texts(self) -> list[str]:
        """Every asset the policy names."""
        named = [self.environment, self.on_drift.job if self.on_drift else None, *self.data_texts(), *self.component_texts()]
        return [text for text in named if text]

    def wire(self) -> dict[str, Any]:
        """The policy as JSON, as it is pinned in a promotion's input."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_wire(cls, value: dict[str, Any]) -> PromotionPolicy:
        return cls.model_validate(value, strict=True)


class Guardrails(Strict):
    """The platform team's floors. A policy below them is refused."""

    apiVersion: Literal["pilotage/v1"]
    min_quorum: Annotated[int, Field(ge=1)] = 1
    allow_automatic_production: bool = False
    require_environment: bool = False
    max_approval_expiry: Duration = timedelta(days=14)
    allow_break_glass: bool = False
    max_delegation: Duration = timedelta(days=30)
    freezes: list[Freeze] = Field(default_factory=list, description="Times in which nothing is changed, whatever a policy says.")
    submitters: dict[str, str] = Field(
        default_factory=dict,
        description="Display name -> Entra object id, for principals whose id Azure ML does not tell.")

    def violations(self, policy: PromotionPolicy) -> list[str]:
        """Why a policy is refused; empty when it is not."""
        found = []
        rule = policy.production.approval
        if rule == "automatic" and not self.allow_automatic_production:
            found.append("production approval is automatic; the guardrails ask for people")
        if not self.allow_break_glass:
            found += [f"approval.break_glass of {stage.name} lets two people pass the rule; the guardrails do not allow it"
                      for stage in policy.stages if isinstance(stage.approval, ApprovalRule) and stage.approval.break_glass]
        if isinstance(rule, ApprovalRule):
            if rule.quorum < self.min_quorum:
                found.append(f"approval.quorum is {rule.quorum}; the guardrails ask for {self.min_quorum} or more")
            if rule.expires > self.max_approval_expiry:
                found.append(f"approval.expires is {format_duration(rule.expires)}; the guardrails allow "
                             f"{format_duration(self.max_approval_expiry)} at most")
        if self.require_environment and not policy.environment:
            found.append("environment is not set; the guardrails ask for a pinned environment")
        return found


def same_endpoint(first: PromotionPolicy, second: PromotionPolicy) -> bool:
    """True when two policies could both bring one model to one production endpoint."""
    one, two = first.production, second.production
    if (one.workspace.casefold(), one.target.endpoint.casefold()) != (two.workspace.casefold(), two.target.endpoint.casefold()):
        return False
    return globs_meet(first.match.model.casefold(), second.match.model.casefold())
