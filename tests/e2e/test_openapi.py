"""Requests made up from the OpenAPI description: no route breaks, and each answers what the description says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from functions.openapi import description
from pilotage import bootstrap
from pilotage.domain.access import Actor
from pilotage.domain.phase import PromotionPhase
from tests.support.desk import Desk
from tests.support.fakes import AzureMl
from tests.support.http_host import serving
from tests.support.routes import DurableClient

pytestmark = pytest.mark.xdist_group("openapi")
ROLES = [f"Pilotage.{role}" for role in ("Reader", "Operator", "Approver", "Admin")]
# Without its security scheme: tokens that are made up are tried in unit/functions/test_access.py.
schema = schemathesis.openapi.from_dict({name: value for name, value in description().items() if name != "security"})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    desk = Desk()
    desk.identity.actors["root"] = Actor(object_id="oid-root", roles=ROLES, groups=["ml-leads"])
    desk.open_approval(desk.promotion(PromotionPhase.AWAITING_APPROVAL))
    azure = AzureMl(desk.clock)  # a plan reads it; it has nothing registered
    bootstrap.use(replace(desk.app(), registry=azure, deployments=azure, jobs=azure))
    with serving(DurableClient(desk.orchestrator)) as found:
        yield found
    bootstrap.use(None)


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_route_breaks(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(
        base_url=address, headers={"Authorization": "Bearer root"}, allow_redirects=False, timeout=20,
        checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance])
