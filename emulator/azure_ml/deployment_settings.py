"""What an online deployment may say, with Azure's defaults filled in; everything that can be wrong is found here.

Names, defaults and limits: the published description of Microsoft.MachineLearningServices (`OnlineDeployment`),
learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online (and -kubernetes-online), and
how-to-manage-quotas ("Azure Machine Learning online endpoints and batch endpoints").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.durations import seconds
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.vm_sizes import vm_size

Json = dict[str, Any]

MANAGED, KUBERNETES = "Managed", "Kubernetes"
MOST_INSTANCES = 50
MOST_SECONDS = {MANAGED: 180.0, KUBERNETES: 300.0}
"""The longest request timeout."""
_PROBE: Json = {"failureThreshold": 30, "initialDelay": "PT10S", "period": "PT10S", "successThreshold": 1, "timeout": "PT2S"}
_REQUESTS, _LIMITS = {"cpu": "100m", "memory": "2Gi"}, {"cpu": "2", "memory": "2Gi"}
"""learn.microsoft.com/azure/machine-learning/how-to-manage-kubernetes-instance-types, "default instance type"."""
_TARGET = "TargetUtilization"


def properties_of(given: Json, kind: str) -> Json:
    """The properties of a deployment of `kind` as they are kept; raises `BadRequest` with the name of the field."""
    fields.choice(given, "endpointComputeType", kind, (kind,))  # as the endpoint's
    properties = {
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        **{key: value for key, value in given.items() if value is not None},
        "endpointComputeType": kind,
        "environmentVariables": fields.texts(given, "environmentVariables"),
        "properties": fields.texts(given, "properties"),
        "requestSettings": _requests(given, kind),
        "scaleSettings": _scale(given, kind),
    }
    for name in ("model", "environmentId", "modelMountPath", "description", "instanceType"):
        fields.text(given, name)
    if code := fields.mapping(given, "codeConfiguration"):
        for name in ("codeId", "scoringScript"):
            if not fields.text(code, name, "codeConfiguration."):
                raise BadRequest(f"codeConfiguration.{name} is required.", code="BadArgument")
    for probe in ("livenessProbe", "readinessProbe"):
        properties[probe] = _probe(given, probe)
    if kind == KUBERNETES:
        properties["containerResourceRequirements"] = _resources(given)
        properties["instanceType"] = given.get("instanceType") or "defaultinstancetype"
    if kind == MANAGED:
        size = properties.get("instanceType")
        if not size:
            raise BadRequest("A managed online deployment needs an instanceType.", code="BadArgument")
        if vm_size(size) is None:
            raise BadRequest(f"The instance type {size!r:.100} is not supported.", code="BadArgument")
    return properties


def sku_of(body: Json) -> Json:
    """The number of instances, in `sku.capacity`."""
    sku = fields.mapping(body, "sku")
    return {
        **{key: value for key, value in sku.items() if value is not None},
        "name": fields.text(sku, "name", "sku.") or "Default",
        "capacity": fields.integer(sku, "capacity", 1, 1, MOST_INSTANCES, "The instance count: sku."),
    }


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a new container gets until its probes give up, as Kubernetes counts it; named as in `ScorerSpec`."""

    startup_seconds: float
    startup_probe: str
    """Which of the two gives up first: `Liveness` or `Readiness`."""
    successes: int
    """How often in a row the readiness probe must succeed."""
    period: float
    """Seconds between two of its probes."""
    liveness: dict[str, float]
    """`period`, `timeout` (seconds) and `failures` of the liveness probe."""


def startup_of(properties: Json) -> Startup:
    """The first probe comes after the initial delay, each other one a period later, the last has its timeout to answer."""

    def limit(name: str) -> float:
        probe = properties[name]
        wait = seconds(probe["initialDelay"], 0.0) + (probe["failureThreshold"] - 1) * seconds(probe["period"], 10.0)
        return wait + seconds(probe["timeout"], 2.0)

    liveness, readiness = limit("livenessProbe"), limit("readinessProbe")
    ready, alive = properties["readinessProbe"], properties["livenessProbe"]
    return Startup(
        min(liveness, readiness),
        "Liveness" if liveness < readiness else "Readiness",
        ready["successThreshold"],
        seconds(ready["period"], 10.0),
        {
            "period": seconds(alive["period"], 10.0),
            "timeout": seconds(alive["timeout"], 2.0),
            "failures": alive["failureThreshold"],
        },
    )


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Instances by the share of them that is busy (Kubernetes only)."""

    least: int
    most: int
    interval: float
    """Seconds between two decisions."""
    target: float
    """The share, from 0 to 1."""


def autoscale_of(settings: Json) -> Autoscale | None:
    if settings.get("scaleType") != _TARGET:
        return None
    interval = seconds(settings["pollingInterval"], 1.0)
    return Autoscale(settings["minInstances"], settings["maxInstances"], interval, settings["targetUtilizationPercentage"] / 100)


def _requests(given: Json, kind: str) -> Json:
    settings, where = fields.mapping(given, "requestSettings"), "requestSettings."
    timeout = fields.duration(settings, "requestTimeout", "PT5S", where)
    if seconds(timeout, 0.0) > MOST_SECONDS[kind]:
        raise BadRequest(f"{where}requestTimeout must be at most {MOST_SECONDS[kind]:g} seconds, not {timeout}.", code="BadArgument")
    return {
        "maxConcurrentRequestsPerInstance": fields.integer(settings, "maxConcurrentRequestsPerInstance", 1, 1, where=where),
        "maxQueueWait": fields.duration(settings, "maxQueueWait", "PT0.5S", where, least=0.0),
        "requestTimeout": timeout,
    }


def _scale(given: Json, kind: str) -> Json:
    settings, where = fields.mapping(given, "scaleSettings"), "scaleSettings."
    scale = fields.choice(settings, "scaleType", "Default", ("Default", _TARGET), where)
    if scale == "Default":
        return {"scaleType": scale}
    if kind == MANAGED:
        raise BadRequest(
            f"{where}scaleType {_TARGET} is for Kubernetes: managed deployments are scaled by Azure Monitor's autoscale.",
            code="BadArgument",
        )
    least = fields.integer(settings, "minInstances", 1, 1, MOST_INSTANCES, where)
    return {
        "scaleType": scale,
        "minInstances": least,
        "maxInstances": fields.integer(settings, "maxInstances", max(1, least), least, MOST_INSTANCES, where),
        "pollingInterval": fields.duration(settings, "pollingInterval", "PT1S", where),
        "targetUtilizationPercentage": fields.integer(settings, "targetUtilizationPercentage", 70, 1, 100, where),
    }


def _resources(given: Json) -> Json:
    """What a container may use; by default what the default instance type of an attached cluster gives."""
    asked, where = fields.mapping(given, "containerResourceRequirements"), "containerResourceRequirements."
    return {
        name: {**default, **fields.texts(asked, name, where)}
        for name, default in (("containerResourceRequests", _REQUESTS), ("containerResourceLimits", _LIMITS))
    }


def _probe(given: Json, name: str) -> Json:
    probe, where = fields.mapping(given, name), f"{name}."
    return {
        "failureThreshold": fields.integer(probe, "failureThreshold", _PROBE["failureThreshold"], 1, where=where),
        "successThreshold": fields.integer(probe, "successThreshold", _PROBE["successThreshold"], 1, where=where),
        "initialDelay": fields.duration(probe, "initialDelay", _PROBE["initialDelay"], where, least=0.0),
        "period": fields.duration(probe, "period", _PROBE["period"], where),
        "timeout": fields.duration(probe, "timeout", _PROBE["timeout"], where),
    }
