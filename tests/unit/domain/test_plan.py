"""The plan's hash: stable over the wire, different for every difference that matters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.plan import Plan, PriorState, plan_differences

PLAN = Plan(
    promotion="p", model="azureml://registries/r/models/m/versions/1", model_digest="sha256:1", environment=None,
    environment_definition="unpinned", workspace="w", endpoint="e", deployment="v1-0", instance_type="Standard_DS3_v2", instances=1,
    steps=[{"traffic": 10, "for": "PT10M"}, {"traffic": 100, "for": "PT0S"}], keep_previous="P1D",
    approval={"quorum": 1, "approvers": ["group:leads"], "expires": "P3D"}, policy="p", policy_hash="sha256:2",
    evidence=[{"gate": "smoke", "outcome": "passed", "digest": "sha256:3"}], prior=PriorState(exists=True, traffic={"b": 100}))


def test_the_hash_of_this_plan_never_changes() -> None:
    """Approvals name it: another way of hashing would void them all."""
    assert PLAN.hash == "sha256:2ef8f6d0d5dda07ddb27567c127d9956e1eaf760816f099edf84c9fda28960a5"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3))


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 100), max_size=4), st.text(), st.dictionaries(st.text(), JSON, max_size=3))
def test_the_hash_survives_the_wire_and_any_order_of_keys(traffic: dict[str, int], text: str, approval: dict[str, Any]) -> None:
    plan = PLAN.model_copy(update={"prior": PriorState(exists=True, traffic=traffic), "model": text, "approval": approval})
    wire = json.loads(json.dumps(plan.model_dump(mode="json")))
    turned = dict(reversed([(key, dict(reversed(value.items())) if isinstance(value, dict) else value) for key, value in wire.items()]))
    assert Plan.model_validate(wire).hash == Plan.model_validate(turned).hash == plan.hash


@pytest.mark.parametrize(("field", "value"), [
    ("model_digest", "sha256:9"), ("endpoint", "other"), ("steps", [{"traffic": 100, "for": "PT0S"}]), ("instances", 2),
    ("approval", "automatic"), ("prior", PriorState(exists=True, traffic={"b": 90, "c": 10})), ("environment_definition", "sha256:8"),
    ("evidence", []), ("policy_hash", "sha256:7"), ("prior", PriorState(exists=True, traffic={"b": 100}, models={"b": "another"})),
])
def test_every_difference_that_matters_is_another_hash_and_is_told(field: str, value: Any) -> None:
    changed = PLAN.model_copy(update={field: value})
    assert changed.hash != PLAN.hash
    assert [text.split(":")[0] for text in plan_differences(PLAN, changed)] == [field]
    assert plan_differences(PLAN, PLAN) == []
