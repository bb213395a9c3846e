"""Azure Monitor over HTTP: metrics, metric definitions and metric namespaces of a resource, for azure-monitor-query.

`GET {resource}/providers/Microsoft.Insights/metrics` and its siblings; the caller needs `Microsoft.Insights/metrics/read`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from emulator.access import wrong_audience
from emulator.azure_ml import AzureMl
from emulator.azure_ml.errors import AzureMlError, Forbidden, NotFound
from emulator.azure_ml.store import Resource
from emulator.azure_monitor.definitions import METRICS, Metric
from emulator.azure_monitor.query import BadQuery, Query, parse
from emulator.azure_monitor.series import Observation, observed, series
from emulator.azure_monitor.usage import Running, Usage
from emulator.context import Context, Unauthorized

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 60.0
"""Real time between two measurements of scoring processes: Azure reports utilization once a minute."""
_PATH = re.compile(
    r"^(?P<resource>/subscriptions/.+)/providers/Microsoft\.Insights/(?P<what>metrics|metricDefinitions|metricNamespaces)/?$",
    re.IGNORECASE)
_TYPE = re.compile(r"/providers/(?P<provider>[^/]+)(?P<rest>(?:/[^/]+/[^/]+)+)$", re.IGNORECASE)


class _OwnPaths(Route):
    """Leaves the paths of other providers alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not _PATH.match(scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)


class AzureMonitor:
    """Implements the `Service` protocol; it reads what Azure ML records, and writes nothing but its own samples."""

    def __init__(self, context: Context, azure_ml: AzureMl) -> None:
        self._context, self._azure_ml = context, azure_ml
        self._usage = Usage(azure_ml.store)
        self._sampler: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        return [_OwnPaths("/subscriptions/{rest:path}", self.serve, methods=["GET"])]

    async def start(self) -> None:
        self._sampler = asyncio.create_task(self._sample_always(), name="scoring usage")

    async def stop(self) -> None:
        self._stopping.set()
        if self._sampler is not None:
            await self._sampler

    async def reset(self) -> None:
        """Azure ML, whose store holds the samples, empties it."""

    # --- HTTP ---------------------------------------------------------------------------------------

    async def serve(self, request: Request) -> Response:
        found = _PATH.match(request.url.path)
        assert found is not None  # the route matched
        resource, what = found["resource"], found["what"]
        try:
            caller = self._context.identity.caller(request.headers.get("authorization"))
            if (wrong := wrong_audience(caller, self._context.base_url)) is not None:
                return _unauthenticated("InvalidAuthenticationTokenAudience", wrong)
            self._azure_ml.permissions.require(caller, f"Microsoft.Insights/{what}/read", resource)
            body, namespace = self._resource(resource)
            match what.lower():
                case "metricnamespaces":
                    return JSONResponse({"value": [_namespace(resource, namespace)] if namespace in METRICS else []})
                case "metricdefinitions":
                    wanted = request.query_params.get("metricnamespace") or namespace
                    if wanted.lower() != namespace.lower():
                        raise BadQuery(f"The namespace {wanted} is not one of {namespace}.")
                    return JSONResponse({"value": [metric.as_dict(resource, namespace) for metric in METRICS.get(namespace, ())]})
            query = parse(request.query_params, namespace, self._context.clock.now())
            await self._sample()
            return JSONResponse(await asyncio.to_thread(self._answer, resource, body, namespace, query))
        except Unauthorized as problem:
            return _unauthenticated("AuthenticationFailed", f"Authentication failed. {problem}")
        except (Forbidden, NotFound) as refusal:
            return JSONResponse({"error": {"code": refusal.code, "message": refusal.message}}, refusal.status)
        except BadQuery as problem:
            return JSONResponse({"code": "BadRequest", "message": str(problem)}, 400)  # without an envelope, as Azure Monitor does
        except AzureMlError as refusal:
            return JSONResponse({"code": refusal.code, "message": refusal.message}, refusal.status)
        except Exception as problem:
            logger.exception("%s broke", request.url.path)
            return JSONResponse({"code": "InternalServerError", "message": f"{type(problem).__name__}: {problem}"}, 500)

    def _resource(self, resource: str) -> tuple[Resource, str]:
        """What a path names, and its type, which is the namespace of its metrics; raises NotFound."""
        found = _TYPE.search(resource)
        if found is None:
            raise NotFound(f"The resource {resource} was not found.")
        namespace = "/".join((found["provider"], *found["rest"].split("/")[1::2]))
        namespace = next((known for known in METRICS if known.lower() == namespace.lower()), namespace)
        body = self._azure_ml.store.get(resource)
        if body is None:
            scope = self._azure_ml.scopes.of_id(resource)
            if scope.id.lower() != resource.lower():
                raise NotFound(f"The Resource '{namespace}/{resource.rpartition('/')[2]}' was not found.")
            body = self._azure_ml.scopes.resource(scope)
        return body, namespace

    def _answer(self, resource: str, body: Resource, namespace: str, query: Query) -> dict[str, Any]:
        return {
            "cost": 0, "timespan": f"{query.start:%Y-%m-%dT%H:%M:%SZ}/{query.end:%Y-%m-%dT%H:%M:%SZ}",
            **({} if query.interval == "FULL" else {"interval": query.interval}),
            "namespace": namespace, "resourceregion": body.get("location") or self._context.config.location,
            "value": [{
                "id": f"{resource}/providers/Microsoft.Insights/metrics/{metric.name}", "type": "Microsoft.Insights/metrics",
                "name": {"value": metric.name, "localizedValue": metric.display}, "displayDescription": metric.description,
                "unit": metric.unit, "timeseries": series(metric, self._observations(metric, resource, query), query),
                "errorCode": "Success"} for metric in query.metrics]}

    def _observations(self, metric: Metric, resource: str, query: Query) -> list[Observation]:
        endpoint, separator, deployment = resource.lower().partition("/deployments/")
        match metric.measure:
            case "none":
                return []
            case "cpu" | "memory" | "capacity":
                name = metric.measure
                return [Observation(used.time, getattr(used, name), {"instanceId": used.instance, "State": "Ready"})
                        for used in self._usage.between(resource, query.start, query.end)]
        found = self._azure_ml.metrics.between(endpoint, query.start, query.end)
        return [observed(item) for item in found if not separator or item.deployment.lower() == deployment]

    # --- scoring processes --------------------------------------------------------------------------

    async def _sample_always(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), SAMPLE_SECONDS)
                return
            try:
                await self._sample()
            except Exception:
                logger.exception("scoring processes could not be measured")

    async def _sample(self) -> None:
        running = []
        for scope in self._azure_ml.scopes:
            for endpoint in self._azure_ml.store.children(f"{scope.id}/onlineEndpoints"):
                for deployment in self._azure_ml.store.children(f"{endpoint['id']}/deployments"):
                    process = await self._azure_ml.scorers.get(deployment["id"], 0)
                    if process is not None and process.alive:
                        running.append(Running(deployment["id"].lower(), process.pid, int(deployment["sku"]["capacity"])))
        if running:
            await asyncio.to_thread(self._usage.sample, running, self._context.clock.now())


def _unauthenticated(code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, 401, {"WWW-Authenticate": "Bearer"})


def _namespace(resource: str, namespace: str) -> dict[str, Any]:
    return {
        "id": f"{resource}/providers/microsoft.insights/metricNamespaces/{namespace}", "name": namespace,
        "type": "Microsoft.Insights/metricNamespaces", "classification": "Platform", "properties": {"metricNamespaceName": namespace}}
