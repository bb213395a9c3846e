"""Model monitors: real rows, scored and collected, make real metrics; a breach becomes the documented event."""

from __future__ import annotations

import ast
import json
import math
import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import wait_for

if TYPE_CHECKING:
    from azure.ai.ml.entities import MonitorSchedule

pytestmark = pytest.mark.xdist_group("monitors")

TAG = "azureml_modelmonitor_threshold_breached"
COLORS = ["red", "green", "blue"]
Row = tuple[float, str]


def rows(seed: int, mean: float, count: int = 60) -> list[Row]:
    draw = random.Random(seed)
    return [(draw.gauss(mean, 2.0), draw.choice(COLORS)) for _ in range(count)]


def reference_asset(sdk: Sdk, name: str, sample: list[Row], folder: Path) -> str:
    """A CSV file of the reference, registered as a data asset."""
    from azure.ai.ml.entities import Data

    path = folder / "reference.csv"
    path.write_text("x,color\n" + "".join(f"{x!r},{color}\n" for x, color in sample), encoding="utf-8")
    asset = sdk.prod.data.create_or_update(Data(name=f"{name}-reference", version="1", type="uri_file", path=str(path)))
    return f"azureml:{asset.name}:{asset.version}"


def monitor(name: str, reference: str, thresholds: dict[str, float]) -> MonitorSchedule:
    from azure.ai.ml import Input
    from azure.ai.ml.entities import (
        AlertNotification,
        BaselineDataRange,
        CategoricalDriftMetrics,
        DataDriftMetricThreshold,
        DataDriftSignal,
        DataQualityMetricsNumerical,
        DataQualityMetricThreshold,
        DataQualitySignal,
        MonitorDefinition,
        MonitoringTarget,
        MonitorSchedule,
        NumericalDriftMetrics,
        ProductionData,
        RecurrencePattern,
        RecurrenceTrigger,
        ReferenceData,
        ServerlessSparkCompute,
    )

    def production() -> Any:
        collected = Input(type="uri_folder", path=f"azureml:{name}-blue-model_inputs:1")
        window = BaselineDataRange(lookback_window_size="P1D", lookback_window_offset="P0D")
        return ProductionData(input_data=collected, data_context="model_inputs", data_window=window)

    def baseline() -> Any:
        return ReferenceData(input_data=Input(type="uri_file", path=reference), data_context="training")

    drift = DataDriftSignal(
        production_data=production(),
        reference_data=baseline(),
        alert_enabled=True,
        metric_thresholds=DataDriftMetricThreshold(
            numerical=NumericalDriftMetrics(normalized_wasserstein_distance=thresholds["wasserstein"]),
            categorical=CategoricalDriftMetrics(jensen_shannon_distance=thresholds["jensen_shannon"]),
        ),
    )
    quality = DataQualitySignal(
        production_data=production(),
        reference_data=baseline(),
        features=["x"],
        metric_thresholds=DataQualityMetricThreshold(numerical=DataQualityMetricsNumerical(null_value_rate=0.1, out_of_bounds_rate=1.0)),
    )
    definition = MonitorDefinition(
        compute=ServerlessSparkCompute(runtime_version="3.4", instance_type="standard_e4s_v3"),
        monitoring_target=MonitoringTarget(ml_task="regression", endpoint_deployment_id=f"azureml:{name}:blue"),
        monitoring_signals={f"{name}_data_drift": drift, f"{name}_data_quality": quality},
        alert_notification=AlertNotification(emails=[f"{name}@example.com"]),
    )
    pattern = RecurrencePattern(hours=3, minutes=15)
    return MonitorSchedule(name=name, trigger=RecurrenceTrigger(frequency="day", interval=1, schedule=pattern), create_monitor=definition)


def score(sdk: Sdk, endpoint: str, sample: list[Row]) -> list[float]:
    answer = sdk.score(endpoint, deployment="blue", input_data={"columns": ["x", "color"], "data": [list(row) for row in sample]})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def monitor_run(sdk: Sdk, schedule: str) -> Any:
    """The schedule's newest run, once it has ended."""

    def look() -> Any:
        found = [job for job in sdk.prod.jobs.list() if job.experiment_name == schedule]
        return found[0] if found and found[0].status in ("Completed", "Failed", "Canceled") else None

    return wait_for(f"a run of {schedule}", look)


def steps(sdk: Sdk, run: str) -> dict[str, Any]:
    """A run's steps, as run history has them."""
    import httpx
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    platform = sdk.platform
    with httpx.Client(base_url=platform.env["EMULATOR_URL"], verify=platform.env["SSL_CERT_FILE"], trust_env=False) as http:
        scope = (
            f"/subscriptions/{platform.env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{platform.env['AZURE_RESOURCE_GROUP']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{platform.env['AZUREML_WORKSPACE_PROD']}"
        )
        answer = http.get(f"/history/v1.0{scope}/runs/{run}/children", headers={"authorization": f"Bearer {token}"})
        answer.raise_for_status()
    return {child["displayName"]: child for child in answer.json()["value"]}


