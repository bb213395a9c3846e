"""What each kind of gate demands, as a policy writes it. Names of limits carry their unit.

Every spec knows which data assets it measures with (`data()`), so that they are pinned by digest before anything starts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from pilotage.domain.strict import Duration, Strict

Share = Annotated[FiniteFloat | int, Field(ge=0, le=1)]
Positive = Annotated[FiniteFloat | int, Field(gt=0)]
Confidence = Annotated[FiniteFloat, Field(gt=0.5, lt=1)]
DataText = Annotated[str, Field(description="Data asset, such as azureml:air-time-holdout@latest.")]
Metric = Literal["mae", "rmse", "accuracy", "balanced_accuracy", "f1_macro"]
LOWER_IS_BETTER = frozenset({"mae", "rmse"})


class GateSpec(Strict):
    """What all gates have. A subclass names its data assets in `data`."""

    severity: Literal["block", "warn"] = Field("block", description="warn: told in the report, and nothing stops.")
    timeout: Duration = Field(timedelta(minutes=30), description="Longest time the gate may take; over it, it is Errored.")

    def data(self) -> dict[str, str]:
        """Role -> text of each data asset it measures with."""
        return {}

    def depends_on_time(self) -> bool:
        """Whether equal inputs may be judged otherwise tomorrow: evidence is then carried over within a day only."""
        return False


class SmokeGate(GateSpec):
    """The deployment answers every sample request with 200 and a finite JSON prediction per row, the same each time."""

    samples: DataText
    min_requests: Annotated[int, Field(ge=1)] = 1
    deterministic: bool = Field(True, description="A request that is sent twice must be answered alike.")

    def data(self) -> dict[str, str]:
        return {"samples": self.samples}


class ContractGate(GateSpec):
    """Requests fit the model's signature (names, types, order), and answers equal the model's own offline predictions."""

    samples: DataText
    relative_tolerance: Annotated[FiniteFloat, Field(ge=0, le=0.1)] = 1e-6
    absolute_tolerance: Annotated[FiniteFloat, Field(ge=0)] = 1e-9
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = Field(2_000, description="Rows of the samples that are compared.")
    compute: str = Field("cpu-cluster", description="Where the offline predictions are made.")

    def data(self) -> dict[str, str]:
        return {"samples": self.samples}


class PerformanceGate(GateSpec):
    """Latency, throughput and errors under load: an open loop, so that a slow answer delays no later request."""

    samples: DataText
    requests: Annotated[int, Field(ge=20, le=100_000)] = 200
    rate_per_second: Annotated[FiniteFloat | int, Field(gt=0, le=2000)] = 20
    concurrency: Annotated[int, Field(ge=1, le=512)] = Field(64, description="Requests on their way at once, at most.")
    warmup_requests: Annotated[int, Field(ge=0, le=10_000)] = 20
    p50_ms: Positive | None = None
    p95_ms: Positive | None = None
    p99_ms: Positive | None = None
    max_error_rate: Share = 0
    min_throughput_per_second: Positive | None = None
    first_answer_ms: Positive | None = Field(None, description="Longest time to the very first answer after the deployment.")
    confidence: Confidence = 0.95
    request_timeout_ms: Positive = Field(30_000, description="Over it, from its intended time on, a request counts as an error.")
    instance_cost_per_hour: Positive | None = Field(None, description="Price of one instance in the team's currency, for the estimate.")
    instances: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Instances of the staging deployment, for the estimate.")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        limits = [limit for limit in (self.p50_ms, self.p95_ms, self.p99_ms) if limit is not None]
        if not limits:
            raise ValueError("a performance gate needs p50_ms, p95_ms or p99_ms")
        if max(limits) >= self.request_timeout_ms:
            raise ValueError(f"request_timeout_ms {self.request_timeout_ms:g} must be over every limit of latency (here {max(limits):g}): "
                             f"what timed out is known to be slower than the limit")
        if self.min_throughput_per_second is not None and self.min_throughput_per_second > self.rate_per_second:
            raise ValueError(f"min_throughput_per_second {self.min_throughput_per_second:g} can't be shown by sending rate_per_second "
                             f"{self.rate_per_second:g}: raise rate_per_second")
        # The first request is sent alone, and both parts end at most one timeout after their last request.
        longest = (self.requests + self.warmup_requests) / self.rate_per_second + 3 * self.request_timeout_ms / 1000
        if longest > self.timeout.total_seconds():
            raise ValueError(f"requests, warmup_requests, rate_per_second and request_timeout_ms may take {longest:.0f} s together, "
                             f"over the gate's timeout of {self.timeout.total_seconds():.0f} s: send faster or fewer, or raise timeout")
        return self

    def data(self) -> dict[str, str]:
        return {"samples": self.samples}


class Freshness(Strict):
    """How old the newest row may be."""

    column: str
    max_age: Duration


class DataQualityGate(GateSpec):
    """The data keeps its contract: columns, types, nulls, ranges, categories, freshness, volume; and training rows are not in it."""

    subject: DataText = Field(alias="data_asset", description="Data asset that is checked, such as azureml:air-time-holdout@latest.")
    contract: str | None = Field(None, description="Data asset with the data contract (YAML) that the data must keep.")
    min_rows: Annotated[int, Field(ge=1)] = 100
    freshness: Freshness | None = None
    training: str | None = Field(None, description="Data asset the model was trained on: its rows must not be in the data.")
    key: list[str] = Field(default_factory=list, description="Columns that make a row the same; all common ones by default.")
    max_exact_overlap: Share = 0
    max_near_overlap: Share = Field(0.01, description="Share of rows that nearly equal a training row.")

    def data(self) -> dict[str, str]:
        named = {"data": self.subject, "contract": self.contract, "training": self.training}
        return {role: text for role, text in named.items() if text}

    def depends_on_time(self) -> bool:
        return self.freshness is not None


class MetricGate(GateSpec):
    """A metric that Pilotage computes itself from the deployment's answers on a labelled holdout."""

    metric: Metric
    holdout: DataText
    target: str = Field(description="Name of the label column.")
    max: FiniteFloat | int | None = None
    min: FiniteFloat | int | None = None
    min_rows: Annotated[int, Field(ge=1)] = Field(100, description="Fewer rows are Inconclusive.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a metric gate needs max or min")
        return self

    def data(self) -> dict[str, str]:
        return {"holdout": self.holdout}


