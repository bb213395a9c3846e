"""Sixteen threads at one tracking server: nothing is lost, nothing is counted twice, version numbers have no holes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.emulator.mlflow.conftest import WORKSPACE

pytestmark = pytest.mark.xdist_group("sdk-mlflow")

THREADS = 16
ROOT = f"/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow"


def test_sixteen_threads_log_and_register_at_once(http: httpx.Client) -> None:
    def post(path: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = http.post(f"{ROOT}/{path}", json=body).raise_for_status().json()
        return answer

    run = post("runs/create")["run"]["info"]["run_id"]
    post("registered-models/create", name="together")

    def work(number: int) -> str:
        for step in range(10):
            metrics = [{"key": name, "value": number, "timestamp": number, "step": step} for name in ("shared", f"own-{number}")]
            post("runs/log-batch", run_id=run, metrics=metrics, params=[{"key": f"p{number}-{step}", "value": "x"}],
                 tags=[{"key": f"t{number}-{step}", "value": "x"}])  # fmt: skip
        version = post("model-versions/create", name="together", source=f"runs:/{run}/m{number}", run_id=run)
        return str(version["model_version"]["version"])

    with ThreadPoolExecutor(THREADS) as pool:
        versions = list(pool.map(work, range(THREADS)))
    assert sorted(versions, key=int) == [str(number) for number in range(1, THREADS + 1)]
    data = http.get(f"{ROOT}/runs/get", params={"run_id": run}).json()["run"]["data"]
    assert len(data["params"]) == 10 * THREADS
    assert len([tag for tag in data["tags"] if tag["key"].startswith("t")]) == 10 * THREADS
    assert {metric["key"]: metric["step"] for metric in data["metrics"]} == {"shared": 9, **{f"own-{n}": 9 for n in range(THREADS)}}
    history = http.get(f"{ROOT}/metrics/get-history", params={"run_id": run, "metric_key": "shared"}).json()["metrics"]
    assert len(history) == 10 * THREADS
