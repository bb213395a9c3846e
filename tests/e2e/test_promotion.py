"""A registered model's way to production and back, on the whole platform."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.journey import Journey, client
from tests.support.light_model import HOURS, WINTER, Line
from tests.support.platform import wait_for

pytestmark = pytest.mark.xdist_group("e2e")
Lines = Callable[[str], Journey]


def test_a_good_version_goes_live_and_the_next_one_beside_it(journey: Lines) -> None:
    line = journey("straight")
    first = line.promote("1")
    found = line.get(first)
    assert line.traffic() == {found["deployment"]: 100}
    assert line.score(1000.0) == (200, [pytest.approx(WINTER.intercept + WINTER.slope * 1000.0)])

    # The evidence: gapless, chained, each effect announced before it was made, and one digest all the way.
    assert found["passport"]["problems"] == []
    assert [step["sequence"] for step in found["steps"]] == list(range(len(found["steps"])))
    steps = [(step["kind"], step["step"]) for step in found["steps"]]
    for effect in ("share.models", "share.environments", "staging.deploy", "rollout.deploy", "rollout.traffic"):
        assert steps.index(("intent", effect)) < steps.index(("outcome", effect))
    assert {gate["outcome"] for gate in found["gates"]} == {"passed"}
    pinned = line.step(first, "pin")["model"]["digest"]["value"]
    assert line.step(first, "share.models")["digest"] == pinned == found["plan"]["model_digest"]
    assert found["plan"]["model"] == f"azureml://registries/shared-registry/models/{line.line}/versions/1"
    # Staging was taken down, and what serves is the registry's version.
    assert line.deployments("STAGING") == []
    served = client(line.platform, "PROD").online_deployments.get(found["deployment"], line.line)
    assert str(served.model).endswith(f"registries/shared-registry/models/{line.line}/versions/1")

    slightly_better = Line(slope=WINTER.slope, intercept=WINTER.intercept + 1)
    second = line.promote("2", slightly_better)
    green = line.get(second)["deployment"]
    assert line.traffic() == {green: 100}
    assert sorted([green, found["deployment"]]) == line.deployments("PROD"), "blue is kept for a rollback"
    assert line.step(second, "rollout.last_good")["traffic"] == {found["deployment"]: 100}

    # An older version does not displace a newer one.
    by_hand = line.call("POST", "/api/promotions", json={"model": line.line, "version": "1", "workspace": "mlw-dev"})
    assert by_hand.status_code == 200, "it was promoted before: nothing is started twice"
    assert by_hand.json()["id"] == first


def test_a_version_that_misses_its_metric_never_reaches_production(journey: Lines) -> None:
    line = journey("broken")
    line.register("1", HOURS)
    promotion = line.started("1")
    found = line.reach(promotion, "failed")
    assert "mae" in found["message"]
    assert "over the limit" in found["message"]
    assert line.deployments("STAGING") == []
    assert line.line not in [endpoint.name for endpoint in client(line.platform, "PROD").online_endpoints.list()]
    assert not any(message["promotion"] == promotion for message in line.platform.mailbox("machines"))


def test_a_version_without_the_policys_tags_is_skipped(journey: Lines) -> None:
    line = journey("tagless")
    line.register("1", tags={"candidate": "false"})
    found = line.reach(line.started("1"), "skipped")
    assert "candidate=true (found false)" in found["message"]


def test_a_breach_after_the_switch_restores_the_exact_split(journey: Lines) -> None:
    line = journey("breach")
    first = line.promote("1")
    blue = line.get(first)["deployment"]
    before = line.traffic()
    line.register("2", WINTER)
    second = line.started("2")
    line.approve(second)
    line.step(second, "rollout.traffic")
    wait_for("half of the traffic on green", lambda: True if len(line.traffic()) == 2 else None)
    line.platform.fault(method="POST", path=f"/endpoints/{line.line}/score", action="status", status=500, count=1000)
    try:
        found = line.bake(second, until=("rolled_back",))
    finally:
        line.platform.clear_faults()
    assert "answered 500" in found["message"]
    assert line.traffic() == before == {blue: 100}
    assert line.score(500.0)[0] == 200


def test_one_call_rolls_back_even_while_the_rollout_bakes(journey: Lines) -> None:
    line = journey("rollback")
    first = line.promote("1")
    before = line.traffic()
    line.register("2")
    second = line.started("2")
    line.approve(second)
    wait_for("half of the traffic on green", lambda: True if len(line.traffic()) == 2 else None)
    answer = line.call("POST", f"/api/promotions/{second}/rollback", json={"reason": "test"})
    assert answer.status_code == 202, answer.text
    line.reach(second, "rolled_back")
    wait_for("the exact split of before", lambda: True if line.traffic() == before else None)
    again = line.call("POST", f"/api/promotions/{second}/rollback", json={"reason": "test"})
    assert again.status_code == 200, "asking again starts nothing"
    assert line.get(first)["phase"] == "succeeded"


def test_a_promotion_that_is_terminated_leaves_nothing_behind(journey: Lines) -> None:
    line = journey("swept")
    held = line.platform.fault(method="POST", path=f"/endpoints/{line.line}-stg/score", action="hold", when="before", count=1000)
    line.register("1")
    promotion = line.started("1")
    wait_for("a gate that is held", lambda: True if line.platform.holding(held) else None)
    assert line.deployments("STAGING") != []
    keys = json.loads((line.platform.state / "functions" / "keys.json").read_text())
    line.call("POST", f"/runtime/webhooks/durabletask/instances/{promotion}/terminate", token="",
              params={"code": keys["master"], "reason": "test"}).raise_for_status()
    line.platform.control("DELETE", f"/faults/{held}")

    def swept() -> bool | None:
        line.platform.advance("PT15M")
        return True if line.deployments("STAGING") == [] else None

    wait_for("the sweeper", swept)
    assert line.get(promotion)["phase"] == "terminated"
    retried = line.call("POST", f"/api/promotions/{promotion}/retry", json={})
    assert retried.status_code == 202, retried.text
    assert line.get(retried.json()["id"])["attempt"] == 2
    line.reach(retried.json()["id"], "awaiting_approval")
