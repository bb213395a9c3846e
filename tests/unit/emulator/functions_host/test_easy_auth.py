"""App Service Authentication in front of an app: what it adds, what it takes away, and whom it does not believe."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.config import AppConfig, IdentityConfig, PlatformConfig, SignInConfig
from emulator.functions_host.easy_auth import CALLBACK, NONCE, PREFIX, SESSION, SESSION_LIFETIME, SIGN_IN_LIFETIME, EasyAuth, Registration
from emulator.identity import Identity

BASE_URL, APP_URL, TENANT = "https://localhost:1", "http://127.0.0.1:2", "the-tenant"
GRACE = IdentityConfig(id="grace", name="Grace", object_id="oid-grace", username="grace", client_id="c", groups=("ml-leads", "b"))


class Site:
    """An app that shows the headers it gets, behind the authentication of a real issuer; and one browser."""

    def __init__(self, folder: Path) -> None:
        config = PlatformConfig(
            tenant=TENANT, subscription="s", resource_group="rg", location="l", workspaces=(), registries=(), ledger_account="stledger",
            identities=(GRACE,), app_identity="grace", job_identity="grace",
            app=AppConfig(sign_in=SignInConfig(client_id="the-app", scope="openid api://pilotage/.default")))
        self.issuer = Identity(config, folder, BASE_URL, APP_URL)
        self.down: list[str] = []
        self.lies: dict[str, Any] = {}
        self.now = 0.0
        registration = Registration.from_environment(self.issuer.easy_auth())
        assert registration is not None
        self.easy_auth = EasyAuth(registration, APP_URL, self._issuers, lambda: self.now)
        self.browser = self.another_browser()

    def another_browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self._serve), base_url=APP_URL)

    def _issuers(self) -> httpx.AsyncClient:
        inner = httpx.ASGITransport(Starlette(routes=self.issuer.routes()))

        async def answer(request: httpx.Request) -> httpx.Response:
            if any(part in str(request.url) for part in self.down):
                raise httpx.ConnectError("down")
            found = await inner.handle_async_request(request)
            await found.aread()
            if self.lies and request.url.path.endswith("/token"):
                return httpx.Response(200, json=found.json() | self.lies)
            return found

        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if scope["path"].startswith(PREFIX):
            response: Response = await self.easy_auth.answer(request)
        else:
            response = JSONResponse({name: value for name, value in self.easy_auth.admitted(request).headers.items()
                                     if name.startswith("x-")})
        await response(scope, receive, send)

    async def sign_in(self, target: str = "/api/ui?a=b") -> httpx.Response:
        """Through the issuer's form and back; the answer of the callback."""
        return await self.browser.get(await self.way_back(target))

    async def way_back(self, target: str = "/api/ui") -> str:
        """Where the issuer sends the browser once the form is filled in."""
        sent = await self.browser.get("/.auth/login/aad", params={"post_login_redirect_uri": target})
        assert sent.status_code == 302
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=self.issuer.routes()))) as http:
            answer = await http.post(sent.headers["location"], data={"username": "grace", "password": "grace"})
        assert answer.headers["location"].startswith(APP_URL + CALLBACK)
        return str(answer.headers["location"])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    yield found
    await found.browser.aclose()


FORGED = {"X-MS-CLIENT-PRINCIPAL": "e30=", "X-MS-CLIENT-PRINCIPAL-ID": "oid-admin", "X-MS-CLIENT-PRINCIPAL-NAME": "admin",
          "X-MS-TOKEN-AAD-ACCESS-TOKEN": "a", "x-ms-token-aad-id-token": "b", "X-MS-TOKEN-GOOGLE-ID-TOKEN": "c", "X-Other": "kept"}


async def test_who_has_signed_in_comes_with_tokens(site: Site) -> None:
    assert (await site.browser.get("/api/x", headers=FORGED)).json() == {"x-other": "kept"}, "nobody is signed in, and passes"
    assert (await site.browser.get("/.auth/me")).status_code == 401
    back = await site.sign_in()
    assert (back.status_code, back.headers["location"]) == (302, "/api/ui?a=b")
    cookie = next(line for line in back.headers.get_list("set-cookie") if line.startswith(SESSION))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    seen = (await site.browser.get("/api/x", headers=FORGED)).json()
    assert (seen["x-ms-client-principal-id"], seen["x-ms-client-principal-name"], seen["x-ms-client-principal-idp"]) == (
        "oid-grace", "grace@local.test", "aad")
    assert "x-ms-token-google-id-token" not in seen
    access, about = (jwt.decode(seen[f"x-ms-token-aad-{kind}-token"], options={"verify_signature": False}) for kind in ("access", "id"))
    assert (access["aud"], access["oid"], about["aud"]) == ("api://pilotage", "oid-grace", "the-app")
    principal = json.loads(base64.b64decode(seen["x-ms-client-principal"]))
    assert [claim["val"] for claim in principal["claims"] if claim["typ"] == "groups"] == ["ml-leads", "b"]
    me = (await site.browser.get("/.auth/me")).json()[0]
    assert (me["user_id"], me["access_token"]) == ("grace@local.test", seen["x-ms-token-aad-access-token"])


