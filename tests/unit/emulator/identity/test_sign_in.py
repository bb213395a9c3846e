"""Signing in with a browser: what is refused, to whom it is told, and that a code is good once, for who asked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from starlette.applications import Starlette

from emulator.config import AppConfig, IdentityConfig, PlatformConfig, SignInConfig
from emulator.identity import Identity
from emulator.identity.sign_in import CODE_LIFETIME
from pilotage.errors import Forbidden
from pilotage.identity import GraphGroups

BASE_URL, FUNCTIONS_URL, TENANT, CLIENT = "https://localhost:1", "http://127.0.0.1:2", "the-tenant", "client-of-the-app"
CALLBACK = f"{FUNCTIONS_URL}/.auth/login/aad/callback"
APP = IdentityConfig(id="app", name="The App", object_id="oid-app", client_id="client-app", graph_permissions=("GroupMember.Read.All",))
PLAIN = IdentityConfig(id="plain", name="Plain", object_id="oid-plain", client_id="client-plain")
GRACE = IdentityConfig(id="grace", name="Grace <b>", object_id="oid-grace", username="grace", groups=("ml-leads", "b", "c"))
LINUS = IdentityConfig(id="linus", name="Linus", object_id="oid-linus", username="linus", groups=("b",))
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {"client_id": CLIENT, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid profile api://pilotage/.default",
         "state": "s t", "nonce": "n", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}


class Tenant:
    """The service, a client of it, and its time."""

    def __init__(self, folder: Path) -> None:
        config = PlatformConfig(
            tenant=TENANT, subscription="s", resource_group="rg", location="l", workspaces=(), registries=(), ledger_account="stledger",
            identities=(APP, PLAIN, GRACE, LINUS), app_identity="app", job_identity="app", groups_in_token=2,
            app=AppConfig(sign_in=SignInConfig(client_id=CLIENT)))
        self.service = Identity(config, folder, BASE_URL, FUNCTIONS_URL)
        self.now = 0.0
        self.service._sign_in._monotonic = lambda: self.now  # type: ignore[union-attr]
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=self.service.routes())), base_url=BASE_URL)

    async def authorize(self, form: dict[str, str] | None = None, **changes: str | None) -> httpx.Response:
        query = {name: value for name, value in (ASKED | changes).items() if value is not None}
        return await self.http.request("GET" if form is None else "POST", f"/{TENANT}/oauth2/v2.0/authorize", params=query, data=form)

    async def code(self, **changes: str | None) -> str:
        answer = await self.authorize({"username": "grace", "password": "grace"}, **changes)
        assert answer.status_code == 303
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def redeem(self, code_given: str, **changes: str) -> httpx.Response:
        return await self.http.post(f"/{TENANT}/oauth2/v2.0/token", data={
            "grant_type": "authorization_code", "code": code_given, "redirect_uri": CALLBACK, "client_id": CLIENT,
            "client_secret": self.service.easy_auth()["MICROSOFT_PROVIDER_AUTHENTICATION_SECRET"], "code_verifier": VERIFIER, **changes})

    async def graph(self, person: str, body: Any, token: str | None = None) -> httpx.Response:
        token = token or self.service._principal_token(APP, BASE_URL)
        return await self.http.post(f"/v1.0/users/{person}/checkMemberGroups", json=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[Tenant]:
    found = Tenant(tmp_path)
    yield found
    await found.http.aclose()


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


async def test_who_signs_in_comes_back_with_a_code_for_tokens(tenant: Tenant) -> None:
    page = await tenant.authorize()
    assert page.status_code == 200
    assert "Grace &lt;b&gt;" in page.text
    assert f"form-action 'self' {FUNCTIONS_URL};" in page.headers["content-security-policy"]
    answer = await tenant.authorize({"username": "grace", "password": "grace"})
    told = parse_qs(urlsplit(answer.headers["location"]).query)
    assert answer.headers["location"].startswith(CALLBACK + "?")
    assert told["state"] == ["s t"]
    tokens = (await tenant.redeem(told["code"][0])).json()
    about, access = claims(tokens["id_token"]), claims(tokens["access_token"])
    assert (about["aud"], about["nonce"], about["oid"], about["preferred_username"]) == (CLIENT, "n", "oid-grace", "grace@local.test")
    assert (access["aud"], access["oid"]) == ("api://pilotage", "oid-grace")
    assert "nonce" not in access


@pytest.mark.parametrize("form", [
    {}, {"username": "grace"}, {"username": "grace", "password": "linus"}, {"username": "no", "password": "no"}, {"password": "grace"},
], ids=range(5))
async def test_a_wrong_password_gets_the_page_again(tenant: Tenant, form: dict[str, str]) -> None:
    answer = await tenant.authorize(form)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize("changes", [
    {"client_id": "another"}, {"client_id": None}, {"redirect_uri": "https://evil.test/.auth/login/aad/callback"}, {"redirect_uri": None},
    {"redirect_uri": CALLBACK + "/../x"}, {"redirect_uri": CALLBACK + "?next=evil"},
], ids=range(6))
@pytest.mark.parametrize("form", [None, {"username": "grace", "password": "grace"}], ids=["page", "form"])
async def test_nobody_is_sent_to_a_stranger(tenant: Tenant, changes: dict[str, str | None], form: dict[str, str] | None) -> None:
    answer = await tenant.authorize(form, **changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "AADSTS" in answer.text


@pytest.mark.parametrize(("changes", "error"), [
    ({"response_type": "token"}, "unsupported_response_type"), ({"response_mode": "form_post"}, "invalid_request"),
    ({"scope": "profile"}, "invalid_request"), ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
], ids=range(5))
async def test_what_the_application_does_wrong_is_told_to_it(tenant: Tenant, changes: dict[str, str | None], error: str) -> None:
    answer = await tenant.authorize(**changes)
    told = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (answer.status_code, told["error"], told["state"]) == (303, [error], ["s t"])


@pytest.mark.parametrize(("changes", "status", "error"), [
    ({"client_secret": "guess"}, 401, "invalid_client"), ({"client_id": "another"}, 401, "invalid_client"),
    ({"redirect_uri": f"{FUNCTIONS_URL}/other"}, 400, "invalid_grant"), ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
    ({"code_verifier": ""}, 400, "invalid_grant"), ({"code": "made up"}, 400, "invalid_grant"),
], ids=range(6))
async def test_a_code_is_for_who_asked(tenant: Tenant, changes: dict[str, str], status: int, error: str) -> None:
    answer = await tenant.redeem(await tenant.code(), **changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_code_is_good_once_and_not_for_long(tenant: Tenant) -> None:
    code = await tenant.code()
    assert (await tenant.redeem(code)).status_code == 200
    assert (await tenant.redeem(code)).json()["error"] == "invalid_grant"
    wasted = await tenant.code()
    assert (await tenant.redeem(wasted, code_verifier="x")).status_code == 400
    assert (await tenant.redeem(wasted)).status_code == 400, "who tries with a wrong proof has used it up"
    late = await tenant.code()
    tenant.now += CODE_LIFETIME
    assert (await tenant.redeem(late)).status_code == 400


@pytest.mark.parametrize(("target", "followed"), [
    (f"{FUNCTIONS_URL}/.auth/logout/complete", True), ("https://evil.test/", False), ("", False), ("http://[", False)])
async def test_signing_out_leads_back_to_the_application_only(tenant: Tenant, target: str, followed: bool) -> None:
    answer = await tenant.http.get(f"/{TENANT}/oauth2/v2.0/logout", params={"post_logout_redirect_uri": target})
    assert answer.status_code == (302 if followed else 200)
    assert answer.headers.get("location") == (target if followed else None)


async def test_without_an_application_there_is_no_page(tmp_path: Path) -> None:
    config = PlatformConfig(tenant=TENANT, subscription="s", resource_group="rg", location="l", workspaces=(), registries=(),
                            ledger_account="stledger", identities=(APP,), app_identity="app", job_identity="app")
    service = Identity(config, tmp_path, BASE_URL, FUNCTIONS_URL)
    assert service.easy_auth() == {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=service.routes())), base_url=BASE_URL) as http:
        assert (await http.get(f"/{TENANT}/oauth2/v2.0/authorize", params=ASKED)).status_code == 404
        assert (await http.post(f"/{TENANT}/oauth2/v2.0/token", data={"grant_type": "authorization_code"})).status_code == 401


class TestGroups:
    async def test_more_than_a_token_holds_are_left_to_the_directory(self, tenant: Tenant) -> None:
        many, few = claims(tenant.service.user_token(GRACE)), claims(tenant.service.user_token(LINUS))
        assert "groups" not in many
        assert many["_claim_names"] == {"groups": "src1"}
        assert many["_claim_sources"]["src1"]["endpoint"].endswith("/users/oid-grace/getMemberObjects")
        assert few["groups"] == ["b"]
        assert "_claim_names" not in few
        found = await tenant.graph("oid-grace", {"groupIds": ["ML-leads", "other"]})
        assert (found.status_code, found.json()["value"]) == (200, ["ML-leads"])

    def test_the_apps_adapter_reads_its_answers(self, tmp_path: Path) -> None:
        tenant = Tenant(tmp_path)

        def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
            answer = asyncio.run(tenant.graph(url.split("/")[-2], body))
            return answer.status_code, answer.json()

        groups = GraphGroups(BASE_URL, post)
        assert groups.of("oid-grace", ["ml-leads", "other"]) == ["ml-leads"]
        with pytest.raises(Forbidden, match="does not know you"):
            groups.of("oid-nobody", ["ml-leads"])

    @pytest.mark.parametrize(("person", "body", "status"), [
        ("oid-nobody", {"groupIds": ["a"]}, 404), ("oid-grace", {"groupIds": []}, 400), ("oid-grace", {"groupIds": ["a"] * 21}, 400),
        ("oid-grace", {"groupIds": "a"}, 400), ("oid-grace", {"groupIds": [1]}, 400), ("oid-grace", [], 400), ("oid-grace", {}, 400)])
    async def test_what_it_does_not_answer(self, tenant: Tenant, person: str, body: Any, status: int) -> None:
        answer = await tenant.graph(person, body)
        assert answer.status_code == status
        assert answer.json()["error"]["code"]

    async def test_who_may_ask(self, tenant: Tenant) -> None:
        ask = {"groupIds": ["b"]}
        service = tenant.service
        assert (await tenant.graph("oid-linus", ask, service._principal_token(PLAIN, BASE_URL))).status_code == 403
        assert (await tenant.graph("oid-linus", ask, service._principal_token(APP, "https://management.azure.com"))).status_code == 401
        assert (await tenant.graph("oid-linus", ask, service.user_token(GRACE))).status_code == 401
        assert (await tenant.graph("oid-linus", ask, "abc")).status_code == 401
        public = service._principal_token(APP, "https://graph.microsoft.com")
        assert (await tenant.graph("oid-linus", ask, public)).json() == {"value": ["b"]}
