"""The scoring script of deployments without code, under Azure's inference server in its image."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import light_model
from tests.support.light_model import Line
from tests.support.platform import ROOT, wait_for

IMAGE = ROOT / "emulator" / "images" / "inference"
COLUMNS = list(light_model.AIR_TIME_COLUMNS)
ROW = ["UA", "EWR", "FLL", 1065, 6]
EXPECTED = light_model.WINTER.intercept + light_model.WINTER.slope * 1065

pytestmark = pytest.mark.xdist_group("mlflow-score")


@contextmanager
def serving(model: Path, log: Path) -> Iterator[httpx.Client]:
    """A scoring server for a model's folder; fails when it ends before it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [IMAGE / ".venv" / "bin" / "azmlinfsrv", "--entry_script", IMAGE / "mlflow_score.py", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*map(str, command), "--worker_count", "1"], stdout=output, stderr=output, start_new_session=True, cwd=log.parent,
            env={"PATH": os.environ["PATH"], "AZUREML_MODEL_DIR": str(model)},
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:

            def answers() -> bool | None:
                assert server.poll() is None, log.read_text()
                try:
                    return client.get("/").status_code == 200 or None
                except httpx.TransportError:
                    return None

            wait_for("the server", answers)
            yield client
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], httpx.Response]]:
    folder = tmp_path_factory.mktemp("score")
    # One folder below the model directory: how an uploaded folder arrives.
    light_model.write(folder / "mounted" / "model")
    with serving(folder / "mounted", folder / "log") as client:
        yield lambda body: client.post("/score", json=body)


@pytest.mark.parametrize(
    "data",
    [
        {"columns": COLUMNS, "index": [0], "data": [ROW]},
        {"columns": COLUMNS, "data": [ROW]},
        {"columns": list(reversed(COLUMNS)), "data": [list(reversed(ROW))]},
        [dict(zip(COLUMNS, ROW, strict=True))],
        {name: [value] for name, value in zip(COLUMNS, ROW, strict=True)},
    ],
    ids=["split", "split without index", "columns in another order", "records", "columns of values"],
)
def test_every_form_of_input_data_gives_the_same_answer(score: Callable[[Any], httpx.Response], data: Any) -> None:
    answer = score({"input_data": data})
    assert answer.status_code == 200, answer.text
    assert answer.json() == [pytest.approx(EXPECTED)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"data": []}, "top-level key"),
        ([], "top-level key"),
        ({"input_data": 3}, "object or a list"),
        ({"input_data": {"columns": ["carrier"], "data": [["UA"]]}}, "missing inputs"),
        ({"input_data": {"columns": COLUMNS, "data": [["UA", "EWR", "FLL", "far", 6]]}}, "distance"),
        ({"input_data": {"columns": COLUMNS, "data": [ROW[:3]]}}, "does not fit"),
        ({"input_data": {"columns": COLUMNS, "data": [ROW]}, "params": 3}, "params"),
    ],
)
def test_a_request_that_does_not_fit_is_the_callers_fault(score: Callable[[Any], httpx.Response], body: Any, message: str) -> None:
    answer = score(body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_failing_model_is_not_the_callers_fault(tmp_path: Path) -> None:
    model = light_model.write(tmp_path / "model", Line(1, 1, fails="predict"))
    with serving(model, tmp_path / "log") as client:
        answer = client.post("/score", json={"input_data": {"columns": COLUMNS, "data": [ROW]}})
        assert answer.status_code == 500
        assert "made to fail when it predicts" in (tmp_path / "log").read_text()
        assert "made to fail" not in answer.text, "a model's errors are for its owner's log, not for callers"


@pytest.mark.parametrize("broken", ["fails to load", "no model"])
def test_a_model_that_cannot_be_loaded_never_becomes_ready(tmp_path: Path, broken: str) -> None:
    model = tmp_path / "model"
    if broken == "no model":
        model.mkdir()
    else:
        light_model.write(model, Line(1, 1, fails="load"))
    with pytest.raises(AssertionError, match=r"made to fail when it is loaded|expected one MLmodel file"), serving(model, tmp_path / "log"):
        pass