async def test_signing_out_ends_it_here_and_at_the_issuer(site: Site) -> None:
    await site.sign_in()
    key = site.browser.cookies[SESSION]
    out = await site.browser.get("/.auth/logout", params={"post_logout_redirect_uri": "https://evil.test/"})
    assert out.headers["location"].startswith(f"{BASE_URL}/{TENANT}/oauth2/v2.0/logout?")
    assert parse_qs(urlsplit(out.headers["location"]).query)["post_logout_redirect_uri"] == [f"{APP_URL}/"]
    assert (await site.browser.get("/api/x", headers={"Cookie": f"{SESSION}={key}"})).json() == {}, "a kept cookie opens nothing"
    site.down = ["openid-configuration"]
    assert (await site.browser.get("/.auth/logout")).headers["location"] == f"{APP_URL}/.auth/logout/complete"
    assert (await site.browser.get("/.auth/logout/complete")).text == "You are signed out."


async def test_a_session_ends_by_itself(site: Site) -> None:
    await site.sign_in()
    site.now += SESSION_LIFETIME
    assert (await site.browser.get("/api/x")).json() == {}


@pytest.mark.parametrize(("target", "leads_to"), [
    ("/api/ui", "/api/ui"), (f"{APP_URL}/api/ui?q=1", "/api/ui?q=1"), ("https://evil.test/api/ui", "/"), ("//evil.test/", "/"),
    ("/\\evil.test", "/"), ("\\\\evil.test", "/"), ("javascript:alert(1)", "/"), ("http://127.0.0.1:3/", "/"), ("/\t/evil.test", "/"),
    ("http:///evil.test", "/"), ("http://[", "/"), ("", "/"), (f"{APP_URL}@evil.test/", "/"), (f"{APP_URL}//evil.test", "/")])
async def test_it_leads_back_into_the_app_only(site: Site, target: str, leads_to: str) -> None:
    assert (await site.sign_in(target)).headers["location"] == leads_to


async def _refused(answer: httpx.Response, why: str) -> None:
    assert answer.status_code == 401
    assert why in answer.text
    assert not any(line.startswith(SESSION) for line in answer.headers.get_list("set-cookie"))


async def test_nobody_is_signed_in_as_somebody_else_by_a_link(site: Site) -> None:
    async with site.another_browser() as victim:
        await _refused(await victim.get(await site.way_back()), "in another browser")
        await victim.get("/.auth/login/aad")
        assert NONCE in victim.cookies
        await _refused(await victim.get(await site.way_back()), "in another browser")


async def test_a_way_back_is_good_once_and_not_for_long(site: Site) -> None:
    way = await site.way_back()
    assert (await site.browser.get(way)).status_code == 302
    await _refused(await site.browser.get(way), "unknown here")
    late = await site.way_back()
    site.now += SIGN_IN_LIFETIME
    await _refused(await site.browser.get(late), "took too long")
    await _refused(await site.browser.get(f"{CALLBACK}?code=x&state=made-up"), "unknown here")
    await _refused(await site.browser.get(CALLBACK), "unknown here")


async def test_the_issuers_refusal_is_told(site: Site) -> None:
    state = parse_qs(urlsplit(await site.way_back()).query)["state"][0]
    answer = await site.browser.get(CALLBACK, params={"state": state, "error": "access_denied", "error_description": "AADSTS65004: no"})
    await _refused(answer, "AADSTS65004: no")
    state = parse_qs(urlsplit(await site.way_back()).query)["state"][0]
    await _refused(await site.browser.get(CALLBACK, params={"state": state, "code": "made up"}), "AADSTS70008")


async def test_an_id_token_of_something_else_signs_nobody_in(site: Site) -> None:
    for token in (site.issuer.user_token(GRACE, "the-app", nonce="another"), site.issuer.user_token(GRACE, "another-app", nonce="x"),
                  site.issuer.user_token(GRACE, "the-app"), site.issuer.user_token(GRACE, "the-app", -60, nonce="x"), "abc",
                  jwt.encode({"aud": "the-app"}, "k" * 32, "HS256")):
        site.lies = {"id_token": token}
        await _refused(await site.sign_in(), "the id token is")


async def test_an_issuer_that_does_not_answer(site: Site) -> None:
    way = await site.way_back()
    site.down = ["/token"]
    await _refused(await site.browser.get(way), "can't be asked")
    site.down = ["openid-configuration"]
    assert (await site.browser.get("/.auth/login/aad")).status_code == 502


async def test_what_else_lies_there(site: Site) -> None:
    assert (await site.browser.get("/.auth/login/github")).status_code == 404
    assert (await site.browser.post("/.auth/logout")).status_code == 405


def test_without_the_setting_there_is_none() -> None:
    assert Registration.from_environment({}) is None
    assert Registration.from_environment({"WEBSITE_AUTH_ENABLED": "False"}) is None
