"""Policies: durations, what is refused, what the guardrails hold, and the way over the durable wire and back."""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pilotage.domain.canonical import digest
from pilotage.domain.gate_specs import MetricGate
from pilotage.domain.policy import Guardrails, Match, PromotionPolicy, same_endpoint
from pilotage.domain.strict import LONGEST, format_duration, parse_duration
from tests.support.scene import POLICY, policy

SECONDS = st.integers(0, int(LONGEST.total_seconds()))


# --- durations ------------------------------------------------------------------------------------

@given(SECONDS)
def test_durations_come_back_as_they_went(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    text = format_duration(duration)
    assert parse_duration(text) == duration
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(("text", "duration"), [
    ("PT0S", timedelta(0)), ("P1W", timedelta(days=7)), ("P1DT1H1M1S", timedelta(days=1, hours=1, minutes=1, seconds=1)),
    ("PT90M", timedelta(minutes=90)), ("P3650D", LONGEST),
])
def test_iso_8601(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", [
    "", "P", "PT", "P1DT", "1D", "P1.5D", "P-1D", "-P1D", "P1H", "PT1D", "p1d", " P1D", "P1D\n", "P1M", "P1Y", "P\u0661D", 600, None, True,
    "P3651D", "PT315360001S", "P999999999999W", "P" + "9" * 400 + "D",
])
def test_what_is_no_duration_or_no_time_to_wait_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.text(alphabet="P0123456789WDTHMS.-", max_size=12))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert timedelta(0) <= parse_duration(text) <= LONGEST


# --- the wire -------------------------------------------------------------------------------------

@st.composite
def policies(draw: st.DrawFn) -> PromotionPolicy:
    shares = [*sorted(draw(st.sets(st.integers(1, 99), max_size=4))), 100]
    steps = [{"traffic": share, "for": format_duration(timedelta(seconds=draw(SECONDS)))} for share in shares]
    bound = draw(st.one_of(st.integers(-10, 10), st.floats(allow_nan=False, allow_infinity=False)))
    approval = draw(st.sampled_from(["automatic", {"quorum": 2, "approvers": ["user:a", "group:b"], "expires": "P1D"}]))
    return policy(**{
        "stages.1.rollout.steps": steps, "stages.1.approval": approval, "team": draw(st.sampled_from([None, "forecasting"])) or "t",
        "stages.0.gates": [{"metric": {"metric": "mae", "holdout": "azureml:h:1", "target": draw(st.text()), "max": bound}}],
    })


@given(policies())
def test_a_policy_is_the_same_after_the_wire(wanted: PromotionPolicy) -> None:
    """Its hash too: what is approved under it must be found again."""
    text = json.loads(json.dumps(wanted.wire()))
    again = PromotionPolicy.from_wire(text)
    assert again == wanted
    assert digest(again.wire()) == digest(wanted.wire()) == digest(text)


# --- what is refused ------------------------------------------------------------------------------

