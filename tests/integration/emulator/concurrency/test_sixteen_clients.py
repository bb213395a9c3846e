"""Sixteen threads, each with a client of its own: nothing is lost, nothing is there twice."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")
THREADS = 16


@pytest.fixture(scope="module")
def clients(sdk_platform: LivePlatform) -> list[MLClient]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in sdk_platform.variables("ada").items():
            patch.setenv(key, value)
        return [Sdk(sdk_platform).dev for _ in range(THREADS)]


@pytest.fixture
def name() -> str:
    return f"c{uuid.uuid4().hex[:10]}"


def together(clients: list[MLClient], work: Callable[[int, MLClient], Any]) -> list[Any]:
    """What each thread's work gave, or the error that it raised; all begin at once."""
    start = Barrier(len(clients))

    def run(number: int) -> Any:
        start.wait()
        try:
            return work(number, clients[number])
        except HttpResponseError as problem:
            return problem

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(run, range(len(clients))))


def model(name: str, version: str | None, **more: Any) -> Any:
    from azure.ai.ml.entities import Model

    return Model(name=name, version=version, type="custom_model", path="azureml://datastores/workspaceblobstore/paths/shared", **more)


@pytest.mark.usefixtures("as_ada")
class TestModels:
    def test_versions_of_one_name_are_all_there(self, clients: list[MLClient], name: str) -> None:
        made = together(clients, lambda n, client: [client.models.create_or_update(model(name, f"{n}-{k}")).version for k in range(3)])
        expected = {f"{n}-{k}" for n in range(THREADS) for k in range(3)}
        assert {version for versions in made for version in versions} == expected
        assert Counter(item.version for item in clients[0].models.list(name)) == Counter(dict.fromkeys(expected, 1))

    def test_one_version_is_registered_once(self, clients: list[MLClient], name: str, sdk_platform: LivePlatform) -> None:
        made = together(clients, lambda n, client: client.models.create_or_update(model(name, "1", tags={f"by{n}": "yes"})).version)
        assert made == ["1"] * THREADS
        assert [item.version for item in clients[0].models.list(name)] == ["1"]
        answers = Counter(entry["status"] for entry in sdk_platform.journal(f"/models/{name}/versions/1$", "PUT"))
        assert answers == {201: 1, 200: THREADS - 1}, "one of them made it, the others found it"

    def test_versions_that_nobody_chose_differ(self, clients: list[MLClient], name: str) -> None:
        """The SDK reads the next version and writes it. Who comes second changes the version that is there, unless that can't be:
        then it is told so, and nothing of the first is lost."""
        from azure.ai.ml.entities import Environment

        made = together(clients, lambda n, client: client.environments.create_or_update(Environment(name=name, image=f"i:{n}")))
        won = [item for item in made if not isinstance(item, HttpResponseError)]
        lost = [item for item in made if isinstance(item, HttpResponseError)]
        listed = {item.version: item.image for item in clients[0].environments.list(name)}
        assert {item.version: item.image for item in won} == listed
        assert len(won) == len(listed)
        assert {item.status_code for item in lost} <= {409}

    def test_names_of_their_own(self, clients: list[MLClient], name: str) -> None:
        made = together(clients, lambda n, client: client.models.create_or_update(model(f"{name}-{n}", "1")).id)
        assert len(set(made)) == THREADS
        there = {item.name for item in clients[0].models.list()}
        assert {f"{name}-{n}" for n in range(THREADS)} <= there

    def test_each_version_is_made_by_one_of_two(self, clients: list[MLClient], name: str, sdk_platform: LivePlatform) -> None:
        together(clients, lambda n, client: client.models.create_or_update(model(name, str(n // 2))))
        answers = Counter(entry["status"] for entry in sdk_platform.journal(f"/models/{name}/versions/", "PUT"))
        assert answers == {201: THREADS // 2, 200: THREADS // 2}


@pytest.mark.usefixtures("as_ada")
def test_one_endpoint_is_made_by_one_of_them(clients: list[MLClient], name: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    made = together(clients, lambda n, client: client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key", tags={"by": str(n)})).result().tags["by"])
    lost = [item for item in made if isinstance(item, HttpResponseError)]
    assert {item.status_code for item in lost} <= {409}
    assert len(lost) < THREADS
    found = clients[0].online_endpoints.get(name)
    assert found.provisioning_state == "Succeeded"
    assert found.tags["by"] in [item for item in made if not isinstance(item, HttpResponseError)]
    clients[0].online_endpoints.begin_delete(name).result()
