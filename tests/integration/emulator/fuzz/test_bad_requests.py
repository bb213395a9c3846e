"""Bad requests, made from a seed, to every resource type of Azure ML and its neighbours: refused, and never a 500."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.support.platform import ROOT, LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")
Ask = Callable[..., httpx.Response]
SEEDS = range(8)
EACH = 40
TYPES = (
    "", "models", "models/versions", "environments", "environments/versions", "data", "data/versions", "codes", "codes/versions",
    "components", "components/versions", "datastores", "computes", "jobs", "schedules", "onlineEndpoints", "onlineEndpoints/deployments",
    "batchEndpoints", "batchEndpoints/deployments", "tempdatarefs/versions", "datarefs/versions", "nonsense", "models/versions/nonsense")
ACTIONS = (
    "listKeys", "regenerateKeys", "token", "listSecrets", "cancel", "trigger", "getLogs", "startPendingUpload", "import", "nonsense", "")
NAMES = (
    "a", "fuzz", "1", "..", "%2e%2e", "%00", "a%20b", "%F0%9F%98%80", "%2F", "x" * 300, "-", "_", ".", "latest", "'; --", "%25",
    "$metadata", "*")
NO_OBJECTS = {"cut": b"{", "list": b"[]", "null": b"null", "deep": b'{"properties":' + b"[" * 50_000, "bytes": b"\xff"}
PROPERTIES = (
    "modelUri", "modelType", "flavors", "tags", "properties", "description", "stage", "isArchived", "isAnonymous", "dataUri", "dataType",
    "codeUri", "image", "condaFile", "build", "osType", "componentSpec", "datastoreType", "accountName", "containerName", "credentials",
    "computeType", "jobType", "command", "environmentId", "inputs", "outputs", "jobs", "resources", "trigger", "action", "isEnabled",
    "authMode", "traffic", "mirrorTraffic", "compute", "endpointComputeType", "model", "instanceType", "scaleSettings", "requestSettings",
    "livenessProbe", "readinessProbe", "environmentVariables", "codeConfiguration", "dataCollector", "assetId", "sourceAssetId",
    "destinationName", "keyType", "keyValue", "defaults", "miniBatchSize", "experimentName", "services", "settings", "displayName",
    "componentId", "computeId", "distribution", "limits", "identity", "referenceType", "destinationVersion", "location", "sku")
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, "", "x", "azureml:", "azureml:a:1", "azureml://", "azureml://jobs/x/outputs/y", "https://",
    "https://nowhere.blob.core.windows.net/c/b", "azureml://datastores/none/paths/x", "/subscriptions", "PT", "PT1S", "\x00", "é" * 50,
    "${{inputs.a}}", "latest", "@latest", [], {}, [None], {"": ""})
VALID: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "tests/support/arm_bodies.yaml").read_text())
"""Bodies that would be taken, by path."""
QUERIES = (
    {}, {"api-version": "2024-04-01"}, {"api-version": "banana"}, {"api-version": "2099-99-99-preview"}, {"api-version": ""},
    {"$top": "-1"}, {"$top": "many"}, {"$top": "٣"}, {"$top": "9" * 40}, {"$orderBy": "age"}, {"listViewType": "None"},
    {"tags": "=,=,,"}, {"$skip": "x"}, {"hash": "%"}, {"version": "\x00"}, {"properties": "a=b=c"}, {"timespan": "x", "metricnames": "y"})


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if depth > 3 or kind < 0.6:
        return rng.choice(LEAVES)
    if kind < 0.75:
        return [value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice((*PROPERTIES, "a", "blue", "type", "value", "id")): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def body(rng: random.Random) -> bytes:
    """Mostly JSON with the right names and the wrong values; now and then none at all."""
    kind = rng.random()
    if kind < 0.08:
        return rng.choice((b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"properties":', b'"text"', b"NaN", b"{'a': 1}", b"1" * 5000))
    if kind < 0.12:
        depth = rng.choice((200, 900, 5000, 100_000))
        return b'{"properties":' + b'{"tags":' * depth + b"1" + b"}" * depth + b"}"
    if kind < 0.16:
        return b'{"properties":{"tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    properties = {name: value(rng) for name in rng.sample(PROPERTIES, rng.randrange(1, 14))}
    whole: dict[str, Any] = {"properties": properties if rng.random() < 0.9 else value(rng)}
    for name in ("tags", "sku", "identity", "location", "kind", "name"):
        if rng.random() < 0.15:
            whole[name] = value(rng)
    if rng.random() < 0.2:
        whole |= properties
    return json.dumps(whole).encode()


def path(rng: random.Random, scopes: list[str]) -> tuple[str, str]:
    """A method and a path."""
    method = rng.choice(("GET", "PUT", "PUT", "PUT", "PATCH", "POST", "POST", "DELETE"))
    segments = [segment for kind in rng.choice(TYPES).split("/") if kind for segment in (kind, rng.choice(NAMES))]
    if segments and rng.random() < 0.1:
        segments.pop()  # the collection itself
    if method == "POST":
        segments.append(rng.choice(ACTIONS))
    if rng.random() < 0.06:
        segments += ["providers", rng.choice(("Microsoft.Insights", "Microsoft.Authorization", "Microsoft.EventGrid", "Microsoft.None")),
                     rng.choice(("metrics", "metricDefinitions", "roleAssignments", "roleDefinitions", "eventSubscriptions")),
                     *rng.choice(([], ["fuzz"]))]
    return method, "/".join((rng.choice(scopes), *segments))


@pytest.fixture(scope="module")
def ask(sdk_platform: LivePlatform) -> Iterator[Ask]:
    token = sdk_platform.user_token("admin", "https://management.azure.com/.default")
    with httpx.Client(base_url=sdk_platform.env["EMULATOR_URL"], verify=sdk_platform.env["SSL_CERT_FILE"], trust_env=False, timeout=60,
                      headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}) as http:
        for name in ("onlineEndpoints/fuzz-endpoint", "batchEndpoints/fuzz-batch"):  # with something below it to get wrong
            http.put(f"{_workspace(sdk_platform)}/{name}", json={"location": "eastus", "properties": {"authMode": "AADToken"}})
        yield http.request
        for kind in ("schedules", "onlineEndpoints"):  # what would go on working
            for item in http.get(f"{_workspace(sdk_platform)}/{kind}?listViewType=All").json()["value"]:
                http.delete(item["id"])


def _workspace(platform: LivePlatform) -> str:
    return (f"/subscriptions/{platform.env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{platform.env['AZURE_RESOURCE_GROUP']}"
            "/providers/Microsoft.MachineLearningServices/workspaces/mlw-staging")


@pytest.fixture(scope="module")
def scopes(sdk_platform: LivePlatform) -> list[str]:
    env = sdk_platform.env
    provider, workspace = "providers/Microsoft.MachineLearningServices", _workspace(sdk_platform)
    other = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/rg-registry"
    registry = f"{other}/{provider}/registries/{env['AZUREML_REGISTRY']}"
    group = f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}/{provider}"
    return [*[workspace] * 6, *[f"/mferp/managementfrontend{registry}"] * 2, registry, f"{group}/workspaces/none",
            f"{group}/workspaces/", f"/subscriptions/none/resourceGroups/none/{provider}/workspaces/mlw-staging"]


def mutated(rng: random.Random, whole: Any) -> Any:
    """The same with one place changed: another value, nothing, or one member more."""
    if not isinstance(whole, dict | list) or not whole or rng.random() < 0.12:
        return value(rng)
    if isinstance(whole, list):
        place = rng.randrange(len(whole))
        return [*whole[:place], mutated(rng, whole[place]), *whole[place + 1:]]
    name = rng.choice(list(whole))
    if rng.random() < 0.1:
        return {key: item for key, item in whole.items() if key != name}
    if rng.random() < 0.1:
        return {**whole, rng.choice(PROPERTIES): value(rng)}
    return {**whole, name: mutated(rng, whole[name])}


def nearly_valid(rng: random.Random, scopes: list[str]) -> tuple[str, str, bytes]:
    kind = rng.choice(list(VALID))
    content = VALID[kind]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = mutated(rng, content)
    last = kind.rpartition("/")[2]
    posted = ("{" not in last and last[0].islower()) or kind.startswith("datarefs")
    in_registry = kind.startswith(("tempdatarefs", "datarefs", "import")) or (kind.startswith("models") and rng.random() < 0.3)
    where = kind.replace("{}", rng.choice(("fuzz-a", "fuzz-b", "fuzz-c", "1", f"fuzz-{rng.randrange(10**6)}")))
    method = "POST" if posted else rng.choice(("PUT", "PUT", "PUT", "PATCH"))
    return method, f"{scopes[6 if in_registry else 0]}/{where}", json.dumps(content).encode()


def check(ask: Ask, scopes: list[str], seed: int, count: int) -> list[str]:
    """Requests that were answered with a 500, or without an envelope where they were refused."""
    rng, wrong = random.Random(seed), []
    for _ in range(count):
        query = rng.choice(QUERIES)
        if rng.random() < 0.6:
            method, where, content = nearly_valid(rng, scopes)
        else:
            method, where = path(rng, scopes)
            content = body(rng) if method in ("PUT", "PATCH", "POST") else b""
        answer = ask(method, where, params=query, content=content)
        short = where.partition("MachineLearningServices")[2][:150]
        line = f"{answer.status_code} {method} {short} {query} {content[:300]!r}: {answer.text[:300]}"
        if answer.status_code >= 500:
            wrong.append(line)
        elif answer.status_code >= 400:
            found = answer.json()
            error = found.get("error", found)  # Azure Monitor has no envelope
            if not isinstance(error.get("code"), str) or not error.get("message"):
                wrong.append(line)
    return wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_request_is_never_a_500(ask: Ask, scopes: list[str], seed: int) -> None:
    assert check(ask, scopes, seed, EACH) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_bad_requests_are_never_a_500(ask: Ask, scopes: list[str], seed: int) -> None:
    assert check(ask, scopes, seed, 300) == []


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind and not kind.endswith("nonsense") and not kind.startswith("batch")])
@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_json_object_is_a_400(ask: Ask, scopes: list[str], kind: str, content: bytes) -> None:
    scope = scopes[6] if "datarefs" in kind else scopes[0]
    method = "POST" if kind.startswith("datarefs") else "PUT"
    where = "/".join(part for name in kind.split("/") for part in (name, "fuzz-bad"))
    answer = ask(method, f"{scope}/{where}?api-version=2024-04-01", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
