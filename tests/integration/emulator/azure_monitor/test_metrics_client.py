"""Azure Monitor's own client against what an endpoint really answered."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.monitor.query import MetricAggregationType, MetricsQueryClient, MetricUnit

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")
NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
REQUESTS = 6


@pytest.fixture(scope="module")
def scored(sdk_platform: LivePlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ARM id of an endpoint with two deployments: blue was asked six times, green twice and failed once."""
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint

    name = f"m{uuid.uuid4().hex[:10]}"
    line = light_model.write(tmp_path_factory.mktemp("monitor") / "model", light_model.Line(2.0, 1.0, "x"), {"x": "double"})
    with pytest.MonkeyPatch.context() as patch:
        for key, value in sdk_platform.variables("ada").items():
            patch.setenv(key, value)
        sdk = Sdk(sdk_platform)
        model = sdk.share(sdk.register(name, "1", line))
        endpoint = sdk.prod.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
        for color in ("blue", "green"):
            sdk.prod.online_deployments.begin_create_or_update(ManagedOnlineDeployment(
                name=color, endpoint_name=name, model=model, instance_type="Standard_DS3_v2", instance_count=2)).result()
        for _ in range(REQUESTS):
            assert sdk.score(name, deployment="blue", input_data={"columns": ["x"], "data": [[2.0]]}).status_code == 200
        assert sdk.score(name, deployment="green", input_data={"columns": ["x"], "data": [[2.0]]}).status_code == 200
        assert sdk.score(name, deployment="green", input_data={"columns": ["y"], "data": [["?"]]}).status_code == 424
        yield str(endpoint.id)
        sdk.prod.online_endpoints.begin_delete(name).result()


@pytest.fixture
def metrics(as_ada: LivePlatform) -> Iterator[MetricsQueryClient]:
    url = as_ada.env["EMULATOR_URL"]
    with MetricsQueryClient(DefaultAzureCredential(), endpoint=url, audience="https://management.azure.com") as client:
        yield client


def total(metric: Any) -> float:
    return sum(point.total or 0 for point in metric.timeseries[0].data)


def test_requests_and_latencies_of_an_endpoint(metrics: MetricsQueryClient, scored: str) -> None:
    names = ["RequestsPerMinute", "RequestLatency", "RequestLatency_P50", "RequestLatency_P95", "RequestLatency_P99"]
    found = metrics.query_resource(scored, names, timespan=timedelta(hours=12), granularity=timedelta(days=1),
                                   aggregations=list(MetricAggregationType))
    assert [metric.name for metric in found.metrics] == names
    assert found.granularity == timedelta(days=1)
    assert found.namespace == NAMESPACE
    assert total(found.metrics["RequestsPerMinute"]) == REQUESTS + 2
    latency = found.metrics["RequestLatency"]
    assert latency.unit == MetricUnit.MILLI_SECONDS
    points = [point for point in latency.timeseries[0].data if point.count]
    assert sum(point.count for point in points) == REQUESTS + 2
    assert 0 < points[0].minimum <= points[0].average <= points[0].maximum
    p50, p95, p99 = (found.metrics[name].timeseries[0].data for name in names[2:])
    for low, middle, high in zip(p50, p95, p99, strict=True):
        assert (low.average is None) == (high.average is None)
        assert (low.average or 0) <= (middle.average or 0) <= (high.average or 0)


def test_a_filter_splits_by_dimension(metrics: MetricsQueryClient, scored: str) -> None:
    def series(text: str) -> dict[tuple[str, ...], float]:
        [metric] = metrics.query_resource(scored, ["RequestsPerMinute"], timespan=timedelta(hours=12), aggregations=["Total"],
                                          filter=text).metrics
        return {tuple(one.metadata_values.values()): sum(point.total or 0 for point in one.data) for one in metric.timeseries}

    assert series("deployment eq 'blue'") == {("blue",): REQUESTS}
    assert series("deployment eq '*'") == {("blue",): REQUESTS, ("green",): 2}
    assert series("deployment eq 'green' and statusCodeClass ne '2xx'") == {("green", "4xx"): 1}
    assert series("statusCode eq '200' or statusCode eq '424'") == {("200",): REQUESTS + 1, ("424",): 1}
    assert series("modelStatusCode eq '*'").keys() == {("200",), ("400",)}
    assert series("deployment eq 'red'") == {}


def test_a_deployment_has_utilization_of_its_real_processes(metrics: MetricsQueryClient, scored: str, sdk_platform: LivePlatform) -> None:
    names = ["CpuUtilizationPercentage", "CpuMemoryUtilizationPercentage", "DeploymentCapacity", "RequestsPerMinute",
             "GpuUtilizationPercentage"]
    end = datetime.fromisoformat(sdk_platform.control("GET", "/clock")["now"]) + timedelta(hours=1)
    metrics.query_resource(f"{scored}/deployments/blue", names)
    found = metrics.query_resource(f"{scored}/deployments/blue", names, timespan=(end - timedelta(days=1), end),
                                   granularity=timedelta(hours=12), aggregations=["Average", "Maximum", "Total"])
    for name in names[:2]:
        assert 0 < max(point.maximum or 0 for point in found.metrics[name].timeseries[0].data) <= 100
    assert max(point.maximum or 0 for point in found.metrics["DeploymentCapacity"].timeseries[0].data) == 2
    assert total(found.metrics["RequestsPerMinute"]) == REQUESTS
    assert all(point.average is None for point in found.metrics["GpuUtilizationPercentage"].timeseries[0].data)