class ChampionGate(GateSpec):
    """The candidate against the version that serves production now, on rows that neither was trained on."""

    metric: Metric
    holdout: DataText
    target: str = Field(description="Name of the label column.")
    training: str | None = Field(None, description="Data asset the candidate was trained on, when the model's properties do not say.")
    confidence: Confidence = 0.95
    min_effect: Annotated[FiniteFloat | int, Field(ge=0)] = Field(
        0, description="The candidate must be better by so much, in the metric's unit; 0: it must not be worse.")
    max_regression: Annotated[FiniteFloat | int, Field(ge=0)] = Field(
        0, description="What it may be worse by, in the metric's unit, when min_effect is 0 (the margin of non-inferiority).")
    tie: Literal["pass", "fail", "inconclusive"] = Field("pass", description="What equal predictions on every row mean.")
    inconclusive: Literal["hold", "pass", "fail"] = Field("hold", description="What an interval that decides nothing means.")
    first_version: Literal["pass", "fail"] = Field("pass", description="What it means that nothing serves production yet.")
    slices: list[str] = Field(default_factory=list, description="Columns whose values are compared one by one.")
    max_slice_regression: Annotated[FiniteFloat | int, Field(ge=0)] | None = Field(
        None, description="What a slice may be worse by; max_regression when not set.")
    min_rows: Annotated[int, Field(ge=10)] = 200
    min_slice_rows: Annotated[int, Field(ge=10)] = 50
    max_overlap: Share = Field(0, description="Share of holdout rows that one of the two was trained on.")
    resamples: Annotated[int, Field(ge=200, le=20_000)] = 2_000

    def data(self) -> dict[str, str]:
        return {"holdout": self.holdout} | ({"training": self.training} if self.training else {})


class FairnessLimit(Strict):
    """A limit on one of fairlearn's measures of a binary decision."""

    measure: Literal["demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
                     "equalized_odds_ratio", "equal_opportunity_difference"]
    limit: Share
    favourable: str | int | bool = Field(description="The label that is good for a person, such as approved.")