@pytest.mark.parametrize(("changes", "says"), [
    ({"stages.1.approval": None}, "approval rule"),
    ({"stages.0.rollout": {}}, "belongs to the production stage"),
    ({"stages.0.gates": []}, "at least one gate"),
    ({"stages.0.gates": [{}]}, "exactly one kind"),
    ({"stages.0.gates": [{"smoke": {"samples": "azureml:a:1"}, "metric": {"metric": "mae", "holdout": "azureml:a:1", "target": "y",
                                                                        "max": 1}}]}, "exactly one kind"),
    ({"stages.1.gates": [{"smoke": {"samples": "azureml:a:1"}}]}, "belong to the staging stage"),
    ({"stages.1.rollout.steps": []}, "at least 1 item"),
    ({"stages.1.rollout.steps": [{"traffic": 10}]}, "last step must send 100"),
    ({"stages.1.rollout.steps": [{"traffic": 50}, {"traffic": 10}, {"traffic": 100}]}, "more traffic at each step"),
    ({"stages.1.rollout.steps": [{"traffic": 100}, {"traffic": 100}]}, "more traffic at each step"),
    ({"stages.1.rollout.steps": [{"traffic": 0}, {"traffic": 100}]}, "greater than or equal to 1"),
    ({"stages.1.rollout.steps": [{"traffic": "100"}]}, "valid integer"),
    ({"stages.1.approval.expires": "PT0S"}, "longer than zero"),
    ({"stages.1.approval.quorum": 0}, "greater than or equal to 1"),
    ({"stages.1.approval.approvers": []}, "at least 1 item"),
    ({"stages.1.approval.approvers": ["ada@example.org"]}, "should match pattern"),
    ({"stages.1.workspace": "mlw-staging", "stages.1.target.endpoint": "AIR-TIME-stg"}, "must not share an endpoint"),
    ({"stages.1.target.endpoint": "a" * 33}, "should match pattern"),
    ({"environment": "air-time-env@latest"}, "is not an asset"),
    ({"stages.0.gates": [{"smoke": {"samples": "azureml:requests"}}]}, "is not an asset"),
    ({"on_drift.job": None}, "needs job"),
    ({"scenario": "vision"}, "does not retrain by itself"),
    ({"match.registry": "shared-registry"}, "exactly one of workspace and registry"),
    ({"on_drift.coalesce": "P9999999999D"}, "longer than"),
    ({"typo": 1}, "Extra inputs are not permitted"),
])
def test_what_is_refused_says_why(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        policy(**changes)


@pytest.mark.parametrize("bound", [float("nan"), float("inf"), -float("inf")])
def test_a_bound_is_a_number(bound: float) -> None:
    """JSON has no NaN: the policy would arrive in its promotion without the bound."""
    with pytest.raises(ValidationError, match="finite"):
        MetricGate(metric="mae", holdout="azureml:h:1", target="y", max=bound)


def test_stages_come_in_their_order() -> None:
    text = copy.deepcopy(POLICY)
    text["stages"].reverse()
    with pytest.raises(ValidationError, match="staging, then production"):
        PromotionPolicy.model_validate(text)


def test_the_data_that_is_read_is_named_once_each() -> None:
    assert policy().data_texts() == ["azureml:requests@latest", "azureml:holdout@latest"]


# --- matching -------------------------------------------------------------------------------------

@pytest.mark.parametrize(("about", "covers"), [
    ({"workspace": "MLW-Dev", "registry": None, "model": "AIR-time-2"}, True),
    ({"workspace": "mlw-dev", "registry": None, "model": "sea-time"}, False),
    ({"workspace": "mlw-other", "registry": None, "model": "air-time"}, False),
    ({"workspace": None, "registry": "mlw-dev", "model": "air-time"}, False),
    ({"workspace": None, "registry": None, "model": "air-time"}, False),
])
def test_covering(about: dict[str, Any], covers: bool) -> None:
    assert Match(workspace="mlw-dev", model="air-*").covers(**about) is covers


@pytest.mark.parametrize(("tags", "missing"), [
    ({"candidate": "true", "any": ""}, []),
    ({"candidate": "True", "any": "x"}, ["candidate=true (found True)"]),
    ({"any": "x"}, ["candidate=true (absent)"]),
    ({"candidate": "true"}, ["any=* (absent)"]),
])
def test_tags(tags: dict[str, str], missing: list[str]) -> None:
    assert Match(workspace="w", model="m", tags={"candidate": "true", "any": "*"}).missing_tags(tags) == missing


@pytest.mark.parametrize(("first", "second", "clash"), [
    ({}, {}, True),
    ({}, {"stages.1.target.endpoint": "other"}, False),
    ({}, {"stages.1.target.endpoint": "AIR-TIME", "stages.1.workspace": "MLW-PROD"}, True),
    ({}, {"stages.1.workspace": "mlw-other"}, False),
    ({"match.model": "air-*"}, {"match.model": "*-time"}, True),
    ({"match.model": "air-*"}, {"match.model": "Air-Time"}, True),
    ({"match.model": "air-*"}, {"match.model": "sea-*"}, False),
])
def test_two_policies_for_one_model_and_endpoint_are_seen(first: dict[str, Any], second: dict[str, Any], clash: bool) -> None:
    assert same_endpoint(policy(**first), policy(**second)) is clash
    assert same_endpoint(policy(**second), policy(**first)) is clash


# --- guardrails -----------------------------------------------------------------------------------

@pytest.mark.parametrize(("floors", "changes", "says"), [
    ({}, {}, None),
    ({}, {"stages.1.approval": "automatic"}, "ask for people"),
    ({"allow_automatic_production": True}, {"stages.1.approval": "automatic"}, None),
    ({"min_quorum": 2}, {}, "2 or more"),
    ({"max_approval_expiry": "P1D"}, {}, "allow P1D at most"),
    ({"require_environment": True}, {"environment": None}, "pinned environment"),
])
def test_a_policy_below_the_floors_is_refused(floors: dict[str, Any], changes: dict[str, Any], says: str | None) -> None:
    found = Guardrails.model_validate({"apiVersion": "pilotage/v1", **floors}).violations(policy(**changes))
    assert (found == []) if says is None else (says in found[0])
