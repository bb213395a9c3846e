"""Whatever request fails in whatever way, the promotion ends as it would have, and nothing was done twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fault.matrix import CASES, SAMPLE, Case
from tests.support.journey import Journey

pytestmark = pytest.mark.xdist_group("fault")


@pytest.mark.parametrize("case", [
    pytest.param(case, id=case.name, marks=() if case.number in SAMPLE else pytest.mark.exhaustive) for case in CASES])
def test_it_ends_as_it_would_have(faulty: Callable[[str], Journey], case: Case) -> None:
    line = faulty(case.line)
    fault = line.platform.fault(**case.rule())
    line.register("1")
    promotion = line.started("1")
    line.approve(promotion)
    found = line.bake(promotion)
    rule = next(item for item in line.platform.control("GET", "/faults")["items"] if item["id"] == fault)
    line.platform.clear_faults()
    assert rule["hits"] > 0, "the fault was met"
    assert line.deployments("PROD") == [found["deployment"]]
    assert line.deployments("STAGING") == []
    assert line.traffic() == {found["deployment"]: 100}
    assert found["passport"]["problems"] == []
    assert line.score(100.0)[0] == 200
    assert len(line.promotions()) == 1
