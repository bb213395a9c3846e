"""Segregation of duties through the unmodified SDK: who may do what is the platform's role table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from emulator.config import load
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import ROOT, LivePlatform

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")
ADA = "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0003"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def ml(platform: LivePlatform, stage: str, identity: str) -> MLClient:
    from azure.ai.ml import MLClient
    from azure.identity import ManagedIdentityCredential

    env = platform.env
    return MLClient(ManagedIdentityCredential(client_id=env[f"EMULATOR_CLIENT_ID_{identity.upper()}"]), env["AZURE_SUBSCRIPTION_ID"],
                    env["AZURE_RESOURCE_GROUP"], env[f"AZUREML_WORKSPACE_{stage}"])


def workspace(platform: LivePlatform, name: str) -> str:
    return (f"/subscriptions/{platform.env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{platform.env['AZURE_RESOURCE_GROUP']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{name}")


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def as_person(sdk_platform: LivePlatform) -> Iterator[Any]:
    """A request with the token of a person, for Azure Resource Manager unless something else is said."""
    with httpx.Client(base_url=sdk_platform.env["EMULATOR_URL"], verify=sdk_platform.env["SSL_CERT_FILE"], trust_env=False) as http:
        def ask(who: str, method: str, path: str, scope: str = "https://management.azure.com/.default", **options: Any) -> httpx.Response:
            return http.request(method, path, headers={"Authorization": f"Bearer {sdk_platform.user_token(who, scope)}"}, **options)

        yield ask


def test_a_data_scientist_writes_in_development_only(as_ada: LivePlatform, name: str) -> None:
    from azure.ai.ml.entities import Environment, ManagedOnlineEndpoint

    sdk = Sdk(as_ada)
    assert sdk.dev.environments.create_or_update(Environment(name=name, version="1", image="i:1")).name == name
    for stage in ("STAGING", "PROD"):
        client = ml(as_ada, stage, "ada")
        assert client.workspaces.get(as_ada.env[f"AZUREML_WORKSPACE_{stage}"]).name
        list(client.models.list())
        with pytest.raises(HttpResponseError) as refused:
            client.environments.create_or_update(Environment(name=name, version="1", image="i:1"))
        assert (refused.value.status_code, refused.value.error.code) == (403, "AuthorizationFailed")
        with pytest.raises(HttpResponseError) as refused:
            client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name))
        message = str(refused.value.error.message)
        assert f"object id '{ADA}' does not have authorization to perform action" in message
        assert "'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write'" in message
        assert f"over scope '{workspace(as_ada, as_ada.env[f'AZUREML_WORKSPACE_{stage}'])}/onlineEndpoints/{name}'" in message


def test_only_who_may_operate_computes_makes_one(as_ada: LivePlatform, name: str) -> None:
    from azure.ai.ml.entities import AmlCompute

    wanted = AmlCompute(name=name, size="STANDARD_DS3_V2", min_instances=0, max_instances=1)
    with pytest.raises(HttpResponseError) as refused:
        ml(as_ada, "DEV", "pilotage").compute.begin_create_or_update(wanted).result()
    assert refused.value.status_code == 403
    assert Sdk(as_ada).dev.compute.begin_create_or_update(wanted).result().name == name


def test_the_trainer_reads_the_registry_and_writes_nothing_there(as_ada: LivePlatform, name: str) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Environment
    from azure.identity import ManagedIdentityCredential

    registry = MLClient(ManagedIdentityCredential(client_id=as_ada.env["EMULATOR_CLIENT_ID_TRAINER"]),
                        registry_name=as_ada.env["AZUREML_REGISTRY"])
    list(registry.models.list())
    with pytest.raises(HttpResponseError) as refused:
        registry.environments.create_or_update(Environment(name=name, version="1", image="i:1"))
    assert refused.value.status_code == 403
    assert "registries/assets/write" in str(refused.value.error.message)


def test_a_role_is_given_and_taken_while_the_platform_runs(sdk_platform: LivePlatform, as_person: Any, name: str) -> None:
    path = f"{workspace(sdk_platform, 'mlw-dev')}/environments/{name}/versions/1?api-version=2023-04-01"
    body = {"properties": {"image": "i:1"}}
    given = {"identity": "grace", "role": "AzureML Data Scientist", "scope": "mlw-dev"}
    assert as_person("grace", "PUT", path, json=body).status_code == 403
    sdk_platform.control("PUT", "/access", json=given)
    try:
        assert as_person("grace", "PUT", path, json=body).status_code == 201
        assert any((item["identity"], item["role"]) == ("grace", "AzureML Data Scientist")
                   for item in sdk_platform.control("GET", "/access")["items"])
    finally:
        sdk_platform.control("DELETE", "/access", json=given)
    assert as_person("grace", "GET", path).status_code == 403


def test_roles_by_azures_own_api(sdk_platform: LivePlatform, as_person: Any) -> None:
    scope, one = workspace(sdk_platform, "mlw-staging"), str(uuid.uuid4())
    root = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
    linus = load(ROOT / "platform.yaml").identity("linus").object_id
    body = {"properties": {"roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{READER}", "principalId": linus}}
    assert as_person("olive", "PUT", f"{root}/{one}", json=body).status_code == 403, "a contributor gives no roles"
    made = as_person("admin", "PUT", f"{root}/{one}?api-version=2022-04-01", json=body)
    assert (made.status_code, made.json()["properties"]["scope"]) == (201, scope)
    try:
        assert as_person("linus", "GET", scope).status_code == 200
        assert as_person("admin", "PUT", f"{root}/{one}", json=body).status_code == 200
        again = as_person("admin", "PUT", f"{root}/{uuid.uuid4()}", json=body)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "RoleAssignmentExists")
        listed = as_person("rita", "GET", f"{root}?$filter=principalId eq '{linus}'").json()["value"]
        assert [item["name"] for item in listed] == [one]
        assert as_person("rita", "GET", f"{root}/{one}").json()["id"].endswith(one)
    finally:
        assert as_person("admin", "DELETE", f"{root}/{one}").status_code == 200
    assert as_person("admin", "DELETE", f"{root}/{one}").status_code == 204
    assert as_person("linus", "GET", scope).status_code == 403
    roles = as_person("rita", "GET", f"{scope}/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName eq 'Reader'").json()
    assert [(role["name"], role["properties"]["permissions"][0]["actions"]) for role in roles["value"]] == [(READER, ["*/read"])]


@pytest.mark.parametrize(("path", "body", "status", "code"), [
    ("not-a-guid", {"properties": {"roleDefinitionId": READER, "principalId": ADA}}, 400, "InvalidRoleAssignmentId"),
    ("{guid}", {"properties": {"roleDefinitionId": "no-role", "principalId": ADA}}, 404, "RoleDefinitionDoesNotExist"),
    ("{guid}", {"properties": {"roleDefinitionId": READER, "principalId": "nobody"}}, 400, "PrincipalNotFound"),
    ("{guid}", {"properties": {"roleDefinitionId": READER}}, 400, "BadRequestFormat"),
    ("{guid}", {"properties": []}, 400, "InvalidRequestContent"),
    ("", {}, 405, "MethodNotAllowed"),
])
def test_a_bad_assignment_is_refused(sdk_platform: LivePlatform, as_person: Any, path: str, body: Any, status: int, code: str) -> None:
    root = f"{workspace(sdk_platform, 'mlw-dev')}/providers/Microsoft.Authorization/roleAssignments/"
    answer = as_person("admin", "PUT", root + path.format(guid=uuid.uuid4()), json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_lists_hold_what_the_caller_may_read(as_person: Any, sdk_platform: LivePlatform) -> None:
    path = f"/subscriptions/{sdk_platform.env['AZURE_SUBSCRIPTION_ID']}/providers/Microsoft.MachineLearningServices/workspaces"
    assert [item["name"] for item in as_person("rita", "GET", path).json()["value"]] == ["mlw-dev", "mlw-staging", "mlw-prod"]
    assert as_person("grace", "GET", path).json()["value"] == []


def test_a_token_for_another_service_is_refused(as_person: Any, sdk_platform: LivePlatform) -> None:
    path = workspace(sdk_platform, "mlw-dev")
    answer = as_person("rita", "GET", path, scope="https://storage.azure.com/.default")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")
    assert "https://storage.azure.com" in answer.json()["error"]["message"]
    for audience in ("https://management.azure.com", "https://management.core.windows.net", "https://ml.azure.com"):
        assert as_person("rita", "GET", path, scope=f"{audience}/.default").status_code == 200


def test_the_sdk_says_so(as_ada: LivePlatform) -> None:
    from azure.ai.ml import MLClient
    from azure.core.credentials import AccessToken

    class OfStorage:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken(as_ada.user_token("rita", "https://storage.azure.com/.default"), 4102444800)

    client = MLClient(OfStorage(), as_ada.env["AZURE_SUBSCRIPTION_ID"], as_ada.env["AZURE_RESOURCE_GROUP"], "mlw-dev")
    with pytest.raises(ClientAuthenticationError, match="wrong audience"):
        client.models.get("none", "1")