class ResponsibleAiGate(GateSpec):
    """No cohort is served much worse than the others, nor decided about unequally."""

    sensitive: Annotated[list[str], Field(min_length=1)]
    metric: Metric
    holdout: DataText
    target: str = Field(description="Name of the label column.")
    max_ratio: Annotated[FiniteFloat | int, Field(ge=1)] | None = Field(
        None, description="Worst cohort's error over that of all rows, at most.")
    max_difference: Positive | None = Field(None, description="Between the best and the worst cohort, in the metric's unit.")
    fairness: list[FairnessLimit] = Field(default_factory=list)
    min_cohort: Annotated[int, Field(ge=10)] = Field(50, description="Smaller cohorts are reported, and decide nothing.")
    confidence: Confidence = 0.95
    resamples: Annotated[int, Field(ge=200, le=20_000)] = 1_000

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.max_ratio is None and self.max_difference is None and not self.fairness:
            raise ValueError("a responsible_ai gate needs max_ratio, max_difference or fairness")
        return self

    def data(self) -> dict[str, str]:
        return {"holdout": self.holdout}


class SecurityGate(GateSpec):
    """The artifact is safe to load, its dependencies are pinned and known to be sound, its card and licence are there."""

    allow_globals: list[str] = Field(default_factory=list, description="module.name patterns a pickle may import besides the usual ones.")
    require_pins: bool = Field(True, description="Every requirement of the model names one exact version.")
    advisories: str | None = Field(None, description="Data asset with advisories in OSV's JSON format.")
    max_severity: Literal["none", "low", "medium", "high", "critical"] = Field(
        "none", description="The worst known vulnerability that is let through.")
    licences: list[str] = Field(default_factory=list, description="Licences (SPDX) of the model that are allowed; empty: any.")
    card: list[str] = Field(default_factory=list, description="Tags or properties the model must carry, such as intended_use.")

    def data(self) -> dict[str, str]:
        return {"advisories": self.advisories} if self.advisories else {}


class ComponentGate(GateSpec):
    """What gates that run a team's own component as a job have."""

    component: str = Field(description="Component, such as azureml:air-time-tests@latest.")
    inputs: dict[str, str] = Field(default_factory=dict, description="Inputs; data assets as azureml:name@latest. "
                                   "model, endpoint and deployment are given where the component declares them.")
    compute: str = "cpu-cluster"
    timeout: Duration = timedelta(hours=2)

    def data(self) -> dict[str, str]:
        return {f"inputs.{name}": text for name, text in self.inputs.items() if text.startswith("azureml:")}


class UnitTestsGate(ComponentGate):
    """The project's own tests run as a component, which writes a JUnit report."""

    report: str = Field("report", description="Output (uri_file or uri_folder) with the JUnit XML.")
    min_tests: Annotated[int, Field(ge=1)] = 1


class CustomGate(ComponentGate):
    """A component that measures something, with the limit it must keep."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    metric: str = Field(description="Name of the metric that the component logs (MLflow) or writes into its output.")
    output: str = Field("result", description="Output (uri_file or uri_folder) with a JSON object of metrics.")
    max: FiniteFloat | int | None = None
    min: FiniteFloat | int | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a custom gate needs max or min")
        return self


class ExtensionGate(GateSpec):
    """A gate of the team's own, installed as an entry point of the group `pilotage.gates`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$", description="Name of the entry point.")]
    settings: dict[str, Any] = Field(default_factory=dict, description="What the gate's own spec asks for.")
    data_assets: dict[str, str] = Field(default_factory=dict, description="Role -> data asset; pinned like those of every gate.")

    def data(self) -> dict[str, str]:
        return dict(self.data_assets)


BUILT_IN: dict[str, type[GateSpec]] = {
    "smoke": SmokeGate, "contract": ContractGate, "performance": PerformanceGate, "data_quality": DataQualityGate, "metric": MetricGate,
    "champion": ChampionGate, "responsible_ai": ResponsibleAiGate, "security": SecurityGate, "unit_tests": UnitTestsGate,
    "custom": CustomGate, "extension": ExtensionGate,
}


ALONE = frozenset({"performance"})
"""Kinds that are measured after the others: they would measure the others' requests too."""


def result_name(kind: str, spec: GateSpec) -> str:
    """What a result is called: two gates of one kind in a policy must be told apart."""
    detail: Any = getattr(spec, "name", None) or (getattr(spec, "metric", None) if kind == "metric" else None)
    return f"{kind}:{detail}" if detail else kind
