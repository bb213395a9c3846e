"""The platform metrics of online endpoints and deployments, as Azure Monitor defines them.

Source: learn.microsoft.com/azure/azure-monitor/reference/supported-metrics, tables of
microsoft-machinelearningservices-workspaces-onlineendpoints(-deployments). What is not measured here (connections, network
bytes, data collection) is left out, so that asking for it is an error and not an empty answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

ENDPOINTS = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
DEPLOYMENTS = f"{ENDPOINTS}/deployments"
AGGREGATIONS = ("Average", "Minimum", "Maximum", "Total", "Count")
RETENTION = timedelta(days=93)
GRAINS = {
    "PT1M": timedelta(minutes=1), "PT5M": timedelta(minutes=5), "PT15M": timedelta(minutes=15), "PT30M": timedelta(minutes=30),
    "PT1H": timedelta(hours=1), "PT6H": timedelta(hours=6), "PT12H": timedelta(hours=12), "P1D": timedelta(days=1)}

Measure = Literal["requests", "latency", "percentile", "cpu", "memory", "capacity", "none"]


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    display: str
    description: str
    unit: str
    measure: Measure
    """What its values are taken from; `none`: hardware that the platform's machine does not have."""
    dimensions: tuple[str, ...] = ()
    aggregations: tuple[str, ...] = ("Average",)
    """What Azure documents for it; the first is used when a query names none."""
    percentile: int = 0
    category: str = "Traffic"

    def as_dict(self, resource: str, namespace: str) -> dict[str, Any]:
        """A metric definition of api-version 2018-01-01."""
        return {
            "id": f"{resource}/providers/microsoft.insights/metricdefinitions/{self.name}", "resourceId": resource,
            "namespace": namespace, "category": self.category, "name": _localizable(self.name, self.display),
            "displayDescription": self.description, "isDimensionRequired": False, "unit": self.unit,
            "primaryAggregationType": self.aggregations[0], "supportedAggregationTypes": list(self.aggregations),
            "metricAvailabilities": [{"timeGrain": grain, "retention": f"P{RETENTION.days}D"} for grain in GRAINS],
            "dimensions": [_localizable(name, name) for name in self.dimensions]}


def _localizable(value: str, text: str) -> dict[str, str]:
    return {"value": value, "localizedValue": text}


def _latencies(dimensions: tuple[str, ...]) -> tuple[Metric, ...]:
    return tuple(
        Metric(f"RequestLatency_P{rank}", f"Request Latency P{rank}",
               f"The average P{rank} request latency aggregated by all request latency values collected over the selected time period",
               "MilliSeconds", "percentile", dimensions, percentile=rank)
        for rank in (50, 90, 95, 99))


def _of_instance(name: str, display: str, what: str, measure: Measure) -> Metric:
    return Metric(name, display, f"Percentage of {what} on an instance. Utilization is reported at one minute intervals.", "Percent",
                  measure, ("instanceId",), ("Average", "Minimum", "Maximum"), category="Resource")


METRICS: dict[str, tuple[Metric, ...]] = {
    ENDPOINTS: (
        Metric("RequestsPerMinute", "Requests Per Minute", "The number of requests sent to online endpoint within a minute", "Count",
               "requests", ("deployment", "statusCode", "statusCodeClass", "modelStatusCode")),
        Metric("RequestLatency", "Request Latency",
               "The average complete interval of time taken for a request to be responded in milliseconds", "MilliSeconds", "latency",
               ("deployment",)),
        *_latencies(("deployment",)),
    ),
    DEPLOYMENTS: (
        Metric("RequestsPerMinute", "Requests Per Minute", "The number of requests sent to online deployment within a minute", "Count",
               "requests", ("envoy_response_code",)),
        *_latencies(()),
        _of_instance("CpuUtilizationPercentage", "CPU Utilization Percentage", "CPU utilization", "cpu"),
        _of_instance("CpuMemoryUtilizationPercentage", "CPU Memory Utilization Percentage", "memory utilization", "memory"),
        _of_instance("GpuUtilizationPercentage", "GPU Utilization Percentage", "GPU utilization", "none"),
        _of_instance("GpuMemoryUtilizationPercentage", "GPU Memory Utilization Percentage", "GPU memory utilization", "none"),
        Metric("DeploymentCapacity", "Deployment Capacity", "The number of instances in the deployment.", "Count", "capacity",
               ("instanceId", "State"), ("Average", "Minimum", "Maximum"), category="Resource"),
    ),
}