def test_time_is_virtual(metrics: MetricsQueryClient, scored: str, sdk_platform: LivePlatform) -> None:
    """What was asked an hour ago is an hour old after the clock has moved; spans are in the platform's time."""
    sdk_platform.advance("PT2H")
    found = metrics.query_resource(scored, ["RequestsPerMinute"], timespan=timedelta(hours=1), aggregations=["Total"])
    assert total(found.metrics[0]) == 0
    found = metrics.query_resource(scored, ["RequestsPerMinute"], timespan=timedelta(hours=12), aggregations=["Total"])
    assert total(found.metrics[0]) == REQUESTS + 2


def test_definitions_and_namespaces(metrics: MetricsQueryClient, scored: str) -> None:
    assert [item.fully_qualified_namespace for item in metrics.list_metric_namespaces(scored)] == [NAMESPACE]
    definitions = {item.name: item for item in metrics.list_metric_definitions(scored, namespace=NAMESPACE)}
    assert definitions["RequestsPerMinute"].dimensions == ["deployment", "statusCode", "statusCodeClass", "modelStatusCode"]
    assert definitions["RequestLatency_P95"].unit == MetricUnit.MILLI_SECONDS
    assert definitions["RequestLatency_P95"].primary_aggregation_type == MetricAggregationType.AVERAGE
    assert definitions["RequestLatency"].metric_availabilities[0].granularity == timedelta(minutes=1)
    deployment = {item.name for item in metrics.list_metric_definitions(f"{scored}/deployments/blue")}
    assert {"CpuUtilizationPercentage", "CpuMemoryUtilizationPercentage", "DeploymentCapacity"} <= deployment
    assert list(metrics.list_metric_definitions(scored.split("/onlineEndpoints")[0])) == []


@pytest.mark.parametrize(("resource", "options", "status", "text"), [
    ("", {"metric_names": ["Nonsense"]}, 400,
     "Failed to find metric configuration for provider: Microsoft.MachineLearningServices,"
     " resource Type: workspaces/onlineEndpoints, metric: Nonsense, Valid metrics: RequestsPerMinute,"),
    ("", {"timespan": (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))}, 400, "must be before the end time"),
    ("", {"granularity": timedelta(minutes=7)}, 400, "Detected invalid time grain input: PT7M"),
    ("", {"aggregations": ["Median"]}, 400, "Detected invalid aggregation type input: median"),
    ("", {"filter": "color eq 'blue'"}, 400, "Metric: RequestsPerMinute does not support requested dimension combination: color,"
                                             " supported ones are: deployment,statusCode,statusCodeClass,modelStatusCode"),
    ("", {"filter": "deployment eq 'blue' or statusCode eq '200'"}, 400, "cannot separate two different metadata names"),
    ("", {"filter": "deployment = 'blue'"}, 400, "Invalid filter"),
    ("", {"metric_namespace": "Microsoft.Compute/virtualMachines"}, 400, "virtualMachines"),
    ("-absent", {}, 404, "was not found"),
])
def test_a_bad_question_is_refused(metrics: MetricsQueryClient, scored: str, resource: str, options: dict[str, Any], status: int,
                                   text: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        metrics.query_resource(scored + resource, **{"metric_names": ["RequestsPerMinute"], **options})
    assert refused.value.status_code == status
    assert text in str(refused.value)


def test_who_may_not_read_metrics_is_refused(scored: str, sdk_platform: LivePlatform) -> None:
    url = f"{scored}/providers/Microsoft.Insights/metrics?metricnames=RequestsPerMinute"
    with httpx.Client(base_url=sdk_platform.env["EMULATOR_URL"], verify=sdk_platform.env["SSL_CERT_FILE"], trust_env=False) as http:
        token = sdk_platform.user_token("grace", "https://management.azure.com/.default")
        refused = http.get(url, headers={"Authorization": f"Bearer {token}"})
        assert http.get(url).status_code == 401
    assert refused.status_code == 403
    assert "Microsoft.Insights/metrics/read" in json.loads(refused.text)["error"]["message"]


def test_measurements_outlive_a_restart(tmp_path: Path) -> None:
    from emulator.azure_ml.store import ResourceStore
    from emulator.azure_monitor.usage import Running, Usage

    now, here = datetime(2026, 1, 1, tzinfo=UTC), os.getpid()
    store = ResourceStore(tmp_path / "azureml.sqlite")
    Usage(store).sample([Running("/e/deployments/blue", here, 3), Running("/e/deployments/gone", 2**22 - 3, 1)], now)
    store.close()
    again = ResourceStore(tmp_path / "azureml.sqlite")
    [used] = Usage(again).between("/E/deployments/Blue", now, now + timedelta(seconds=1))
    assert (used.instance, used.capacity) == (f"blue-{here}", 3)
    assert 0 < used.cpu <= 100
    assert 0 < used.memory < 100
    assert Usage(again).between("/e/deployments/gone", now, now + timedelta(seconds=1)) == []
    again.close()
