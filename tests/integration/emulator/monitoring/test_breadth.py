"""Every type of signal in one run of one monitor, and a monitor that leaves everything to the SDK."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.integration.emulator.monitoring.test_monitors import TAG, metric, monitor_run, rows, score, steps
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import wait_for

pytestmark = [pytest.mark.xdist_group("monitors"), pytest.mark.exhaustive]

PREPROCESS = (
    "python -c \"import csv, pathlib, sys; rows = [r for r in csv.DictReader(open(sys.argv[1])) if sys.argv[2] <= r['day'] < sys.argv[3]];"
    " out = pathlib.Path(sys.argv[4]) / 'clean.jsonl';"
    " import json; out.write_text(''.join(json.dumps({'x': float(r['x'])}) + chr(10) for r in rows))\""
    " ${{inputs.input_data}} ${{inputs.data_window_start}} ${{inputs.data_window_end}} ${{outputs.preprocessed_data}}"
)


def collected_lines(sdk: Sdk, endpoint: str, collection: str) -> list[dict[str, Any]]:
    """What the collector has stored, read back through the data asset."""
    from azure.storage.blob import BlobServiceClient

    datastore = sdk.prod.datastores.get_default()
    asset = sdk.prod.data.get(f"{endpoint}-blue-{collection}", "1")
    prefix = str(asset.path).partition("/paths/")[2]
    url = f"https://{datastore.account_name}.blob.core.windows.net"
    key = sdk.prod.datastores._list_secrets(datastore.name, False).as_dict()["key"]
    with BlobServiceClient(url, credential=key).get_container_client(datastore.container_name) as container:
        names = sorted(container.list_blob_names(name_starts_with=prefix))
        return [json.loads(line) for name in names for line in container.download_blob(name).readall().decode().splitlines()]


def data_asset(sdk: Sdk, name: str, path: Path, content: str) -> str:
    from azure.ai.ml.entities import Data

    path.write_text(content, encoding="utf-8")
    asset = sdk.prod.data.create_or_update(Data(name=name, version="1", type="uri_file", path=str(path)))
    return f"azureml:{asset.name}:{asset.version}"


def test_every_type_of_signal(sdk: Sdk, collecting: str, tmp_path: Path) -> None:
    from azure.ai.ml import Input, Output
    from azure.ai.ml.entities import (
        BaselineDataRange,
        CommandComponent,
        DataDriftMetricThreshold,
        DataDriftSignal,
        Environment,
        ModelPerformanceMetricThreshold,
        ModelPerformanceRegressionThresholds,
        ModelPerformanceSignal,
        MonitorDefinition,
        MonitorSchedule,
        NumericalDriftMetrics,
        PredictionDriftMetricThreshold,
        PredictionDriftSignal,
        ProductionData,
        RecurrencePattern,
        RecurrenceTrigger,
        ReferenceData,
        ServerlessSparkCompute,
    )

    name = collecting
    environment = sdk.prod.environments.create_or_update(Environment(name=name, version="1", image="mcr.microsoft.com/azureml/minimal"))
    cleaning = sdk.prod.components.create_or_update(
        CommandComponent(
            name=name,
            version="1",
            command=PREPROCESS,
            environment=str(environment.id),
            inputs={"input_data": Input(type="uri_file"), **{f"data_window_{end}": Input(type="string") for end in ("start", "end")}},
            outputs={"preprocessed_data": Output(type="uri_folder")},
        )
    )
    today = sdk.platform.control("GET", "/clock")["now"][:10]
    draw = random.Random(5)
    days = "".join(f"{today}T12:00:00,{draw.gauss(0, 1)}\n2000-01-01,{draw.gauss(50, 1)}\n" for _ in range(30))
    raw = data_asset(sdk, f"{name}-raw", tmp_path / "raw.csv", f"day,x\n{days}")
    base = data_asset(sdk, f"{name}-base", tmp_path / "base.csv", "x\n" + "".join(f"{draw.gauss(0, 1)}\n" for _ in range(30)))

    score(sdk, name, rows(11, mean=10.0))  # the reference of the predictions: what is a day older
    sdk.platform.advance("PT24H")
    asked = rows(12, mean=20.0)
    answers = score(sdk, name, asked)
    lines = wait_for("the collected answers", lambda: found if len(found := collected_lines(sdk, name, "model_outputs")) == 2 else None)
    key = lines[-1]["correlationid"]
    assert [row["0"] for row in lines[-1]["data"]] == answers
    truth = data_asset(sdk, f"{name}-truth", tmp_path / "truth.csv",
                       "id,actual\n" + "".join(f"{key}_{number},{answer + 3.0}\n" for number, answer in enumerate(answers)))  # fmt: skip

    def outputs(size: str, offset: str) -> dict[str, Any]:
        window = BaselineDataRange(lookback_window_size=size, lookback_window_offset=offset)
        return {"input_data": Input(type="uri_folder", path=f"azureml:{name}-blue-model_outputs:1"), "data_context": "model_outputs",
                "data_window": window}  # fmt: skip

    signals = {
        f"{name}_prediction_drift": PredictionDriftSignal(
            production_data=ProductionData(**outputs("P1D", "P0D")),
            reference_data=ReferenceData(**outputs("P1D", "P1D")),
            metric_thresholds=PredictionDriftMetricThreshold(numerical=NumericalDriftMetrics(two_sample_kolmogorov_smirnov_test=0.05)),
        ),
        f"{name}_model_performance": ModelPerformanceSignal(
            production_data=ProductionData(
                **outputs("P1D", "P0D"), data_column_names={"prediction": "0", "correlation_id": "correlationid"}
            ),
            reference_data=ReferenceData(
                input_data=Input(type="uri_file", path=truth),
                data_context="ground_truth",
                data_column_names={"target": "actual", "correlation_id": "id"},
            ),
            metric_thresholds=ModelPerformanceMetricThreshold(regression=ModelPerformanceRegressionThresholds(mean_absolute_error=2.0)),
        ),
        f"{name}_data_drift": DataDriftSignal(
            production_data=ProductionData(
                input_data=Input(type="uri_file", path=raw),
                data_context="model_inputs",
                data_window=BaselineDataRange(lookback_window_size="P3D", lookback_window_offset="P0D"),
                pre_processing_component=str(cleaning.id),
            ),
            reference_data=ReferenceData(input_data=Input(type="uri_file", path=base), data_context="training"),
            metric_thresholds=DataDriftMetricThreshold(numerical=NumericalDriftMetrics(jensen_shannon_distance=0.9)),
        ),
        f"{name}_nothing": PredictionDriftSignal(
            production_data=ProductionData(**outputs("P1D", "P300D")),
            reference_data=ReferenceData(**outputs("P1D", "P0D")),
            metric_thresholds=PredictionDriftMetricThreshold(numerical=NumericalDriftMetrics(jensen_shannon_distance=0.1)),
        ),
    }
    definition = MonitorDefinition(
        compute=ServerlessSparkCompute(runtime_version="3.4", instance_type="standard_e4s_v3"), monitoring_signals=signals
    )
    trigger = RecurrenceTrigger(frequency="week", interval=1, schedule=RecurrencePattern(hours=1, minutes=0, week_days=["monday"]))
    sdk.prod.schedules.begin_create_or_update(MonitorSchedule(name=name, trigger=trigger, create_monitor=definition)).result()
    loaded = sdk.prod.schedules.get(name)
    assert list(loaded.create_monitor.monitoring_signals) == list(signals)
    sdk.prod.schedules.trigger(name)
    run = monitor_run(sdk, name)
    found = steps(sdk, run.name)
    assert run.status == "Failed", "one signal has no data, and that is not hidden"
    assert found[f"{name}_nothing_compute_metrics"]["status"] == "Failed"
    assert "no rows in the window" in found[f"{name}_nothing_compute_metrics"]["error"]["error"]["message"]
    assert metric(found, f"{name}_prediction_drift", "0.TwoSampleKolmogorovSmirnovTest") < 0.05
    assert metric(found, f"{name}_model_performance", "MeanAbsoluteError") == pytest.approx(3.0)
    assert metric(found, f"{name}_data_drift", "x.JensenShannonDistance") < 0.9
    assert metric(found, f"{name}_data_drift", "TargetRowCount") == 30, "the component has seen the window, and left out the rest"
    tagged = {step: child["tags"][TAG] for step, child in found.items() if child["tags"]}
    assert set(tagged) == {f"{name}_{part}_evaluate_metrics_threshold" for part in ("prediction_drift", "model_performance")}
    (row,) = ast.literal_eval(tagged[f"{name}_model_performance_evaluate_metrics_threshold"].splitlines()[2])
    assert json.loads(row)["threshold_value"] == 2.0
