"""`kill -9` of the whole platform at named points; started again, the promotion ends as it would have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.fault.points import POINTS, Point
from tests.support.journey import Journey
from tests.support.platform import wait_for

pytestmark = pytest.mark.xdist_group("fault")
Lines = Callable[[str], Journey]


def _is_whole(line: Journey, promotion: str) -> None:
    """Live, once, with nothing left over, and the passport says so without a gap."""
    found = line.get(promotion)
    assert found["phase"] == "succeeded", found["message"]
    assert line.deployments("PROD") == [found["deployment"]]
    assert line.deployments("STAGING") == []
    assert line.traffic() == {found["deployment"]: 100}
    assert found["passport"]["problems"] == []
    effects = Counter(step["step"] for step in found["steps"] if step["kind"] == "intent")
    assert all(count == 1 for effect, count in effects.items() if effect != "rollout.traffic"), effects
    assert [p["id"] for p in line.promotions()] == [promotion]
    messages = [m for m in line.platform.mailbox("machines") if m["promotion"] == promotion and m["kind"] == "awaiting_approval"]
    assert len({m["decision_url"] for m in messages}) <= 1
    assert line.score(100.0)[0] == 200


@pytest.mark.parametrize("points", [POINTS[1::3], pytest.param(POINTS, marks=pytest.mark.exhaustive)], ids=["three", "nine"])
def test_killed_at_points_in_turn_it_goes_on(faulty: Lines, points: list[Point]) -> None:
    """One promotion that dies several times. Each life's fault is there before its first request."""
    line = faulty(f"mortal{len(points)}")
    line.platform.fault(**points[0].rule(line.line))
    line.register("1")
    promotion = line.started("1")
    for point, following in zip(points, [*points[1:], None], strict=True):
        if point.approved and line.get(promotion)["phase"] != "rolling_out":
            line.approve(promotion)
        wait_for(f"{point.name} being held", lambda: True if line.platform.is_holding() else None)
        line.platform.kill()
        line.platform.restart(faults=[following.rule(line.line)] if following else [])
    line.bake(promotion)
    _is_whole(line, promotion)


@pytest.mark.exhaustive
@pytest.mark.parametrize("point", POINTS, ids=[point.name for point in POINTS])
def test_killed_here_it_goes_on(faulty: Lines, point: Point) -> None:
    line = faulty(point.line)
    line.platform.fault(**point.rule(line.line, point.skip))
    line.register("1")
    promotion = line.started("1")
    if point.approved:
        line.approve(promotion)
    wait_for(f"{point.name} being held", lambda: True if line.platform.is_holding() else None)

    line.platform.kill()
    line.platform.restart()

    if not point.approved:
        line.approve(promotion)
    line.bake(promotion)
    _is_whole(line, promotion)


@pytest.mark.exhaustive  # replay/test_crashes kills a rollback after each of its changes, by default
def test_killed_while_a_rollback_has_moved_the_traffic(faulty: Lines) -> None:
    """The tenth point: the split is restored, nothing is recorded of it, and everything dies."""
    line = faulty("lossy")
    first = line.promote("1")
    before = line.traffic()
    second = line.promote("2")
    line.platform.fault(method="PUT", path=f"/onlineEndpoints/{line.line}$", when="after", action="hold")
    assert line.call("POST", f"/api/promotions/{second}/rollback", json={}).status_code == 202
    wait_for("the rollback being held", lambda: True if line.platform.is_holding() else None)
    line.platform.kill()
    line.platform.restart()
    wait_for("the rollback's end", lambda: True if line.get(second)["phase"] == "rolled_back" else None)
    assert line.traffic() == before
    assert line.get(first)["phase"] == "succeeded"
