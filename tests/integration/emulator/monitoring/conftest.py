"""Data collection and monitors through the unmodified SDK, as Ada, on names of their own."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform
from tests.support.sdk_fixtures import quiet, sdk

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

__all__ = ["quiet", "sdk"]


@pytest.fixture
def name() -> str:
    return f"mon{uuid.uuid4().hex[:10]}"


@pytest.fixture
def model(sdk: Sdk, name: str, tmp_path: Path) -> Model:
    """A model that predicts 2 * x + 1, with a second column that it ignores, on the production workspace."""
    from azure.ai.ml.entities import Model

    line = light_model.Line(slope=2.0, intercept=1.0, column="x")
    folder = light_model.write(tmp_path / "model", line, {"x": "double", "color": "string"})
    return sdk.prod.models.create_or_update(Model(name=name, version="1", type="mlflow_model", path=str(folder)))


@pytest.fixture
def collecting(sdk: Sdk, name: str, model: Model) -> Iterator[str]:
    """The name of an endpoint whose deployment `blue` collects what it is asked and answers."""
    from azure.ai.ml.entities import DataCollector, DeploymentCollection, ManagedOnlineEndpoint

    sdk.prod.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    collections = {part: DeploymentCollection(enabled="true") for part in ("model_inputs", "model_outputs")}
    sdk.deploy(name, "blue", str(model.id), data_collector=DataCollector(collections=collections, rolling_rate="hour", sampling_rate=1.0))
    yield name
    sdk.prod.online_endpoints.begin_delete(name).result()


class _Subscriber(BaseHTTPRequestHandler):
    events: list[dict[str, Any]]

    def do_POST(self) -> None:
        (event,) = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer: dict[str, str] = {}
        if self.headers["aeg-event-type"] == "SubscriptionValidation":
            answer = {"validationResponse": event["data"]["validationCode"]}
        else:
            self.events.append(event)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def breaches(as_ada: LivePlatform, name: str) -> Iterator[list[dict[str, Any]]]:
    """What a subscription with the documented filter for breaches gets, for the signals of this test."""
    events: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Subscriber", (_Subscriber,), {"events": events}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = "data.RunTags.azureml_modelmonitor_threshold_breached"
    filters = [
        {"operator": "StringContains", "key": key, "values": ["has failed due to one or more features violating metric thresholds"]},
        {"operator": "StringContains", "key": key, "values": [f"{name}_"]},
    ]
    subscription = {
        "topics": ["workspaces"],
        "endpoint": f"http://127.0.0.1:{server.server_port}/",
        "event_types": ["Microsoft.MachineLearningServices.RunStatusChanged"],
        "advanced_filters": filters,
    }
    as_ada.control("PUT", f"/eventgrid/subscriptions/{name}", json=subscription)
    yield events
    as_ada.control("DELETE", f"/eventgrid/subscriptions/{name}")
    server.shutdown()
    server.server_close()
