"""How orchestrations call activities and wait for long Azure operations.

Activities answer with a dict. What can be tried again is raised by the activity and retried by the
durable retry policy; what can't comes back as `{"refused": {"type", "message"}}`, because a durable
retry policy can't tell the two apart. Both reach the orchestration as `StepFailed`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from pilotage.errors import PilotageError

Steps = Generator[task.Task[Any], Any, Any]

# Bounded by attempts: RetryPolicy.retry_timeout compares with the wall clock and is not replay-safe.
RETRY = task.RetryPolicy(first_retry_interval=timedelta(seconds=2), backoff_coefficient=2,
                         max_retry_interval=timedelta(minutes=1), max_number_of_attempts=8)
# Evidence and rollbacks outlast a long outage of storage or of Azure: about five hours.
PATIENT = task.RetryPolicy(first_retry_interval=timedelta(seconds=2), backoff_coefficient=2,
                           max_retry_interval=timedelta(minutes=5), max_number_of_attempts=60)


class StepFailed(PilotageError):
    """A step ended without its effect, after every retry that could have helped."""

    def __init__(self, activity: str, kind: str, message: str) -> None:
        super().__init__(message)
        self.activity, self.kind = activity, kind


def call(
    ctx: task.OrchestrationContext, activity: Activity, payload: dict[str, Any], retry: task.RetryPolicy = RETRY
) -> Steps:
    """Run one activity; returns its dict, raises StepFailed."""
    return (yield from answer(activity, start(ctx, activity, payload, retry)))


def start(
    ctx: task.OrchestrationContext, activity: Activity, payload: dict[str, Any], retry: task.RetryPolicy = RETRY
) -> task.Task[Any]:
    """Schedule an activity without waiting for it, to run several side by side."""
    return ctx.call_activity(activity.value, input=payload, retry_policy=retry)


def answer(activity: Activity, pending: task.Task[Any]) -> Steps:
    """Wait for a started activity; returns its dict, raises StepFailed."""
    try:
        result = yield pending
    except task.TaskFailedError as failure:
        raise StepFailed(activity.value, failure.details.error_type.rsplit(".", 1)[-1], failure.details.message) from failure
    refused = result.get("refused")
    if refused:
        raise StepFailed(activity.value, refused["type"], refused["message"])
    return result


def child_failed(name: str, failure: task.TaskFailedError) -> StepFailed:
    """A sub-orchestration that died, as the step that it was."""
    return StepFailed(name, failure.details.error_type.rsplit(".", 1)[-1], failure.details.message)


def poll(
    ctx: task.OrchestrationContext, activity: Activity, payload: dict[str, Any], done: Callable[[dict[str, Any]], bool],
    timeout: timedelta, retry: task.RetryPolicy = RETRY,
) -> Steps:
    """Look at a long operation until `done(answer)`, on durable timers: nothing runs while Azure works.

    Raises StepFailed of kind `Timeout` after `timeout`. Intervals grow with the time elapsed, from
    one second to one minute, so that short operations are quick and long ones cheap.
    """
    begun = ctx.current_utc_datetime
    while True:
        state = yield from call(ctx, activity, payload, retry)
        if done(state):
            return state
        elapsed = ctx.current_utc_datetime - begun
        if elapsed >= timeout:
            raise StepFailed(activity.value, "Timeout", f"not done after {timeout}: last seen {state}")
        yield ctx.create_timer(poll_interval(elapsed))


def poll_interval(elapsed: timedelta) -> timedelta:
    """A quarter of the time already waited, between one second and one minute."""
    return timedelta(seconds=min(60.0, max(1.0, elapsed.total_seconds() / 4)))
