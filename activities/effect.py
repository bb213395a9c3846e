"""What every activity shares: refusals as values, answers of bounded size.

An error that can be tried again (`retryable`) is raised, and so is anything unforeseen; the durable retry
policy repeats the activity. Any other of our errors is an answer: `{"refused": {"type", "message"}}`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps

from pilotage.errors import PilotageError

ANSWER_LIMIT = 16 * 1024
"""Bytes; evidence that is larger belongs in the ledger, by reference."""

log = logging.getLogger("pilotage.activities")


def effect(function: Callable[[dict], dict]) -> Callable[[dict], dict]:
    """Make a plain function an activity: JSON dict in, JSON dict out."""

    @wraps(function)
    def activity(payload: dict) -> dict:
        try:
            answer = function(payload)
        except PilotageError as error:
            if error.retryable:
                log.warning("%s will be tried again: %s: %s", function.__name__, type(error).__name__, error)
                raise
            log.info("%s refused: %s: %s", function.__name__, type(error).__name__, error)
            return {"refused": {"type": type(error).__name__, "message": str(error)[:4000]}}
        size = len(json.dumps(answer))
        if size > ANSWER_LIMIT:
            raise ValueError(f"{function.__name__} answered {size} bytes; the limit is {ANSWER_LIMIT}: keep evidence in the ledger")
        return answer

    return activity
