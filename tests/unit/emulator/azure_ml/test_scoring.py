"""The scoring front: who may call, where a request goes, and how failures look; processes are doubles."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from emulator.azure_ml.durations import seconds
from emulator.azure_ml.online_endpoints import KEYS, token
from emulator.azure_ml.scoring import Scoring
from emulator.context import Caller, Unauthorized
from tests.support.azure_ml import PROD, LocalAzureMl, eventually

ENDPOINT = f"{PROD}/onlineEndpoints/air-time"
Answer = Callable[[httpx.Request], Any]


class Processes:
    """Answers as each deployment's process would."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.doubted: list[str] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def get(self, deployment_id: str, patience: float = 60.0) -> Any:
        name = deployment_id.rpartition("/")[2]
        return SimpleNamespace(url=f"http://{name}") if name in self.answers else None

    def doubt(self, deployment_id: str) -> None:
        self.doubted.append(deployment_id.rpartition("/")[2])

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked[request.url.host] += 1
        found = self.answers[request.url.host](request)
        return await found if asyncio.iscoroutine(found) else found


class Front:
    def __init__(self, local: LocalAzureMl) -> None:
        self.local, self.processes = local, Processes()
        self.scoring = Scoring(local.service, self.processes, local.service.metrics, seed=7)  # type: ignore[arg-type]
        transport = httpx.ASGITransport(Starlette(routes=self.scoring.routes()))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://localhost:1")
        self.key = ""

    async def endpoint(
        self, traffic: dict[str, int], mirror: dict[str, int] | None = None, mode: str = "Key"
    ) -> None:
        await self.local.finished(await self.local.put(ENDPOINT, authMode=mode))
        for name in ("blue", "green"):
            self.deploy(name)
        await self.local.finished(
            await self.local.put(ENDPOINT, authMode=mode, traffic=traffic, mirrorTraffic=mirror or {})
        )
        self.key = self.local.service.store.get(ENDPOINT)[KEYS]["primaryKey"]  # type: ignore[index]

    def deploy(self, name: str, instances: int = 1, **settings: Any) -> None:
        request = {"maxConcurrentRequestsPerInstance": 1, "requestTimeout": "PT5S", **settings}
        properties = {"provisioningState": "Succeeded", "requestSettings": request}
        resource = {
            "id": f"{ENDPOINT}/deployments/{name}",
            "name": name,
            "sku": {"capacity": instances},
            "properties": properties,
            "_serving": {"cwd": "x"},
        }
        self.local.service.store.put(f"{ENDPOINT}/deployments/{name}", resource)
        self.processes.answers[name] = lambda request: httpx.Response(200, json={"from": name})

    async def score(self, body: bytes = b"{}", **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.key}"} | named
        return await self.http.post("/endpoints/air-time/score", content=body, headers=sent)


@pytest.fixture
async def front(local: LocalAzureMl) -> AsyncIterator[Front]:
    found = Front(local)
    yield found
    await found.scoring.stop()


async def test_the_split_is_the_endpoints(front: Front) -> None:
    await front.endpoint({"blue": 90, "green": 10})
    answers = [await front.score() for _ in range(300)]
    assert {answer.status_code for answer in answers} == {200}
    counts = Counter(answer.headers["azureml-model-deployment"] for answer in answers)
    assert 250 < counts["blue"] < 290
    assert counts == front.processes.asked
    assert all(answer.json() == {"from": answer.headers["azureml-model-deployment"]} for answer in answers)


async def test_a_header_names_the_deployment(front: Front) -> None:
    await front.endpoint({"blue": 100})
    assert (await front.score(azureml_model_deployment="Green")).json() == {"from": "green"}
    refused = await front.score(azureml_model_deployment="grey")
    assert (refused.status_code, "could not be found" in refused.text) == (404, True)


