"""The scoring front of online endpoints: who may call, which deployment answers, and how failures look.

Status codes as Azure documents them for managed online endpoints: 401 for a bad key or token, 404 when no
deployment has traffic, 408 when the model takes longer than its request timeout, 424 when the model's
container answers anything but 200 (its own status is in `ms-azureml-model-error-statuscode`), 429 when more
than twice the concurrency of all instances is asked for.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml import traffic
from emulator.azure_ml.durations import seconds
from emulator.azure_ml.online_endpoints import KEYS, token
from emulator.azure_ml.request_metrics import RequestMetrics, ScoredRequest
from emulator.azure_ml.scorers import Scorers
from emulator.azure_ml.store import Resource
from emulator.context import Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

DEPLOYMENT_HEADER = "azureml-model-deployment"


class Scoring:
    """`seed` makes the sequence of traffic decisions of each endpoint repeatable."""

    def __init__(self, azure_ml: AzureMl, scorers: Scorers, metrics: RequestMetrics, seed: int) -> None:
        self._azure_ml = azure_ml
        self._scorers = scorers
        self._metrics = metrics
        self._seed = seed
        self._generators: dict[str, random.Random] = {}
        self._in_flight: Counter[str] = Counter()
        self._mirrors: set[asyncio.Task[None]] = set()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/endpoints/{endpoint}/score", self.score, methods=["POST"]),
            Route("/endpoints/{endpoint}/swagger.json", self.swagger, methods=["GET"]),
        ]

    async def stop(self) -> None:
        for mirror in self._mirrors:
            mirror.cancel()
        await asyncio.gather(*self._mirrors, return_exceptions=True)

    async def score(self, request: Request) -> Response:
        endpoint = self._endpoint(request.path_params["endpoint"])
        if endpoint is None:
            return _refusal(404, "Endpoint not found")
        if not self._allowed(endpoint, request.headers.get("authorization", "")):
            return _refusal(401, "key_auth_bad_header_forbidden")
        body = await request.body()
        headers = {"content-type": request.headers.get("content-type", "application/json")}
        generator = self._generator(endpoint)
        named = request.headers.get(DEPLOYMENT_HEADER)
        chosen = named.lower() if named else traffic.pick(endpoint["properties"]["traffic"], generator)
        if chosen is None:
            return _refusal(404, "The endpoint has no valid deployment with positive weight")
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{chosen}")
        if deployment is None or not deployment.get("_serving"):
            return _refusal(404, f"Specified deployment could not be found: {chosen}")
        if named is None:
            mirror = traffic.mirror_to(endpoint["properties"]["mirrorTraffic"], generator)
            if mirror is not None:
                self._mirror(endpoint, mirror, body, headers)
        return await self._ask(endpoint, deployment, "POST", "/score", body, headers)

    async def swagger(self, request: Request) -> Response:
        """The OpenAPI document of the deployment with the most traffic."""
        endpoint = self._endpoint(request.path_params["endpoint"])
        if endpoint is None:
            return _refusal(404, "Endpoint not found")
        if not self._allowed(endpoint, request.headers.get("authorization", "")):
            return _refusal(401, "key_auth_bad_header_forbidden")
        live = traffic.shares(endpoint["properties"]["traffic"])
        name = max(live, key=lambda item: live[item], default=None)
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{name}") if name else None
        if deployment is None:
            return _refusal(404, "The endpoint has no valid deployment with positive weight")
        return await self._ask(endpoint, deployment, "GET", "/swagger.json", b"", {})

    async def _ask(
        self,
        endpoint: Resource,
        deployment: Resource,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        mirrored: bool = False,
    ) -> Response:
        """One request to a deployment's process, within its limits; recorded."""
        started = time.perf_counter()
        settings: dict[str, Any] = deployment["properties"]["requestSettings"]
        key = deployment["id"].lower()
        limit = 2 * settings["maxConcurrentRequestsPerInstance"] * deployment["sku"]["capacity"]
        model_status: int | None = None
        answer: Response
        if self._in_flight[key] >= limit:
            answer = _refusal(429, "Too many pending requests")
        else:
            self._in_flight[key] += 1
            try:
                answer, model_status = await self._forward(
                    key, method, path, body, headers, seconds(settings.get("requestTimeout"), 5.0)
                )
            finally:
                self._in_flight[key] -= 1
        answer.headers[DEPLOYMENT_HEADER] = deployment["name"]
        answer.headers["x-ms-request-id"] = str(uuid.uuid4())
        if path == "/score":
            self._metrics.record(
                ScoredRequest(
                    time=self._azure_ml.context.clock.now().isoformat(),
                    endpoint=endpoint["id"].lower(),
                    deployment=deployment["name"],
                    status=answer.status_code,
                    model_status=model_status,
                    latency_ms=(time.perf_counter() - started) * 1000,
                    mirrored=mirrored,
                )
            )
        return answer

    async def _forward(
        self, key: str, method: str, path: str, body: bytes, headers: dict[str, str], limit: float
    ) -> tuple[Response, int | None]:
        """The answer, and the status that the model's container gave if it did."""
        scorer = await self._scorers.get(key)
        if scorer is None:
            return _refusal(424, "The deployment's container is not ready", reason="liveness"), None
        try:
            # The client's own timeouts are for each phase; the deployment's is for the whole request.
            async with asyncio.timeout(limit):
                found = await self._scorers.client.request(
                    method, scorer.url + path, content=body, headers=headers, timeout=limit
                )
        except (TimeoutError, httpx.TimeoutException):
            return _refusal(408, f"The model took longer than its request timeout of {limit:g} s"), None
        except httpx.TransportError as problem:
            return _refusal(424, "The deployment's container broke off", reason=type(problem).__name__), None
        kept = {"content-type": found.headers.get("content-type", "application/json")}
        if found.status_code == 200:
            return Response(found.content, 200, headers=kept), 200
        kept["ms-azureml-model-error-statuscode"] = str(found.status_code)
        kept["ms-azureml-model-error-reason"] = "model_error"
        return Response(found.content, 424, headers=kept), found.status_code

    def _mirror(self, endpoint: Resource, name: str, body: bytes, headers: dict[str, str]) -> None:
        """Ask the mirrored deployment too, and throw its answer away."""
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{name}")
        if deployment is None or not deployment.get("_serving"):
            return

        async def ask() -> None:
            await self._ask(endpoint, deployment, "POST", "/score", body, headers, mirrored=True)

        task = asyncio.create_task(ask(), name=f"mirror to {name}")
        self._mirrors.add(task)
        task.add_done_callback(self._mirrors.discard)

    def _endpoint(self, name: str) -> Resource | None:
        """Endpoint names are unique in the region."""
        for scope in self._azure_ml.scopes:
            endpoint: Resource | None = self._azure_ml.store.get(f"{scope.id}/onlineEndpoints/{name}")
            if endpoint is not None:
                return endpoint
        return None

    def _allowed(self, endpoint: Resource, authorization: str) -> bool:
        mode = endpoint["properties"]["authMode"]
        if mode == "AADToken":
            try:
                self._azure_ml.context.identity.caller(authorization)
            except Unauthorized:
                return False
            return True
        given = authorization.removeprefix("Bearer ").strip()
        if mode == "Key":
            return any(_same(given, key) for key in endpoint[KEYS].values())
        expiry = given.partition(".")[0]
        fresh = expiry.isdecimal() and int(expiry) > time.time()
        return fresh and _same(given, token(endpoint, int(expiry)))

    def _generator(self, endpoint: Resource) -> random.Random:
        key = endpoint["id"].lower()
        if key not in self._generators:
            self._generators[key] = random.Random(f"{self._seed}/{key}")  # noqa: S311 - repeatable on purpose
        return self._generators[key]


def _same(given: str, expected: str) -> bool:
    """In constant time, and for any text that a header can hold."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _refusal(status: int, message: str, reason: str | None = None) -> JSONResponse:
    headers = {"ms-azureml-model-error-reason": reason} if reason else None
    return JSONResponse(
        {"error": {"code": str(status), "message": message}}, status_code=status, headers=headers
    )
