"""What a metrics query means, and the arithmetic of time series."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.azure_ml.request_metrics import ScoredRequest
from emulator.azure_monitor.definitions import DEPLOYMENTS, ENDPOINTS, METRICS
from emulator.azure_monitor.query import BadQuery, parse
from emulator.azure_monitor.series import observed, percentile, series

NOW = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def request(minute: int, latency: float, deployment: str = "blue", status: int = 200, model_status: int | None = 200) -> ScoredRequest:
    time = NOW.replace(minute=0, second=0) + timedelta(minutes=minute, seconds=latency % 60)
    return ScoredRequest(time.isoformat(), "/e", deployment, status, model_status, latency, mirrored=False)


@pytest.mark.parametrize(("text", "start", "end"), [
    (None, NOW - HOUR, NOW),
    ("PT1H", NOW - HOUR, NOW),
    ("PT3600.0S", NOW - HOUR, NOW),
    ("2026-01-01T00:00:00Z/2026-01-02T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    ("2026-01-01T02:00:00+02:00/PT30M", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 30, tzinfo=UTC)),
    ("2026-01-01T02:00:00 02:00/PT30M", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 30, tzinfo=UTC)),
    ("P1D/2026-01-02T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
])
def test_time_spans(text: str | None, start: datetime, end: datetime) -> None:
    found = parse({} if text is None else {"timespan": text}, ENDPOINTS, NOW)
    assert (found.start, found.end) == (start, end)


@pytest.mark.parametrize("query", [
    {"timespan": "yesterday"}, {"timespan": "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"}, {"timespan": "P"}, {"timespan": "/"},
    {"timespan": "2020-01-01T00:00:00Z/2026-01-01T00:00:00Z"}, {"timespan": "P99999999999D"}, {"timespan": "P80D"},
    {"interval": "PT2M"}, {"interval": "often"}, {"metricnames": "CpuUtilizationPercentage"}, {"metricnames": ",".join(["x"] * 30)},
    {"aggregation": "average,median"}, {"top": "0"}, {"top": "-1"}, {"top": "many"}, {"orderby": "age"}, {"orderby": "sum up"},
    {"$filter": "deployment"}, {"$filter": "deployment eq blue"}, {"$filter": "deployment eq 'blue' and"}, {"$filter": "and"},
    {"$filter": "deployment eq 'blue' deployment eq 'green'"}, {"$filter": "deployment eq 'a' or statusCode eq '200'"},
    {"$filter": "instanceId eq 'a'"}, {"$filter": "'"}, {"metricnamespace": "Microsoft.Compute/virtualMachines"},
])
def test_what_can_not_be_answered_is_said(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        parse(query, ENDPOINTS, NOW)


OPTIONS = ("timespan", "interval", "metricnames", "aggregation", "top", "orderby", "$filter", "metricnamespace")


@given(st.dictionaries(st.sampled_from(OPTIONS), st.text(max_size=40)))
def test_any_text_is_answered_or_refused(query: dict[str, str]) -> None:
    """Whatever else it raised would fail here."""
    with contextlib.suppress(BadQuery):
        assert parse(query, ENDPOINTS, NOW).start < NOW


def test_counts_are_one_sample_a_minute() -> None:
    query = parse({"timespan": "2026-01-02T03:00:00Z/PT4M", "aggregation": "total,average,count,maximum"}, ENDPOINTS, NOW)
    [found] = series(query.metrics[0], map(observed, [request(0, 1), request(0, 2), request(0, 3), request(2, 1)]), query)
    assert found == {"metadatavalues": [], "data": [
        {"timeStamp": "2026-01-02T03:00:00Z", "total": 3, "average": 3, "count": 1, "maximum": 3},
        {"timeStamp": "2026-01-02T03:01:00Z"},
        {"timeStamp": "2026-01-02T03:02:00Z", "total": 1, "average": 1, "count": 1, "maximum": 1},
        {"timeStamp": "2026-01-02T03:03:00Z"}]}
    hourly = parse({"timespan": "2026-01-02T03:00:00Z/PT1H", "interval": "PT1H", "aggregation": "total,average"}, ENDPOINTS, NOW)
    [found] = series(hourly.metrics[0], map(observed, [request(0, 1), request(0, 2), request(0, 3), request(2, 1)]), hourly)
    assert found["data"] == [{"timeStamp": "2026-01-02T03:00:00Z", "total": 4, "average": 2}]


def test_percentiles_are_of_each_minute() -> None:
    requests = [*(request(0, latency) for latency in range(1, 21)), request(1, 50)]
    query = parse({"timespan": "2026-01-02T03:00:00Z/PT1H", "interval": "FULL", "metricnames": "RequestLatency_P95,RequestLatency"},
                  ENDPOINTS, NOW)
    p95, mean = (series(metric, map(observed, requests), query)[0]["data"][0]["average"] for metric in query.metrics)
    assert p95 == (19 + 50) / 2
    assert mean == pytest.approx((210 + 50) / 21)


def test_filters_split_order_and_limit() -> None:
    requests = [request(0, 1), request(0, 1), request(0, 1, "green"), request(1, 1, "green", 424, 500), request(1, 1, "red", 408, None)]

    def found(text: str, **more: str) -> list[tuple[tuple[str, ...], float]]:
        query = parse({"timespan": "2026-01-02T03:00:00Z/PT1H", "interval": "PT1H", "aggregation": "total", "$filter": text, **more},
                      ENDPOINTS, NOW)
        return [(tuple(item["value"] for item in one["metadatavalues"]), one["data"][0]["total"])
                for one in series(query.metrics[0], map(observed, requests), query)]

    assert found("deployment eq '*'") == [(("blue",), 2), (("green",), 2), (("red",), 1)]
    assert found("deployment eq 'BLUE' or deployment eq 'red'", orderby="sum desc") == [(("blue",), 2), (("red",), 1)]
    assert found("deployment eq '*'", orderby="total asc", top="1") == [(("red",), 1)]
    assert found("deployment ne 'blue' AND statusCodeClass eq '4xx'") == [(("green", "4xx"), 1), (("red", "4xx"), 1)]
    assert found("modelStatusCode eq '*'") == [(("",), 1), (("200",), 3), (("500",), 1)]
    assert found("deployment eq 'o''brien'") == []


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_with_enough_below(values: list[float], rank: int) -> None:
    found = percentile(values, rank)
    assert found in values
    assert sum(value <= found for value in values) >= rank / 100 * len(values) - 1e-9


def test_names_are_unique_and_defaults_are_among_the_documented() -> None:
    for namespace in (ENDPOINTS, DEPLOYMENTS):
        names = [metric.name for metric in METRICS[namespace]]
        assert len(set(names)) == len(names)
        for metric in METRICS[namespace]:
            assert parse({"metricnames": metric.name.upper()}, namespace, NOW).metrics == (metric,)
