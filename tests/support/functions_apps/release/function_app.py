"""A small app whose orchestrations have a bit of everything: for tests of the pages that show them."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.orchestration_trigger(context_name="context")
def release(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Build and test side by side, bake for a month, then wait for a word at most a week."""
    parts = yield context.task_all([context.call_activity("build", "wheel"), context.call_activity("check", "tests")])
    context.set_custom_status("baking")
    yield context.create_timer(context.current_utc_datetime + timedelta(days=30))
    context.set_custom_status("waiting for a word")
    deadline = context.create_timer(context.current_utc_datetime + timedelta(days=7))
    word = context.wait_for_external_event("word")
    first = yield context.task_any([word, deadline])
    if not deadline.is_completed:
        deadline.cancel()
    return {"parts": parts, "word": word.result if first == word else None}


@app.orchestration_trigger(context_name="context")
def doomed(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_activity("fall", None))


@app.activity_trigger(input_name="name")
def build(name: str) -> str:
    return f"{name} built"


@app.activity_trigger(input_name="name")
def check(name: str) -> str:
    return f"{name} <b>passed</b>"


@app.activity_trigger(input_name="name")
def fall(name: Any) -> None:
    raise RuntimeError("it was bound to happen")


@app.orchestration_trigger(context_name="context")
def busy(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_activity("linger", context.get_input()))


@app.activity_trigger(input_name="seconds")
def linger(seconds: float) -> str:
    time.sleep(seconds)
    return "at last"


@app.event_grid_trigger(arg_name="event")
def heard(event: func.EventGridEvent) -> None:
    if event.event_type == "Bad":
        raise ValueError("this event is refused")
