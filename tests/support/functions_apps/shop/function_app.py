"""A small shop: a Functions app with routes, keys, timers and every durable feature, for tests of the host."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from durabletask import history, task
from durabletask.scheduled.client import AsyncScheduledTaskClient
from durabletask.scheduled.models import ScheduleCreationOptions

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.configure_scheduled_tasks()
_rewound = threading.Event()
_polls: dict[str, int] = {}
_timers: list[str] = []


def _json(content: Any, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(content), status_code=status, mimetype="application/json")


# --- routes ---------------------------------------------------------------------------------------------------


@app.route(route="items/{id:int:min(1)}", methods=["GET", "DELETE"])
def item(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"route": "item", "method": req.method, **req.route_params})


@app.route(route="items/{name:alpha}/{size:int?}", methods=["GET"])
def named(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"route": "named", **req.route_params, "q": req.params.get("q")})


@app.route(route="items/special", methods=["GET"])
def special(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"route": "special"})


@app.route(route="files/{*path}", methods=["GET", "PUT"])
def files(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"route": "files", "path": req.route_params.get("path"), "length": len(req.get_body())})


@app.route(route="cookie")
def cookie(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("crumbs", headers={"Set-Cookie": "basket=7; Path=/; HttpOnly", "X-Who": req.headers.get("x-who", "")})


@app.route(route="fails")
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("the shop burns")


@app.route(route="keyed", auth_level=func.AuthLevel.FUNCTION)
def keyed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("function")


@app.route(route="managed", auth_level=func.AuthLevel.ADMIN)
def managed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("admin")


@app.route(route="settings")
def settings(req: func.HttpRequest) -> func.HttpResponse:
    return _json({name: os.environ.get(name) for name in ("SHOP_HUB", "SHOP_GREETING", "SHOP_SCHEDULE")})


@app.route(route="closed")
def closed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("a disabled function never runs")


@app.timer_trigger(schedule="%SHOP_SCHEDULE%", arg_name="timer", run_on_startup=False)
def nightly(timer: func.TimerRequest) -> None:
    _timers.append("late" if timer.past_due else "in time")


@app.route(route="timers")
def timers(req: func.HttpRequest) -> func.HttpResponse:
    return _json(_timers)


# --- a slow service to call durably ------------------------------------------------------------------------------


@app.route(route="slow/{job}", methods=["GET", "POST"])
def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Answers 202 with Location and Retry-After twice, and then the result."""
    job = req.route_params["job"]
    _polls[job] = _polls.get(job, 0) + 1
    if _polls[job] < 3:
        return func.HttpResponse(status_code=202, headers={"Location": f"/shop/v1/slow/{job}", "Retry-After": "3600"})
    return _json({"job": job, "polls": _polls[job]})


# --- orchestrations: 1.x style -------------------------------------------------------------------------------------


@app.orchestration_trigger(context_name="context")
def order(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Price every item in parallel, then pay in a sub-orchestration."""
    asked = context.get_input() or {}
    prices = yield context.task_all([context.call_activity("price", name) for name in asked.get("items", [])])
    context.set_custom_status({"priced": len(prices)})
    paid = yield context.call_sub_orchestrator("payment", {"amount": sum(prices)}, f"{context.instance_id}-payment")
    return {"total": sum(prices), "paid": paid, "version": context.version}


@app.orchestration_trigger(context_name="context")
def payment(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    due = context.current_utc_datetime + timedelta(milliseconds=1)
    yield context.create_timer(due)
    return {"amount": context.get_input()["amount"], "parent": context.parent_instance_id, "version": context.version}


@app.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    answer = yield context.wait_for_external_event("approved")
    return {"approved": answer}


@app.orchestration_trigger(context_name="context")
def fragile(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    price = yield context.call_activity("price", "pear")
    mended = yield context.call_activity("mend", "vase")
    return [price, mended]


@app.orchestration_trigger(context_name="context")
def remote(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    answer = yield context.call_http("GET", context.get_input()["uri"])
    return {"status": answer.status_code, "content": json.loads(answer.content)}


@app.orchestration_trigger(context_name="context")
def rounds(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    left = context.get_input()
    price = yield context.call_activity("price", "fig")
    if left > 0:
        context.continue_as_new(left - 1)
        return None
    return {"left": left, "price": price}


@app.orchestration_trigger(context_name="context")
def counting(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    value = yield context.call_entity(df.EntityId("counter", context.get_input()), "add", 5)
    return value


# --- orchestrations: native style ------------------------------------------------------------------------------------


@app.orchestration_trigger(context_name="ctx")
def receipt(ctx: task.OrchestrationContext, request: dict) -> Generator[Any, Any, Any]:
    price = yield ctx.call_activity("price", input=request["item"])
    return {"price": price, "version": ctx.version, "instance": ctx.instance_id}


@app.activity_trigger(input_name="name")
def price(name: str) -> int:
    return len(name)


@app.activity_trigger(input_name="name")
def mend(name: str) -> str:
    """Fails until `/mended` is asked for."""
    if not _rewound.is_set():
        raise ValueError(f"the {name} is broken")
    return f"{name} mended"


@app.route(route="mended", methods=["POST"])
def mended(req: func.HttpRequest) -> func.HttpResponse:
    _rewound.set()
    return func.HttpResponse(status_code=204)


@app.entity_trigger(context_name="context")
def counter(context: df.DurableEntityContext) -> None:
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        value += context.get_input()
        context.set_state(value)
        context.set_result(value)
    elif context.operation_name == "delete":
        context.set_state(None)


# --- the client inside the app -----------------------------------------------------------------------------------------


@app.route(route="client/{operation}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def client(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """What the real client makes of it; the body is its keyword arguments."""
    given = req.get_json()
    match req.route_params["operation"]:
        case "start":
            started = await client.start_new(given["name"], given.get("id"), given.get("input"))
            return client.create_check_status_response(req, started)
        case "schedule":
            at = datetime.fromisoformat(given["at"]) if "at" in given else None
            return _json({"id": await client.schedule_new_orchestration(
                given["name"], instance_id=given.get("id"), input=given.get("input"), start_at=at, tags=given.get("tags"),
                version=given.get("version"))})
        case "status":
            status = await client.get_status(given["id"], show_history=True, show_history_output=True, show_input=True)
            return _json(status.to_json())
        case "event":
            await client.raise_event(given["id"], given["name"], given.get("data"))
            return func.HttpResponse(status_code=202)
        case "wait":
            return await client.wait_for_completion_or_create_check_status_response(req, given["id"], 60000, 100)
        case "tags":
            events = await client.get_orchestration_history(given["id"])
            return _json([event.tags for event in events if isinstance(event, history.ExecutionStartedEvent)])
        case "plan":
            await AsyncScheduledTaskClient(client).create_schedule(ScheduleCreationOptions(
                schedule_id=given["id"], orchestration_name=given["name"], interval=timedelta(seconds=given["seconds"]),
                orchestration_input=given.get("input")))
            return func.HttpResponse(status_code=204)
        case "unplan":
            await AsyncScheduledTaskClient(client).get_schedule_client(given["id"]).delete()
            return func.HttpResponse(status_code=204)
        case "entity":
            found = await client.read_entity_state(df.EntityId(given["name"], given["key"]))
            return _json({"exists": found.entity_exists, "state": found.entity_state})
    return func.HttpResponse(status_code=404)
