"""What Azure would see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from activities.names import Activity
from functions.openapi import OPERATIONS
from tests.support.routes import FUNCTIONS

ROOT = Path(__file__).parents[3]
ORCHESTRATORS = {"promotion", "staging", "gate", "approval", "rollout", "rollback", "drift", "retraining", "sweep",
                 "tell_people"}
ROUTES = {
    ("GET", "promotions"), ("POST", "promotions"), ("GET", "promotions/{promotion}"),
    ("GET", "promotions/{promotion}/plan"), ("GET", "plan"), ("GET", "promotions/{promotion}/passport"),
    ("GET", "keys"), ("GET", "audit"), ("GET", "explain"), ("GET", "ui"), ("GET", "ui/promotions/{promotion}"),
    ("POST", "ui/promotions/{promotion}/rollback"),
    ("GET", "ui/approvals/{promotion}"), ("POST", "ui/approvals/{promotion}"), ("GET", "ui/live.js"), ("GET", "openapi.json"),
    ("GET", "channels"), ("POST", "channels/{channel}/test"),
    ("POST", "promotions/{promotion}/retry"),
    ("POST", "promotions/{promotion}/rollback"), ("POST", "approvals/{promotion}/decision"), ("POST", "alerts"),
    ("GET", "approvals/{promotion}/comments"), ("POST", "approvals/{promotion}/comments"), ("POST", "delegations"),
    ("GET", "delegations/{policy}"), ("DELETE", "delegations/{policy}/{delegation}"), ("POST", "promotions/{promotion}/review"),
    ("GET", "promotions/{promotion}/report"), ("POST", "promotions/{promotion}/waivers"),
}


def of(trigger: str) -> set[str]:
    return {name for name, found in FUNCTIONS.items() if found.get_trigger().get_binding_name() == trigger}


def test_every_function_is_listed() -> None:
    assert of("eventGridTrigger") == {"model_events", "drift_alerts"}
    assert of("timerTrigger") == {"deliver_outbox", "start_sweep"}
    assert of("orchestrationTrigger") - {"BuiltIn__HttpPollOrchestrator"} == ORCHESTRATORS
    assert of("activityTrigger") - {"BuiltIn__HttpActivity"} == {activity.value for activity in Activity}
    routes = {(method.value, FUNCTIONS[name].get_trigger().get_dict_repr()["route"])
              for name in of("httpTrigger") for method in FUNCTIONS[name].get_trigger().get_dict_repr()["methods"]}
    assert routes == ROUTES
    assert {(operation.method.upper(), operation.route) for operation in OPERATIONS} == ROUTES, "the OpenAPI description names each"


@pytest.mark.parametrize("name", sorted(of("activityTrigger") - {"BuiltIn__HttpActivity"}))
def test_an_activity_takes_and_gives_a_plain_dict(name: str) -> None:
    """The worker refuses to index `dict[str, Any]`."""
    annotations = FUNCTIONS[name].get_user_function().__annotations__.values()
    assert {annotation if isinstance(annotation, str) else annotation.__name__ for annotation in annotations} <= {"dict", "Context"}


def test_the_entry_only_composes() -> None:
    lines = (ROOT / "function_app.py").read_text().splitlines()
    assert len(lines) <= 60
    assert not [line for line in lines if re.match(r"\s*(async )?def |\s*class ", line)]
