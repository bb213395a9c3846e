"""The Event Grid functions and the alert route: what is understood starts something, everything else is kept with its reason."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from azure.functions.meta import Datum
from azure_functions_runtime.bindings import meta

from functions.event_grid import AnyEventConverter, ReceivedEvent
from pilotage.errors import Unavailable
from pilotage.ledger import Rejection
from tests.support.desk import PROD, Desk, registered
from tests.support.memory import MemoryRecords
from tests.support.routes import DurableClient, ask, deliver
from tests.unit.events.test_alerts import common, custom
from tests.unit.events.test_workspace_events import event, run_status


def rejections(desk: Desk) -> list[Rejection]:
    return desk.ledger.rejected.list()


@pytest.mark.parametrize("cloud", [False, True])
def test_a_registration_starts_a_promotion(desk: Desk, client: DurableClient, cloud: bool) -> None:
    deliver("model_events", client, registered(cloud=cloud))
    deliver("model_events", client, registered(id="again", cloud=not cloud))
    assert [name for name, _ in desk.orchestrator.instances.values()] == ["promotion"]
    assert rejections(desk) == []


def test_a_breach_opens_an_incident(desk: Desk, client: DurableClient) -> None:
    deliver("model_events", client, run_status("Running"))
    deliver("model_events", client, run_status("Failed"))
    deliver("model_events", client, run_status("Failed"))
    assert [name for name, _ in desk.orchestrator.instances.values()] == ["drift"]


def test_a_custom_alert_opens_an_incident(desk: Desk, client: DurableClient) -> None:
    deliver("drift_alerts", client, custom({"endpoint": "air-time"}))
    assert [name for name, _ in desk.orchestrator.instances.values()] == ["drift"]


@pytest.mark.parametrize("body", [
    event("RunCompleted", {"runId": "r"}), event("ModelDeployed", {"serviceName": "s"}), run_status("Running"),
    registered(model="uncovered"),
])
def test_what_needs_nothing_leaves_nothing(desk: Desk, client: DurableClient, body: Any) -> None:
    deliver("model_events", client, body)
    assert desk.records.contents == {}
    assert desk.orchestrator.starts == 0


MALFORMED: list[Any] = [
    b"", b"{", b"null", b"7", b'"text"', b"[]", b'{"specversion": "1.0"}', b'{"a": "\\ud800"}', b"\xff",
    {}, registered() | {"eventTime": "yesterday"}, registered() | {"eventTime": 7}, registered() | {"data": None},
    registered() | {"data": "x"},
    registered() | {"id": None}, registered() | {"eventType": "Microsoft.Storage.BlobCreated"}, registered() | {"topic": None},
    registered(topic="/subscriptions/x"), registered(topic=PROD.replace("rg-pilotage", "rg-other")), registered(None), registered(True),
    registered("../../x"), registered(model=""), registered(modelTags=[1]), run_status(runStatus=None),
    event("DatasetDriftDetected", {"runId": "r"}),
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_malformed_is_kept_with_its_reason_and_the_delivery_succeeds(desk: Desk, client: DurableClient, body: Any) -> None:
    for _ in range(3):
        deliver("model_events", client, body)
    (rejection,) = rejections(desk)
    assert rejection.kind == "workspace_event"
    assert rejection.reason
    assert desk.ledger.promotions.list() == []
    assert desk.orchestrator.starts == 0


def test_an_alert_that_is_for_nobody_is_kept_with_its_reason(desk: Desk, client: DurableClient) -> None:
    deliver("drift_alerts", client, custom({"endpoint": "unknown"}))
    deliver("drift_alerts", client, custom({"psi": 1}))
    assert {(item.kind, item.reason.split(":")[0]) for item in rejections(desk)} == {
        ("custom_alert", "no policy has endpoint unknown in production"), ("custom_alert", "data.endpoint is missing")}


def test_a_ledger_that_cannot_keep_a_rejection_fails_the_delivery(desk: Desk, client: DurableClient) -> None:
    class Failing(MemoryRecords):
        def create(self, name: str, content: bytes) -> bool:
            raise Unavailable

    desk.ledger.rejected = type(desk.ledger.rejected)(Failing())
    with pytest.raises(Unavailable):
        deliver("model_events", client, {})


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND])
def test_a_start_that_fails_fails_the_delivery_and_the_next_one_makes_it_good(
    desk: Desk, client: DurableClient, status: grpc.StatusCode,
) -> None:
    client.failure = status
    with pytest.raises(Unavailable):
        deliver("model_events", client, registered())
    client.failure = None
    deliver("model_events", client, registered())
    assert desk.orchestrator.starts == 1


def test_a_start_that_another_delivery_won_is_a_success(desk: Desk, client: DurableClient) -> None:
    """Both found no instance; the backend lets one of them create it."""
    deliver("model_events", client, registered())
    (instance,) = desk.orchestrator.instances
    asked = iter([None, "RUNNING"])
    desk.orchestrator.state = lambda _: next(asked, "RUNNING")  # type: ignore[method-assign]
    desk.records.contents = {name: content for name, content in desk.records.contents.items() if "passports" not in name}
    deliver("model_events", client, registered())
    assert list(desk.orchestrator.instances) == [instance]


@pytest.mark.parametrize("payload", [b"[1]", b"7", b"not json", b'{"eventTime": "x"}'])
def test_the_workers_converter_hands_on_whatever_came(payload: bytes) -> None:
    """The contract with azure-functions: the worker finds our converter, under the binding's name, in its registry."""
    meta.load_binding_registry()
    converter = meta.get_binding("eventGridTrigger")
    assert converter is AnyEventConverter
    for datum in (Datum(payload.decode(), "json"), Datum(payload, "bytes")):
        received = converter.decode(datum, trigger_metadata=None)
        assert isinstance(received, ReceivedEvent)
        assert received.payload == payload


# --- Azure Monitor --------------------------------------------------------------------------------


def test_202_a_common_alert_opens_an_incident(desk: Desk, client: DurableClient) -> None:
    answer = ask("monitor_alerts", client, method="POST", token=desk.actor("monitor", "Operator"), body=common())
    assert (answer.status, answer.value["outcome"]) == (202, "started")
    (incident,) = desk.orchestrator.instances
    assert answer.value["items"] == [{"id": incident, "outcome": "started", "policy": "air-time"}]


def test_200_a_resolved_alert_needs_nothing(desk: Desk, client: DurableClient) -> None:
    answer = ask("monitor_alerts", client, method="POST", token=desk.actor("monitor", "Operator"),
                 body=common({"monitorCondition": "Resolved"}))
    assert (answer.status, answer.value["outcome"], desk.orchestrator.starts) == (200, "ignored", 0)


@pytest.mark.parametrize(("body", "reason"), [
    (b"not json", "the body is not JSON"), ({}, "schemaId is not azureMonitorCommonAlertSchema"),
    (common({"alertTargetIDs": [f"{PROD}/onlineEndpoints/unknown"]}), "no policy has workspace mlw-prod, endpoint unknown in production"),
])
def test_400_an_alert_that_cannot_be_acted_on_is_kept_with_its_reason(desk: Desk, client: DurableClient, body: Any, reason: str) -> None:
    answer = ask("monitor_alerts", client, method="POST", token=desk.actor("monitor", "Operator"), body=body)
    assert (answer.status, answer.code) == (400, "invalid_event")
    assert reason in answer.message
    (rejection,) = rejections(desk)
    assert (rejection.kind, rejection.reason) == ("monitor_alert", answer.message)
