"""What every activity shares: refusals as values, the rest raised, answers of bounded size; and that all are there."""

from __future__ import annotations

import json

import pytest

from activities.effect import ANSWER_LIMIT, effect
from activities.names import Activity
from activities.registry import ACTIVITIES
from pilotage import errors
from pilotage.errors import PilotageError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PilotageError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_can_be_tried_again_is_raised_and_the_rest_is_an_answer(kind: type[PilotageError]) -> None:
    @effect
    def activity(payload: dict) -> dict:
        raise kind("because")

    if kind.retryable:
        with pytest.raises(kind, match="because"):
            activity({})
    else:
        assert activity({}) == {"refused": {"type": kind.__name__, "message": "because"}}


def test_what_nobody_foresaw_is_raised() -> None:
    @effect
    def activity(payload: dict) -> dict:
        return {"value": payload["absent"]}

    with pytest.raises(KeyError):
        activity({})


def test_an_answer_has_its_limit() -> None:
    @effect
    def activity(payload: dict) -> dict:
        return {"text": "x" * payload["size"]}

    overhead = len(json.dumps({"text": ""}))
    assert len(json.dumps(activity({"size": ANSWER_LIMIT - overhead}))) == ANSWER_LIMIT
    with pytest.raises(ValueError, match="keep evidence in the ledger"):
        activity({"size": ANSWER_LIMIT - overhead + 1})


def test_a_long_refusal_is_cut() -> None:
    @effect
    def activity(payload: dict) -> dict:
        raise errors.InvalidInput("x" * 100_000)

    assert len(json.dumps(activity({}))) < ANSWER_LIMIT


def test_every_activity_that_orchestrations_may_call_is_there_under_its_name() -> None:
    assert set(ACTIVITIES) == {activity.value for activity in Activity}
    for name, function in ACTIVITIES.items():
        assert function.__name__ == name
        assert function.__annotations__ == {"payload": "dict", "return": "dict"}, "the Functions worker refuses any other annotation"
        assert function.__doc__ or name == "cancel_job"
