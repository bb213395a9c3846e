"""What the pages show of the services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from emulator.services import Services
from emulator.web import views
from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import Subscriber


def shown(grid: LocalEventGrid) -> dict[str, Any]:
    config = SimpleNamespace(workspaces=())
    return views.events(cast(Services, SimpleNamespace(event_grid=grid.service, config=config)), None, None)


async def test_topics_that_were_made_by_the_api_are_among_them(tmp_path: Path) -> None:
    grid = LocalEventGrid(tmp_path, cast(Subscriber, SimpleNamespace(url="")))
    grid.app_is_up = False
    await grid.start()
    path = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/made-later"
    answer = await grid.http.put(path, params={"api-version": "2022-06-15"}, json={"location": "l"},
                                 headers={"authorization": "Bearer ada"})
    assert answer.status_code == 201, answer.text
    grid.publish("a", topic="made-later")
    topics = {topic["name"]: topic["published"] for topic in shown(grid)["topics"]}
    assert topics == {"alerts": 0, "grid": 0, "cloud": 0, "made-later": 1}
    await grid.stop()


def test_depth_that_can_not_be_written_is_shown_as_far_as_it_can() -> None:
    value: Any = "x"
    for _ in range(900):
        value = [value]
    assert views.pretty(value).startswith("[\n  [")
    assert views.pretty({"loss": float("inf"), "half": "\ud800"}) == '{\n  "loss": "inf",\n  "half": "\\ud800"\n}'


async def test_the_newest_of_very_many_orchestrations_are_shown() -> None:
    """The management API answers `top` of them, the oldest first, and refuses a status that is none."""
    asked: list[Mapping[str, str]] = []

    async def api(path: str, query: Mapping[str, str]) -> Any:
        asked.append(query)
        return [{"instanceId": f"i{number}", "name": "o", "runtimeStatus": "Running", "lastUpdatedTime": "2026-01-02T00:00:00Z",
                 "createdTime": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z"} for number in range(1300)][:int(query["top"])]

    services = cast(Services, SimpleNamespace(orchestrations=api))
    found = await views.orchestrations(services, "nonsense")
    assert ([item["id"] for item in found["items"][:2]], len(found["items"]), found["more"]) == (["i1299", "i1298"], views.SHOWN, 1200)
    assert (found["status"], "runtimeStatus" in asked[0]) == (None, False)
    await views.orchestrations(services, "Failed")
    assert asked[1]["runtimeStatus"] == "Failed"


async def test_every_delivery_is_counted(tmp_path: Path) -> None:
    grid = LocalEventGrid(tmp_path, cast(Subscriber, SimpleNamespace(url="")))
    grid.subscribe()
    grid.app_is_up = False
    await grid.start()
    grid.publish(*(str(number) for number in range(1200)))
    assert grid.service.delivery_counts() == {"pending": 1200}
    assert (len(shown(grid)["deliveries"]), shown(grid)["deliveries"][0]["number"]) == (views.SHOWN, 1200)
    await grid.stop()