def metric(found: dict[str, Any], signal: str, name: str) -> float:
    return float(found[f"{signal}_compute_metrics"]["properties"][f"azureml.modelmonitor.{name}"])


def wasserstein(before: list[float], now: list[float]) -> float:
    """Between samples of one size it is the mean distance of their values in order; in deviations of the first."""
    distance = statistics.fmean(abs(a - b) for a, b in zip(sorted(before), sorted(now), strict=True))
    return distance / statistics.stdev(before)


def jensen_shannon(before: list[str], now: list[str]) -> float:
    divergence = 0.0
    for value in {*before, *now}:
        p, q = before.count(value) / len(before), now.count(value) / len(now)
        middle = (p + q) / 2
        divergence += sum(share * math.log2(share / middle) for share in (p, q) if share) / 2
    return math.sqrt(divergence)


def test_drifted_rows_breach_and_others_do_not(sdk: Sdk, collecting: str, tmp_path: Path, breaches: list[dict[str, Any]]) -> None:
    name, before = collecting, rows(1, mean=10.0)
    schedule = monitor(name, reference_asset(sdk, name, before, tmp_path), {"wasserstein": 0.5, "jensen_shannon": 0.3})
    made = sdk.prod.schedules.begin_create_or_update(schedule).result()
    assert made.provisioning_state == "Succeeded"
    assert list(made.create_monitor.monitoring_signals) == [f"{name}_data_drift", f"{name}_data_quality"]

    calm_rows = rows(2, mean=10.0)
    assert score(sdk, name, calm_rows) == pytest.approx([2 * x + 1 for x, _ in calm_rows])
    sdk.platform.advance("PT24H")
    calm = monitor_run(sdk, name)
    assert (calm.status, calm.type) == ("Completed", "pipeline")
    assert calm.display_name.startswith(f"{name}-20")
    assert calm.display_name.endswith("T031500Z")
    found = steps(sdk, calm.name)
    assert len(found) == 4
    assert all(not step["tags"] for step in found.values())
    assert metric(found, f"{name}_data_drift", "x.NormalizedWassersteinDistance") == pytest.approx(
        wasserstein([x for x, _ in before], [x for x, _ in calm_rows])
    )

    # A day later: other numbers, and one color only. What was scored the day before is out of the window.
    drifted = [(x, "red") for x, _ in rows(3, mean=16.0)]
    score(sdk, name, drifted)
    sdk.platform.advance("PT24H")
    run = wait_for("the second run", lambda: next((job for job in [monitor_run(sdk, name)] if job.name != calm.name), None))
    assert run.status == "Completed", "a breach does not make the run fail"
    found = steps(sdk, run.name)
    evaluator = found[f"{name}_data_drift_evaluate_metrics_threshold"]
    distances = {
        "x": wasserstein([x for x, _ in before], [x for x, _ in drifted]),
        "color": jensen_shannon([color for _, color in before], ["red"] * len(drifted)),
    }
    text = evaluator["tags"][TAG]
    assert text.startswith(
        f"The signal '{name}_data_drift' has failed due to one or more features violating metric thresholds.\n"
        "The feature names and their corresponding computed metric values violating the threshold are \n['{"
    )
    listed = [json.loads(row) for row in ast.literal_eval(text.splitlines()[2])]
    assert {row["group"]: row["metric_value"] for row in listed} == pytest.approx(distances)
    assert [row["threshold_value"] for row in listed] == [0.5, 0.3]
    assert [step for step, run in found.items() if run["tags"]] == [f"{name}_data_drift_evaluate_metrics_threshold"]
    low, high = min(x for x, _ in before), max(x for x, _ in before)
    outside = sum(1 for x, _ in drifted if not low <= x <= high) / len(drifted)
    assert metric(found, f"{name}_data_quality", "x.OutOfBoundsRate") == pytest.approx(outside, abs=1e-5)

    # Only the evaluator's end passes the documented filter, though the tag was there while it ran.
    event = wait_for("the breach event", lambda: next((e for e in breaches if e["data"]["runStatus"] == "completed"), None))
    assert event["eventType"] == "Microsoft.MachineLearningServices.RunStatusChanged"
    assert event["data"]["runId"] == evaluator["runId"]
    assert event["data"]["runTags"][TAG] == text
    assert {e["data"]["runId"] for e in breaches} == {evaluator["runId"]}
    letter = next(letter for letter in sdk.platform.mailbox() if letter.get("to") == [f"{name}@example.com"])
    assert letter["text"] == text
