"""The Event Grid webhook of eventGridTrigger functions: `/runtime/webhooks/eventgrid?functionName=`."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.functions_host import protos
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.runtime import AppRuntime, Function

log = logging.getLogger("emulator.eventgrid")


class EventGridWebhook:
    def __init__(self, runtime: AppRuntime, bridge: DurableBridge) -> None:
        self._runtime, self._bridge = runtime, bridge

    async def answer(self, request: Request) -> Response:
        """202 once every event is handled; 500 when a function failed, so that Event Grid delivers again."""
        name = request.query_params.get("functionName", "")
        function = self._runtime.find(name)
        if function is None or function.trigger["type"] != "eventGridTrigger":
            return Response(f"cannot find function: '{name}'", status_code=404)
        if request.method == "OPTIONS":  # the CloudEvents handshake
            origin = request.headers.get("webhook-request-origin", "*")
            return Response(status_code=200, headers={"webhook-allowed-origin": origin, "webhook-allowed-rate": "*"})
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return Response(status_code=202)
        try:
            events = json.loads(await request.body())
        except (ValueError, RecursionError):
            return Response("the body is not JSON", status_code=400)
        events = events if isinstance(events, list) else [events]
        if not all(isinstance(event, dict) for event in events):
            return Response("an event is a JSON object", status_code=400)
        if kind == "subscriptionvalidation":
            try:
                return JSONResponse({"validationResponse": events[0]["data"]["validationCode"]})
            except (IndexError, KeyError, TypeError):
                return Response("the validation event carries no validationCode", status_code=400)
        if kind != "notification" and not request.headers.get("content-type", "").startswith("application/cloudevents"):
            return Response("aeg-event-type must be SubscriptionValidation, Notification or Unsubscribe", status_code=400)
        results = await asyncio.gather(*(self._run(function, event) for event in events), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                log.error("%s failed: %s\n%s", function.name, result, getattr(result, "stack", ""))
                return Response(str(result), status_code=500)
        return Response(status_code=202)

    async def _run(self, function: Function, event: dict[str, Any]) -> None:
        inputs = {function.trigger["name"]: protos.TypedData(json=json.dumps(event)), **self._bridge.clients(function)}
        await self._runtime.invoke(function, inputs, {"data": protos.TypedData(json=json.dumps(event.get("data")))})
