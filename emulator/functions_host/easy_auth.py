"""App Service Authentication ("Easy Auth") in front of the app: who is signed in with a browser comes with tokens in headers.

`/.auth/login/aad`, `/.auth/login/aad/callback`, `/.auth/logout` and `/.auth/me` are its own; every other request goes on, signed in
or not (`unauthenticatedClientAction: AllowAnonymous`). Headers of its family that a client sends are taken away. Source:
learn.microsoft.com, app-service configure-authentication-user-identities and -customize-sign-in-out. Sessions are kept in memory:
after a restart everybody signs in again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

log = logging.getLogger("emulator.easy_auth")
PREFIX = "/.auth/"
CALLBACK = "/.auth/login/aad/callback"
DONE = "/.auth/logout/complete"
SESSION = "AppServiceAuthSession"
NONCE = "AppServiceAuthNonce"
SESSION_LIFETIME = 8 * 3600.0
"""Seconds, as App Service's cookie has it."""
SIGN_IN_LIFETIME = 900.0
MOST = 1000
"""Sessions, and sign-ins under way."""
FAMILY = (b"x-ms-client-principal", b"x-ms-token-")


@dataclass(frozen=True)
class Registration:
    """The app registration; `issuer` is the tenant's v2.0 endpoint."""

    client_id: str
    client_secret: str
    issuer: str
    scope: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Registration | None:
        """What App Service keeps in authsettingsV2 stands in variables here; None where authentication is off."""
        if environ.get("WEBSITE_AUTH_ENABLED", "").casefold() != "true":
            return None
        return cls(client_id=environ["WEBSITE_AUTH_CLIENT_ID"], client_secret=environ["MICROSOFT_PROVIDER_AUTHENTICATION_SECRET"],
                   issuer=environ["WEBSITE_AUTH_OPENID_ISSUER"].rstrip("/"), scope=environ.get("WEBSITE_AUTH_SCOPE", "openid profile"))


@dataclass(frozen=True)
class SigningIn:
    """A sign-in under way, in the browser that holds `browser`."""

    browser: str
    nonce: str
    verifier: str
    target: str
    until: float


@dataclass(frozen=True)
class Session:
    claims: dict[str, Any]
    """Of the id token."""
    access_token: str
    id_token: str
    expires_on: int
    """Of the access token, seconds since 1970."""
    until: float

    @property
    def headers(self) -> dict[str, str]:
        """As the app gets them."""
        principal = {"auth_typ": "aad", "claims": [{"typ": name, "val": value} for name, value in _listed(self.claims)],
                     "name_typ": "name", "role_typ": "roles"}
        return {
            "x-ms-client-principal": base64.b64encode(json.dumps(principal).encode()).decode(),
            "x-ms-client-principal-id": str(self.claims.get("oid", "")), "x-ms-client-principal-idp": "aad",
            "x-ms-client-principal-name": str(self.claims.get("preferred_username", "")),
            "x-ms-token-aad-access-token": self.access_token, "x-ms-token-aad-id-token": self.id_token,
            "x-ms-token-aad-expires-on": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires_on))}


class SignInFailed(Exception):
    """The person is told why."""


