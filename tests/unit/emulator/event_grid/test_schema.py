"""What a topic takes, and events in each other's words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.event_grid.schema import InvalidEvents, accept, to_cloud, to_grid

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRID = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00.1234567Z", "data": {"n": 1}, "dataVersion": "2"}
CLOUD = {"specversion": "1.0", "id": "1", "source": "/src", "type": "T", "data": {"n": 1}, "traceparent": "00-1"}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


def test_an_event_grid_event_goes_through_as_it_came() -> None:
    accepted = accept(GRID, "/topic", "EventGridSchema", NOW)
    assert to_grid(accepted) == {**GRID, "topic": "/topic", "metadataVersion": "1"}


def test_the_topic_is_ours_to_set() -> None:
    assert accept({**GRID, "topic": "/another"}, "/topic", "any", NOW)["topic"] == "/topic"


def test_it_can_be_delivered_as_a_cloud_event() -> None:
    assert to_cloud(accept(GRID, "/topic", "any", NOW)) == {
        "specversion": "1.0", "id": "1", "source": "/topic", "type": "T", "subject": "s", "time": GRID["eventTime"], "data": {"n": 1}}


def test_a_cloud_event_keeps_its_attributes_and_extensions() -> None:
    assert to_cloud(accept(CLOUD, "/topic", "CloudEventSchemaV1_0", NOW)) == CLOUD


def test_it_can_be_delivered_in_event_grids_schema() -> None:
    assert to_grid(accept(CLOUD, "/topic", "any", NOW)) == {
        "id": "1", "topic": "/topic", "subject": "", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "data": {"n": 1},
        "dataVersion": "", "metadataVersion": "1"}


def test_binary_data_of_a_cloud_event_is_decoded() -> None:
    assert accept({**without(CLOUD, "data"), "data_base64": "aGk="}, "t", "any", NOW)["data"] == "hi"


@pytest.mark.parametrize("event", [
    "text", 3, None, [], {},
    *(without(GRID, name) for name in ("id", "subject", "eventType", "eventTime")),
    {**GRID, "id": 1}, {**GRID, "id": ""}, {**GRID, "eventTime": "yesterday"},
    *(without(CLOUD, name) for name in ("id", "source", "type")),
    {**CLOUD, "specversion": "0.3"}, {**CLOUD, "time": "yesterday"}, {**CLOUD, "time": 5},
    {**CLOUD, "data_base64": "%"}, {**CLOUD, "data_base64": 5},
])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(InvalidEvents):
        accept(event, "t", "any", NOW)


def test_a_topic_with_a_schema_takes_no_other() -> None:
    with pytest.raises(InvalidEvents, match="EventGridEvent schema"):
        accept(CLOUD, "t", "EventGridSchema", NOW)
    with pytest.raises(InvalidEvents, match="specversion"):
        accept(GRID, "t", "CloudEventSchemaV1_0", NOW)