async def test_a_content_type_goes_on_as_it_came(front: Front) -> None:
    await front.endpoint({"blue": 100})
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(dict(request.headers.raw)[b"content-type"])
        return httpx.Response(200)

    front.processes.answers["blue"] = answer
    given = {b"Authorization": f"Bearer {front.key}".encode(), b"Content-Type": "text/plain; title=é".encode("latin-1")}
    assert (await front.http.post("/endpoints/air-time/score", headers=given)).status_code == 200
    assert seen == [given[b"Content-Type"]]


async def test_without_traffic_there_is_no_answer(front: Front) -> None:
    await front.endpoint({})
    assert (await front.score()).status_code == 404
    assert (await front.http.post("/endpoints/none/score")).status_code == 404


async def test_keys(front: Front) -> None:
    await front.endpoint({"blue": 100})
    keys = front.local.service.store.get(ENDPOINT)[KEYS]  # type: ignore[index]
    for key, status in (
        (keys["primaryKey"], 200),
        (keys["secondaryKey"], 200),
        ("x", 401),
        ("", 401),
        ("é", 401),
    ):
        headers = {b"Authorization": f"Bearer {key}".encode()}
        answer = await front.http.post("/endpoints/air-time/score", headers=headers)
        assert answer.status_code == status


async def test_tokens(front: Front) -> None:
    await front.endpoint({"blue": 100}, mode="AMLToken")
    given = (await front.local.http.post(f"{ENDPOINT}/token")).json()["accessToken"]
    assert (await front.score(Authorization=f"Bearer {given}")).status_code == 200
    endpoint = front.local.service.store.get(ENDPOINT)
    assert endpoint is not None
    for refused in (front.key, token(endpoint, 1), given[:-2], f"9{given}", "9999999999.x", 5000 * "9"):
        assert (await front.score(Authorization=f"Bearer {refused}")).status_code == 401


class ForScoring:
    """Tokens for `https://ml.azure.com`, as endpoints take them, or, on request, for something else."""

    def caller(self, authorization: str | None) -> Caller:
        people = {
            "Bearer ada": Caller("oid-ada", "Ada Lovelace", audience="https://ml.azure.com"),
            "Bearer arm": Caller("oid-ada", "Ada Lovelace", audience="https://management.azure.com"),
            "Bearer rita": Caller("oid-rita", "Rita", audience="https://ml.azure.com"),
        }
        if authorization not in people:
            raise Unauthorized("no such person")
        return people[authorization]


