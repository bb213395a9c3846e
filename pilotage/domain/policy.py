"""Promotion policies: which models, through which stages, by which gates, with whose approval.

A policy is a team's file (`policies/*.yaml`). Unknown keys are errors; text is never taken for a
number or a boolean ("false" in quotes is refused). `Guardrails` is the platform team's file and
sets floors that a team's policy can't weaken.
"""

from __future__ import annotations

import fnmatch
import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, PlainSerializer, model_validator

from pilotage.domain.assets import parse_asset
from pilotage.domain.globs import globs_meet

_DURATION = re.compile(r"^P(?:(\d{1,12})W)?(?:(\d{1,12})D)?(?:T(?:(\d{1,12})H)?(?:(\d{1,12})M)?(?:(\d{1,12})S)?)?\Z", re.ASCII)
LONGEST = timedelta(days=3650)
"""What a policy may ask to wait: a typing error must not make a time that no calendar has."""


def parse_duration(value: Any) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds, such as `PT10M` or `P1D`."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or value in ("P", "PT") or value.endswith("T"):
        raise ValueError(f"{value!r} is not a duration: write ISO 8601 such as PT10M, PT24H or P3D")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds > LONGEST.total_seconds():
        raise ValueError(f"{value!r} is longer than {LONGEST.days} days")
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The inverse of `parse_duration`, in seconds below a day's fraction."""
    days, seconds = divmod(int(value.total_seconds()), 86400)
    text = "P" + (f"{days}D" if days else "")
    if seconds or not days:
        hours, rest = divmod(seconds, 3600)
        minutes, secs = divmod(rest, 60)
        text += "T" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
        text += f"{secs}S" if secs or not (hours or minutes) else ""
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "duration", "examples": ["PT10M", "P1D"]}),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
EndpointName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]$")]


class Strict(BaseModel):
    """Policies are read strictly: no unknown keys, no coercion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class SmokeGate(Strict):
    """The deployment answers every sample request with 200 and a JSON prediction per row."""

    samples: str = Field(description="Data asset with the sample requests, such as azureml:air-time-requests@latest.")
    min_requests: Annotated[int, Field(ge=1)] = 1


class MetricGate(Strict):
    """A metric that Pilotage computes itself from the deployment's answers on a labelled holdout."""

    metric: Literal["mae", "rmse", "accuracy"]
    holdout: str = Field(description="Data asset with labelled rows, such as azureml:air-time-holdout@latest.")
    target: str = Field(description="Name of the label column.")
    max: FiniteFloat | int | None = None
    min: FiniteFloat | int | None = None
    min_rows: Annotated[int, Field(ge=1)] = Field(100, description="Fewer rows are Inconclusive.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a metric gate needs max or min")
        return self


class Gate(Strict):
    """One gate: exactly one key."""

    smoke: SmokeGate | None = None
    metric: MetricGate | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.smoke, self.metric)) != 1:
            raise ValueError("a gate has exactly one kind: smoke or metric")
        return self

    @property
    def kind(self) -> Literal["smoke", "metric"]:
        return "smoke" if self.smoke else "metric"


class ApprovalRule(Strict):
    """Who must say yes, and for how long we wait."""

    quorum: Annotated[int, Field(ge=1, le=10)] = 1
    approvers: Annotated[list[Annotated[str, Field(pattern=r"^(user|group):\S+$")]], Field(min_length=1)] = Field(
        description="user:<object id> or group:<name or object id as in the token's groups claim>.")
    expires: Duration = timedelta(days=3)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.expires <= timedelta(0):
            raise ValueError("expires must be longer than zero")
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
    approval: ApprovalRule | Literal["automatic"] | None = Field(
        None, description="Production asks people unless this says `automatic` and the guardrails allow it.")
    rollout: Rollout | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "staging" and (self.approval is not None or self.rollout is not None):
            raise ValueError("approval and rollout belong to the production stage")
        if self.name == "staging" and not self.gates:
            raise ValueError("the staging stage needs at least one gate")
        if self.name == "production" and self.approval is None:
            raise ValueError("the production stage needs an approval rule (or `approval: automatic`)")
        if self.name == "production" and self.gates:
            raise ValueError("gates belong to the staging stage; production has rollout.check")
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
        named = [gate.smoke.samples if gate.smoke else gate.metric.holdout if gate.metric else "" for gate in self.staging.gates]
        named += [self.rollout.check.samples] if self.rollout.check else []
        return list(dict.fromkeys(named))

    def asset_texts(self) -> list[str]:
        """Every asset the policy names."""
        named = [self.environment, self.on_drift.job if self.on_drift else None, *self.data_texts()]
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
    submitters: dict[str, str] = Field(
        default_factory=dict,
        description="Display name -> Entra object id, for principals whose id Azure ML does not tell.")

    def violations(self, policy: PromotionPolicy) -> list[str]:
        """Why a policy is refused; empty when it is not."""
        found = []
        rule = policy.production.approval
        if rule == "automatic" and not self.allow_automatic_production:
            found.append("production approval is automatic; the guardrails ask for people")
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
