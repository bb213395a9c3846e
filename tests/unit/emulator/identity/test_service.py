"""The identity service over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from starlette.applications import Starlette

from emulator.config import IdentityConfig, PlatformConfig
from emulator.errors import Unauthorized
from emulator.identity import Identity

BASE_URL, FUNCTIONS_URL, TENANT = "https://localhost:1", "http://127.0.0.1:2", "the-tenant"
APP = IdentityConfig(id="app", name="The App", object_id="oid-app", client_id="client-app")
ADA = IdentityConfig(id="ada", name="Ada", object_id="oid-ada", client_id="client-ada", username="ada", roles=("Reader",), groups=("ml",))
GRACE = IdentityConfig(id="grace", name="Grace", object_id="oid-grace", username="grace", roles=("Approver",))


class Signing:
    """The service and a client of it."""

    def __init__(self, folder: Path) -> None:
        config = PlatformConfig(tenant=TENANT, subscription="s", resource_group="rg", location="l", workspaces=(), registries=(),
                                ledger_account="stledger", identities=(APP, ADA, GRACE), app_identity="app", job_identity="app")
        self.service = Identity(config, folder, BASE_URL, FUNCTIONS_URL)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=self.service.routes())), base_url=BASE_URL)

    async def managed(self, header: str | None = None, **query: str) -> httpx.Response:
        return await self.http.get("/msi/token", params={"api-version": "2019-08-01", **query},
                                   headers={"X-IDENTITY-HEADER": self.service.secrets.header if header is None else header})

    async def sign_in(self, **form: str) -> httpx.Response:
        return await self.http.post(f"/{TENANT}/oauth2/v2.0/token", data=form)

    async def verified(self, token: str, audience: str, path: str = f"/{TENANT}/v2.0") -> dict[str, Any]:
        """The claims, verified as a resource does: with nothing but the discovery document."""
        metadata = (await self.http.get(f"{path}/.well-known/openid-configuration")).json()
        keys = jwt.PyJWKSet.from_dict((await self.http.get(metadata["jwks_uri"])).json())
        return jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=["RS256"], audience=audience,
                          issuer=metadata["issuer"], options={"require": ["exp", "iat", "nbf", "iss", "aud", "oid", "tid", "sub"]})


@pytest.fixture
async def identity(tmp_path: Path) -> AsyncIterator[Signing]:
    signing = Signing(tmp_path)
    yield signing
    await signing.http.aclose()


class TestManagedIdentity:
    async def test_the_apps_own_by_default(self, identity: Signing) -> None:
        answer = (await identity.managed(resource="https://storage.azure.com")).json()
        claims = await identity.verified(answer["access_token"], "https://storage.azure.com", f"/{TENANT}")
        assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
        assert (claims["oid"], claims["appid"], claims["ver"], claims["idtyp"]) == ("oid-app", "client-app", "1.0", "app")
        assert abs(int(answer["expires_on"]) - claims["exp"]) <= 1, "two looks at the clock"
        assert (answer["token_type"], answer["client_id"]) == ("Bearer", "client-app")

    @pytest.mark.parametrize("query", [{"client_id": "client-ada"}, {"principal_id": "oid-ada"}, {"object_id": "oid-ada"}])
    async def test_a_user_assigned_one(self, identity: Signing, query: dict[str, str]) -> None:
        token = (await identity.managed(resource="https://management.azure.com", **query)).json()["access_token"]
        assert identity.service.caller(f"Bearer {token}").name == "Ada"

    @pytest.mark.parametrize("query", [{"client_id": "nobody"}, {"principal_id": "oid-grace"}])
    async def test_one_that_is_none(self, identity: Signing, query: dict[str, str]) -> None:
        assert (await identity.managed(resource="https://management.azure.com", **query)).status_code == 400

    async def test_it_needs_a_resource_and_the_header(self, identity: Signing) -> None:
        assert (await identity.managed()).status_code == 400
        assert (await identity.managed(header="guess", resource="https://management.azure.com")).status_code == 401
        assert (await identity.managed(header="", resource="https://management.azure.com")).status_code == 401

    @pytest.mark.parametrize("resource", ["https://ml.azure.com", "https://ml.azure.com/", "https://ml.azure.com/.default", "https://ml.azure.com//.default"])
    async def test_the_audience_is_the_resource_as_such(self, identity: Signing, resource: str) -> None:
        token = (await identity.managed(resource=resource)).json()["access_token"]
        assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://ml.azure.com"

    async def test_for_an_application_of_the_tenant_it_is_a_v2_token(self, identity: Signing) -> None:
        token = (await identity.managed(resource="api://pilotage")).json()["access_token"]
        claims = await identity.verified(token, "api://pilotage")
        assert (claims["ver"], claims["azp"], claims["iss"]) == ("2.0", "client-app", f"{BASE_URL}/{TENANT}/v2.0")


class TestSigningIn:
    async def test_a_person(self, identity: Signing) -> None:
        answer = await identity.sign_in(grant_type="password", username="ada", password="ada", client_id="x", scope="api://pilotage/.default")
        claims = await identity.verified(answer.json()["access_token"], "api://pilotage")
        assert claims["oid"] == claims["sub"] == "oid-ada"
        assert (claims["name"], claims["preferred_username"]) == ("Ada", "ada@local.test")
        assert (claims["roles"], claims["groups"], claims["tid"], claims["ver"]) == (["Reader"], ["ml"], TENANT, "2.0")
        assert answer.json()["expires_in"] == claims["exp"] - claims["iat"]

    async def test_a_principal(self, identity: Signing) -> None:
        answer = await identity.sign_in(grant_type="client_credentials", client_id="client-app", scope="api://pilotage/.default",
                                        client_secret=identity.service.secrets.of("app"))
        claims = await identity.verified(answer.json()["access_token"], "api://pilotage")
        assert (claims["oid"], claims["azp"], claims["idtyp"]) == ("oid-app", "client-app", "app")

    @pytest.mark.parametrize(("form", "error"), [
        ({"grant_type": "password", "username": "ada", "password": "no"}, "invalid_grant"),
        ({"grant_type": "password", "username": "ada"}, "invalid_grant"),
        ({"grant_type": "password", "username": "nobody", "password": "nobody"}, "invalid_grant"),
        ({"grant_type": "password"}, "invalid_grant"),
        ({"grant_type": "client_credentials", "client_id": "client-app", "client_secret": "no"}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nobody"}, "invalid_client"),
        ({"grant_type": "password", "username": "ada", "password": "ada", "scope": " "}, "invalid_scope"),
        ({"grant_type": "client_credentials", "client_id": "client-app", "client_secret": "\u20ac"}, "invalid_client"),
        ({"grant_type": "device_code"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
    ])
    async def test_refusals(self, identity: Signing, form: dict[str, str], error: str) -> None:
        answer = await identity.sign_in(**form)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] == error

    async def test_a_body_that_is_no_form(self, identity: Signing) -> None:
        for body in (b"\xff=\xff", b"a=b&" * 100_000):
            answer = await identity.http.post(f"/{TENANT}/oauth2/v2.0/token", content=body)
            assert answer.status_code == 400

    async def test_another_tenant_is_unknown(self, identity: Signing) -> None:
        assert (await identity.http.post("/other/oauth2/v2.0/token", data={})).status_code == 404
        assert (await identity.http.get("/other/v2.0/.well-known/openid-configuration")).status_code == 404


class TestCallers:
    async def test_a_token_for_an_application_opens_no_azure_service(self, identity: Signing) -> None:
        with pytest.raises(Unauthorized, match="api://pilotage"):
            identity.service.caller(f"Bearer {identity.service.user_token(ADA)}")

    @pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer abc"])
    async def test_nobody(self, identity: Signing, authorization: str | None) -> None:
        with pytest.raises(Unauthorized):
            identity.service.caller(authorization)
        assert identity.service.name_of(authorization) is None

    async def test_a_caller_has_the_tokens_roles_and_ids(self, identity: Signing) -> None:
        token = identity.service.user_token(ADA, "https://management.azure.com")
        caller = identity.service.caller(f"bearer {token}")
        assert (caller.object_id, caller.name, caller.client_id, caller.roles) == ("oid-ada", "Ada", "client-ada", ("Reader",))


async def test_after_a_rotation_both_keys_are_published(identity: Signing) -> None:
    old = identity.service.user_token(GRACE)
    assert (await identity.http.post("/_emulator/identity/rotate")).json() == {"keys": 2}
    for token in (old, identity.service.user_token(GRACE)):
        assert (await identity.verified(token, "api://pilotage"))["name"] == "Grace"


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    first, second = Signing(tmp_path).service.secrets, Signing(tmp_path).service.secrets
    assert first.header == second.header
    assert first.of("app") == second.of("app") != first.of("ada")
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