async def test_identities(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    await front.endpoint({"blue": 100}, mode="AADToken")
    monkeypatch.setattr(front.local.service.context, "identity", ForScoring())
    action = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
    allowed = {("oid-ada", action, ENDPOINT)}
    monkeypatch.setattr(front.local.service.access, "allows", lambda who, what, where: (who, what, where) in allowed)
    assert (await front.score(Authorization="Bearer ada")).status_code == 200
    refused = await front.score(Authorization="Bearer rita")
    assert (refused.status_code, action in refused.text) == (403, True)
    assert (await front.score(Authorization="Bearer arm")).status_code == 401
    assert (await front.score()).status_code == 401


async def test_kubernetes_has_words_of_its_own(front: Front) -> None:
    await front.endpoint({"blue": 100})
    front.local.service.store.change(ENDPOINT, lambda found: found.update(kind="K8S"))
    for inside, outside in ((500, 502), (400, 400), (200, 200)):
        front.processes.answers["blue"] = lambda request, status=inside: httpx.Response(status)
        assert (await front.score()).status_code == outside
    front.processes.answers["blue"] = broken
    assert (await front.score()).status_code == 502
    del front.processes.answers["blue"]
    assert (await front.score()).status_code == 503
    front.deploy("blue", requestTimeout="PT0.05S")
    front.processes.answers["blue"] = never
    assert (await front.score()).status_code == 504


async def test_what_serves_is_what_succeeded(front: Front) -> None:
    """An update that runs, or failed, has changed the resource, but not yet what answers."""
    await front.endpoint({"blue": 100})
    live = {"capacity": 1, "requestSettings": {"maxConcurrentRequestsPerInstance": 1, "requestTimeout": "PT0.05S"}}
    front.deploy("blue", instances=7, requestTimeout="PT90S")
    front.local.service.store.change(f"{ENDPOINT}/deployments/blue", lambda found: found.update(_live=live))
    front.processes.answers["blue"] = never
    assert (await front.score()).status_code == 408


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("gone")


async def never(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("status", [201, 400, 404, 500, 503])
async def test_any_answer_of_the_model_but_200_is_424(front: Front, status: int) -> None:
    await front.endpoint({"blue": 100})
    front.processes.answers["blue"] = lambda request: httpx.Response(status, text="the model says no")
    answer = await front.score()
    assert (answer.status_code, answer.text) == (424, "the model says no")
    assert answer.headers["ms-azureml-model-error-statuscode"] == str(status)
    assert answer.headers["azureml-model-deployment"] == "blue"


async def test_a_process_that_is_gone_is_424(front: Front) -> None:
    await front.endpoint({"blue": 100})
    front.processes.answers["blue"] = broken
    assert (await front.score()).status_code == 424
    del front.processes.answers["blue"]
    assert (await front.score()).status_code == 424


async def test_a_model_that_takes_too_long_is_408(front: Front) -> None:
    await front.endpoint({"blue": 100})
    front.deploy("blue", requestTimeout="PT0.05S")
    front.processes.answers["blue"] = never
    assert (await front.score()).status_code == 408
    assert front.processes.doubted == ["blue"]


async def test_more_than_twice_the_concurrency_is_429(front: Front) -> None:
    await front.endpoint({"blue": 100})
    front.deploy("blue", instances=2, maxConcurrentRequestsPerInstance=2)
    gate = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        await gate.wait()
        return httpx.Response(200)

    front.processes.answers["blue"] = slow
    waiting = [asyncio.create_task(front.score()) for _ in range(8)]
    await eventually(lambda: front.processes.asked["blue"] == 8 or None)
    assert (await front.score()).status_code == 429
    gate.set()
    assert {(await task).status_code for task in waiting} == {200}
    assert (await front.score()).status_code == 200


async def test_the_mirror_gets_a_copy_and_its_answer_is_thrown_away(front: Front) -> None:
    await front.endpoint({"blue": 100}, {"green": 50})
    copies: list[bytes] = []

    def failing(request: httpx.Request) -> httpx.Response:
        copies.append(request.content)
        return httpx.Response(500)

    front.processes.answers["green"] = failing
    for _ in range(20):  # a request that names its deployment is not live traffic
        await front.score(b"named", azureml_model_deployment="blue")
    answers = [await front.score(b"live") for _ in range(200)]
    assert {answer.headers["azureml-model-deployment"] for answer in answers} == {"blue"}
    assert {answer.status_code for answer in answers} == {200}
    await eventually(lambda: len(copies) >= 70 or None)
    assert len(copies) < 130
    assert set(copies) == {b"live"}


async def test_requests_are_kept_for_metrics(front: Front) -> None:
    await front.endpoint({"blue": 100})
    await front.score()
    front.processes.answers["blue"] = lambda request: httpx.Response(500)
    front.local.clock.advance(60)
    await front.score()
    day = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    found = front.local.service.metrics.between(ENDPOINT, *day)
    assert [(item.deployment, item.status, item.model_status, item.mirrored) for item in found] == [
        ("blue", 200, 200, False),
        ("blue", 424, 500, False),
    ]
    assert all(item.latency_ms >= 0 for item in found)
    assert (
        front.local.service.metrics.between(ENDPOINT, datetime(2026, 1, 1, 0, 1, tzinfo=UTC), day[1])
        == found[1:]
    )
    assert front.local.service.metrics.between(f"{PROD}/onlineEndpoints/other", *day) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT5S", 5.0),
        ("PT0.5S", 0.5),
        ("PT1M30S", 90.0),
        ("PT1H", 3600.0),
        ("P1D", 86400.0),
        ("PT", 7.0),
        ("5", 7.0),
        (None, 7.0),
    ],
)
def test_durations(text: str | None, expected: float) -> None:
    assert seconds(text, 7.0) == expected
