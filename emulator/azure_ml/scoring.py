"""The scoring front of online endpoints: who may call, which deployment answers, and how failures look.

Status codes as Azure documents them for managed online endpoints: 401 for a bad key or token, 403 for an identity that
may not score, 404 when no deployment has traffic, 408 when the model takes longer than its request timeout, 424 when the
model's container answers anything but 200 (its own status is in `ms-azureml-model-error-statuscode`), 429 when more
than twice the concurrency of all instances is asked for. For Kubernetes: 502 when the script raises, 503 when a request
waits longer than `maxQueueWait` for an instance, 504 when the model takes too long
(learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints, "HTTP status codes").
"""

from __future__ import annotations

import asyncio
import hmac
import random
import time
import uuid
from typing import TYPE_CHECKING

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml import traffic
from emulator.azure_ml.deployments import LIVE, SERVING
from emulator.azure_ml.durations import seconds
from emulator.azure_ml.endpoint_settings import KUBERNETES
from emulator.azure_ml.fork_server import ScoringProcess
from emulator.azure_ml.online_endpoints import KEYS, token
from emulator.azure_ml.queues import Crowded, Queues, Waited
from emulator.azure_ml.request_metrics import RequestMetrics, ScoredRequest
from emulator.azure_ml.resource import PROVIDER
from emulator.azure_ml.scorers import Scorers
from emulator.azure_ml.store import Resource
from emulator.context import Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

DEPLOYMENT_HEADER = "azureml-model-deployment"
AUDIENCE = "https://ml.azure.com"
"""What an identity's token must be for."""
SCORE = f"{PROVIDER}/workspaces/onlineEndpoints/score/action"
_EXPIRY_DIGITS = 12
"""More than any time of expiry has; Python reads no number of thousands."""


class Scoring:
    """`seed` makes the sequence of traffic decisions of each endpoint repeatable."""

    def __init__(self, azure_ml: AzureMl, scorers: Scorers, metrics: RequestMetrics, seed: int) -> None:
        self._azure_ml = azure_ml
        self._scorers = scorers
        self._metrics = metrics
        self._seed = seed
        self._generators: dict[str, random.Random] = {}
        self.queues = Queues()
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
        refusal = self._refusal(endpoint, request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        body = await request.body()
        # Bytes, as they came: a header may hold more than ASCII.
        headers = {b"content-type": request.headers.get("content-type", "application/json").encode("latin-1")}
        generator = self._generator(endpoint)
        named = request.headers.get(DEPLOYMENT_HEADER)
        chosen = named.lower() if named else traffic.pick(endpoint["properties"]["traffic"], generator)
        if chosen is None:
            return _refusal(404, "The endpoint has no valid deployment with positive weight")
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{chosen}")
        if deployment is None or not deployment.get(SERVING):
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
        refusal = self._refusal(endpoint, request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
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
        headers: dict[bytes, bytes],
        mirrored: bool = False,
    ) -> Response:
        """One request to a deployment's process, within its limits; recorded."""
        started = time.perf_counter()
        key, kubernetes = deployment["id"].lower(), endpoint.get("kind") == KUBERNETES
        # What serves, which is not what an update asks for that still runs, or failed.
        live = deployment.get(LIVE) or {**deployment["properties"], "capacity": deployment["sku"]["capacity"]}
        limit = seconds(live["requestSettings"].get("requestTimeout"), 5.0)
        late = _refusal(504 if kubernetes else 408, f"The model took longer than its request timeout of {limit:g} s")
        model_status: int | None = None
        answer: Response
        scorer = await self._scorers.get(key)  # while it starts again, a request waits for it
        try:
            # The client's own timeouts are for each phase; the deployment's is for the whole request, its wait included.
            async with asyncio.timeout(limit), self.queues.place(key, live, kubernetes):
                if scorer is None:
                    answer = _refusal(503 if kubernetes else 424, "The deployment's container is not ready", reason="liveness")
                else:
                    answer, model_status = await self._forward(scorer, method, path, body, headers, limit, kubernetes)
        except (TimeoutError, httpx.TimeoutException):
            answer = late
            self._scorers.doubt(key)
        except Waited:
            answer = _refusal(503, "No instance was free within the deployment's maximum queue wait")
        except Crowded:
            answer = _refusal(429, "Too many pending requests")
        answer.headers[DEPLOYMENT_HEADER] = deployment["name"]
        answer.headers["x-ms-request-id"] = str(uuid.uuid4())
        if path == "/score":
            self._azure_ml.collector.record(deployment, body, answer.status_code, bytes(answer.body))
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
        self, scorer: ScoringProcess, method: str, path: str, body: bytes, headers: dict[bytes, bytes], limit: float, kubernetes: bool
    ) -> tuple[Response, int | None]:
        """The answer, and the status that the model's container gave if it did. Raises `httpx.TimeoutException`."""
        try:
            found = await self._scorers.client.request(
                method, scorer.url + path, content=body, headers=headers, timeout=limit
            )
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as problem:
            broken = 502 if kubernetes else 424
            return _refusal(broken, "The deployment's container broke off", reason=type(problem).__name__), None
        kept = {"content-type": found.headers.get("content-type", "application/json")}
        if found.status_code == 200:
            return Response(found.content, 200, headers=kept), 200
        kept["ms-azureml-model-error-statuscode"] = str(found.status_code)
        kept["ms-azureml-model-error-reason"] = "model_error"
        status = 424
        if kubernetes:
            status = 502 if found.status_code >= 500 else found.status_code
        return Response(found.content, status, headers=kept), found.status_code

    def _mirror(self, endpoint: Resource, name: str, body: bytes, headers: dict[bytes, bytes]) -> None:
        """Ask the mirrored deployment too, and throw its answer away."""
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{name}")
        if deployment is None or not deployment.get(SERVING):
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

    def _refusal(self, endpoint: Resource, authorization: str) -> Response | None:
        """What a caller gets who may not score; None for who may."""
        if endpoint["properties"]["authMode"] != "AADToken":
            return None if self._knows(endpoint, authorization) else _refusal(401, "key_auth_bad_header_forbidden")
        try:
            caller = self._azure_ml.context.identity.caller(authorization)
        except Unauthorized:
            return _refusal(401, "key_auth_bad_header_forbidden")
        if caller.audience.rstrip("/") != AUDIENCE:
            return _refusal(401, f"The token is for {caller.audience}, not for {AUDIENCE}")
        if self._azure_ml.permissions.allowed(caller, SCORE, endpoint["id"]):
            return None
        return _refusal(403, f"{caller.name} does not have {SCORE} on the endpoint {endpoint['name']}")

    def _knows(self, endpoint: Resource, authorization: str) -> bool:
        """Whether the caller has a key of the endpoint, or a token made with one."""
        mode = endpoint["properties"]["authMode"]
        given = authorization.removeprefix("Bearer ").strip()
        if mode == "Key":
            return any(_same(given, key) for key in endpoint[KEYS].values())
        expiry = given.partition(".")[0]
        fresh = expiry.isdecimal() and len(expiry) <= _EXPIRY_DIGITS and int(expiry) > time.time()
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
