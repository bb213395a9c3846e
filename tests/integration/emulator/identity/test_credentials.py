"""The unmodified azure-identity against the identity service."""

from __future__ import annotations

from typing import Any

import httpx
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk")
ADA = "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0003"
APP = "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0001"


def verified(platform: LivePlatform, token: str, audience: str, version: str = "/v2.0") -> dict[str, Any]:
    """The claims, verified with nothing but what the issuer publishes."""
    authority = f"{platform.env['EMULATOR_URL']}/{platform.env['AZURE_TENANT_ID']}{version}"
    with httpx.Client(verify=platform.env["SSL_CERT_FILE"], trust_env=False) as http:
        metadata = http.get(f"{authority}/.well-known/openid-configuration").raise_for_status().json()
        keys = jwt.PyJWKSet.from_dict(http.get(metadata["jwks_uri"]).raise_for_status().json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return dict(jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=metadata["issuer"]))


def test_the_default_credential_is_the_identity_that_the_environment_names(as_ada: LivePlatform) -> None:
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default")
    claims = verified(as_ada, token.token, "https://management.azure.com", version="")
    assert (claims["oid"], claims["name"]) == (ADA, "Ada Lovelace")
    assert token.expires_on == claims["exp"]


def test_without_a_name_it_is_the_apps(as_ada: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_CLIENT_ID")
    token = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    assert verified(as_ada, token, "https://ml.azure.com", version="")["oid"] == APP


def test_only_the_managed_identity_is_asked(as_ada: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who is signed in to Azure elsewhere on this machine stays out of it."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of a real application")
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    assert verified(as_ada, token, "https://management.azure.com", version="")["oid"] == ADA


def test_an_identity_that_does_not_exist(as_ada: LivePlatform) -> None:
    with pytest.raises(ClientAuthenticationError, match="no managed identity"):
        ManagedIdentityCredential(client_id="nobody").get_token("https://management.azure.com/.default")


def test_a_process_without_the_header_gets_nothing(as_ada: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "guess")
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential().get_token("https://management.azure.com/.default")


def test_an_application_token_for_pilotage_is_a_v2_token(as_ada: LivePlatform) -> None:
    claims = verified(as_ada, DefaultAzureCredential().get_token("api://pilotage/.default").token, "api://pilotage")
    assert (claims["oid"], claims["ver"]) == (ADA, "2.0")


def test_scripts_have_a_token_with_every_role(sdk_platform: LivePlatform) -> None:
    claims = verified(sdk_platform, sdk_platform.env["PILOTAGE_TOKEN"], "api://pilotage")
    assert set(claims["roles"]) == {"Pilotage.Reader", "Pilotage.Operator", "Pilotage.Approver", "Pilotage.Admin"}
    assert claims["exp"] - claims["iat"] == 24 * 3600


def test_a_principal_signs_in_with_its_secret(sdk_platform: LivePlatform) -> None:
    env = sdk_platform.env
    with httpx.Client(base_url=f"{env['EMULATOR_URL']}/{env['AZURE_TENANT_ID']}", verify=env["SSL_CERT_FILE"], trust_env=False) as http:
        answer = http.post("/oauth2/v2.0/token", data={
            "grant_type": "client_credentials", "client_id": env["EMULATOR_CLIENT_ID_ADA"],
            "client_secret": env["EMULATOR_CLIENT_SECRET_ADA"], "scope": "api://pilotage/.default"})
    assert verified(sdk_platform, answer.raise_for_status().json()["access_token"], "api://pilotage")["oid"] == ADA


def test_a_token_for_pilotage_does_not_open_azure_ml(sdk_platform: LivePlatform) -> None:
    env = sdk_platform.env
    path = (f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{env['AZUREML_WORKSPACE_DEV']}")
    with httpx.Client(base_url=env["EMULATOR_URL"], verify=env["SSL_CERT_FILE"], trust_env=False) as http:
        assert http.get(path, headers={"Authorization": f"Bearer {env['PILOTAGE_TOKEN']}"}).status_code == 401