class EasyAuth:
    """`base_url` is the app's own address; `http` asks the issuer."""

    def __init__(self, registration: Registration, base_url: str, http: Callable[[], httpx.AsyncClient] | None = None,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registration, self._base_url, self._monotonic = registration, base_url, monotonic
        self._http = http or (lambda: httpx.AsyncClient(timeout=30))
        self._under_way: dict[str, SigningIn] = {}
        self._sessions: dict[str, Session] = {}

    def admitted(self, request: Request) -> Request:
        """The request with the headers that the app gets."""
        kept = [(name, value) for name, value in request.scope["headers"] if not name.lower().startswith(FAMILY)]
        if (session := self._session(request)) is not None:
            kept += [(name.encode(), value.encode("utf-8")) for name, value in session.headers.items()]
        return Request({**request.scope, "headers": kept}, request.receive)

    async def answer(self, request: Request) -> Response:
        """What lies below `/.auth/`."""
        path = request.scope["path"]
        if request.method != "GET":
            return Response(status_code=405, headers={"allow": "GET"})
        if path == "/.auth/login/aad":
            return await self._log_in(request)
        if path == CALLBACK:
            try:
                return await self._signed_in(request)
            except SignInFailed as failed:
                return PlainTextResponse(f"The sign-in failed: {failed}", 401, {"cache-control": "no-store"})
        if path == "/.auth/logout":
            return await self._log_out(request)
        if path == DONE:
            return PlainTextResponse("You are signed out.", headers={"cache-control": "no-store"})
        if path == "/.auth/me":
            return self._me(request)
        return Response(status_code=404)

    # --- in -------------------------------------------------------------------------------------------

    async def _log_in(self, request: Request) -> Response:
        state, browser = secrets.token_urlsafe(24), request.cookies.get(NONCE) or secrets.token_urlsafe(24)
        under_way = SigningIn(browser=browser, nonce=secrets.token_urlsafe(24), verifier=secrets.token_urlsafe(48),
                              target=self._own(request.query_params.get("post_login_redirect_uri", "/")),
                              until=self._monotonic() + SIGN_IN_LIFETIME)
        _keep(self._under_way, state, under_way, self._monotonic())
        challenge = base64.urlsafe_b64encode(hashlib.sha256(under_way.verifier.encode()).digest()).rstrip(b"=").decode()
        try:
            endpoint = (await self._metadata())["authorization_endpoint"]
        except SignInFailed as failed:
            return PlainTextResponse(f"The sign-in failed: {failed}", 502)
        query = urlencode({
            "client_id": self._registration.client_id, "response_type": "code", "redirect_uri": self._base_url + CALLBACK,
            "scope": self._registration.scope, "state": state, "nonce": under_way.nonce, "code_challenge": challenge,
            "code_challenge_method": "S256"})
        response = RedirectResponse(f"{endpoint}?{query}", 302, {"cache-control": "no-store"})
        # Whoever comes back must be the browser that went: nobody is signed in as somebody else by a link.
        response.set_cookie(NONCE, browser, max_age=int(SIGN_IN_LIFETIME), path=PREFIX, httponly=True, samesite="lax")
        return response

    async def _signed_in(self, request: Request) -> Response:
        query = request.query_params
        under_way = self._under_way.pop(query.get("state", ""), None)
        if under_way is None or under_way.until <= self._monotonic():
            raise SignInFailed("it is unknown here, or took too long; open the page again")
        if not secrets.compare_digest(under_way.browser, request.cookies.get(NONCE, "")):
            raise SignInFailed("it was begun in another browser; open the page again")
        if "code" not in query:
            raise SignInFailed(query.get("error_description") or query.get("error") or "there is no code")
        session = await self._session_of(query["code"], under_way)
        key = secrets.token_urlsafe(32)
        _keep(self._sessions, key, session, self._monotonic())
        response = RedirectResponse(under_way.target, 302, {"cache-control": "no-store"})
        response.set_cookie(SESSION, key, max_age=int(SESSION_LIFETIME), httponly=True, samesite="lax")
        response.delete_cookie(NONCE, path=PREFIX)
        return response

    async def _session_of(self, code: str, under_way: SigningIn) -> Session:
        """Change the code into tokens, and believe the id token only when it is for us, now, for this sign-in."""
        metadata = await self._metadata()
        answer = await self._ask("POST", metadata["token_endpoint"], data={
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._base_url + CALLBACK,
            "client_id": self._registration.client_id, "client_secret": self._registration.client_secret,
            "code_verifier": under_way.verifier})
        keys = jwt.PyJWKSet.from_dict(await self._ask("GET", metadata["jwks_uri"]))
        try:
            kid = jwt.get_unverified_header(answer["id_token"]).get("kid", "")
            claims = jwt.decode(answer["id_token"], keys[kid], algorithms=["RS256"], audience=self._registration.client_id,
                                issuer=self._registration.issuer, options={"require": ["exp", "iat", "nonce"]})
        except (jwt.PyJWTError, KeyError, TypeError) as error:
            raise SignInFailed(f"the id token is not valid ({type(error).__name__})") from None
        if not secrets.compare_digest(str(claims["nonce"]), under_way.nonce):
            raise SignInFailed("the id token is of another sign-in")
        return Session(claims=claims, access_token=answer.get("access_token", ""), id_token=answer["id_token"],
                       expires_on=int(time.time()) + int(answer.get("expires_in", 3600)), until=self._monotonic() + SESSION_LIFETIME)

    async def _metadata(self) -> dict[str, Any]:
        return await self._ask("GET", f"{self._registration.issuer}/.well-known/openid-configuration")

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            async with self._http() as http:
                response = await http.request(method, url, **options)
            found = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SignInFailed(f"the issuer can't be asked ({type(error).__name__})") from None
        if response.is_error or not isinstance(found, dict):
            told = found.get("error_description", "") if isinstance(found, dict) else ""
            raise SignInFailed(f"the issuer answered {response.status_code}: {told}")
        return found

    # --- out, and who ---------------------------------------------------------------------------------

    async def _log_out(self, request: Request) -> Response:
        """The session ends here and at the issuer, which sends the browser back."""
        self._sessions.pop(request.cookies.get(SESSION, ""), None)
        target = self._base_url + self._own(request.query_params.get("post_logout_redirect_uri", DONE))
        try:
            endpoint = (await self._metadata()).get("end_session_endpoint")
        except SignInFailed:
            endpoint = None
        at = f"{endpoint}?{urlencode({'post_logout_redirect_uri': target})}" if endpoint else target
        response = RedirectResponse(at, 302, {"cache-control": "no-store"})
        response.delete_cookie(SESSION)
        return response

    def _me(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return Response(status_code=401)
        return JSONResponse([{
            "provider_name": "aad", "user_id": session.claims.get("preferred_username", ""), "access_token": session.access_token,
            "id_token": session.id_token, "expires_on": session.headers["x-ms-token-aad-expires-on"],
            "user_claims": [{"typ": name, "val": value} for name, value in _listed(session.claims)],
        }], headers={"cache-control": "no-store"})

    def _session(self, request: Request) -> Session | None:
        found = self._sessions.get(request.cookies.get(SESSION, ""))
        return found if found is not None and found.until > self._monotonic() else None

    def _own(self, address: str) -> str:
        """Path and query of an address of the app; `/` for anywhere else: nobody is sent on to a stranger's page."""
        try:
            parts = urlsplit(address)
        except ValueError:
            return "/"
        is_own = not parts.netloc or f"{parts.scheme}://{parts.netloc}" == self._base_url
        # Browsers read a backslash as a slash, and leave out tabs and line ends.
        if not is_own or (not parts.netloc and parts.scheme) or not parts.path.startswith("/") or parts.path.startswith("//") or any(
                letter in address for letter in "\\\t\r\n"):
            return "/"
        return parts.path + (f"?{parts.query}" if parts.query else "")


def _keep[Kept: (SigningIn, Session)](known: dict[str, Kept], key: str, value: Kept, now: float) -> None:
    """With one more, without those that are over; the oldest makes room."""
    for old in [name for name, kept in known.items() if kept.until <= now]:
        del known[old]
    while len(known) >= MOST:
        del known[next(iter(known))]
    known[key] = value


def _listed(claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A claim with several values is told once for each."""
    return [(name, value if isinstance(value, str) else json.dumps(value))
            for name, values in claims.items() for value in (values if isinstance(values, list) else [values])]
