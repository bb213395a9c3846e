"""People sign in with a browser: the authorization code flow of Entra's v2.0 endpoint, with PKCE.

Sources: learn.microsoft.com, v2-oauth2-auth-code-flow and v2-protocols-oidc. There is no session here, so every request asks for
a name and a password; codes are kept in memory for a minute, and are good for one use.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from emulator.config import IdentityConfig, SignInConfig

if TYPE_CHECKING:
    import jinja2

CODE_LIFETIME = 60.0
"""Seconds."""
MOST_CODES = 1000
_RESERVED = frozenset({"openid", "profile", "email", "offline_access"})


class Refused(Exception):
    """The application is told, in OAuth's words: an error and its description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


class NotRedirected(Exception):
    """Who asks is not known, so the person is told and nobody else: an unknown address is never redirected to."""


@dataclass(frozen=True)
class Grant:
    """What a code stands for."""

    person: IdentityConfig
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str
    challenge: str
    until: float

    @property
    def audience(self) -> str:
        """The resource that the access token is for; the application itself when the scope names none."""
        resources = [word for word in self.scope.split() if word not in _RESERVED]
        return resources[0].rsplit("/", 1)[0] if resources else self.client_id


class SignIn:
    """`client` is the application that people sign in to; `secret` its own; `redirect_uris`: where answers may go.

    `people` are those who may sign in; a person's password is their username.
    """

    def __init__(self, client: SignInConfig, secret: str, people: Mapping[str, IdentityConfig], redirect_uris: Sequence[str],
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client, self._secret, self._people = client, secret, people
        self._redirect_uris, self._monotonic = redirect_uris, monotonic
        self._codes: dict[str, Grant] = {}

    # --- authorize ------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        """GET shows the form; POST of the form redirects with a code."""
        asked = dict(request.query_params)
        try:
            self._known(asked)
        except NotRedirected as refused:
            return self._page(400, "refused", asked, problem=str(refused))
        try:
            self._check(asked)
        except Refused as refused:
            return self._redirect(asked, {"error": refused.error, "error_description": refused.description})
        if request.method == "GET":
            return self._page(200, "sign_in", asked)
        form = _form(await request.body())
        person = self._people.get(form.get("username", ""))
        if person is None or form.get("password") != person.username:
            return self._page(200, "sign_in", asked, username=form.get("username", ""),
                              problem="That username and password do not match: on the local platform the password is the username.")
        return self._redirect(asked, {"code": self._issue(person, asked)})

    def _known(self, asked: Mapping[str, str]) -> None:
        if asked.get("client_id") != self._client.client_id:
            raise NotRedirected("AADSTS700016: no application with this client_id is known here")
        if asked.get("redirect_uri") not in self._redirect_uris:
            raise NotRedirected("AADSTS50011: the redirect_uri is none of those that the application has registered")

    def _check(self, asked: Mapping[str, str]) -> None:
        if asked.get("response_type") != "code":
            raise Refused("unsupported_response_type", "AADSTS700054: response_type must be 'code'")
        if asked.get("response_mode", "query") != "query":
            raise Refused("invalid_request", "AADSTS70007: response_mode must be 'query'")
        if "openid" not in asked.get("scope", "").split():
            raise Refused("invalid_request", "AADSTS900144: the scope must contain 'openid'")
        if "code_challenge" in asked and asked.get("code_challenge_method") != "S256":
            raise Refused("invalid_request", "AADSTS9002313: code_challenge_method must be 'S256'")

    def _issue(self, person: IdentityConfig, asked: Mapping[str, str]) -> str:
        now = self._monotonic()
        self._codes = {code: grant for code, grant in self._codes.items() if grant.until > now}
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(32)
        self._codes[code] = Grant(
            person=person, client_id=asked["client_id"], redirect_uri=asked["redirect_uri"], scope=asked["scope"],
            nonce=asked.get("nonce", ""), challenge=asked.get("code_challenge", ""), until=now + CODE_LIFETIME)
        return code

    def _redirect(self, asked: Mapping[str, str], answer: dict[str, str]) -> Response:
        if "state" in asked:
            answer["state"] = asked["state"]
        uri = asked["redirect_uri"]
        # 303: the browser must ask with GET, whatever it came with.
        return RedirectResponse(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}", 303, {"cache-control": "no-store"})

    # --- token ----------------------------------------------------------------------------------------

    def redeem(self, form: Mapping[str, str]) -> Grant:
        """The grant of a code, once. Raises Refused."""
        if form.get("client_id") != self._client.client_id or not secrets.compare_digest(
                form.get("client_secret", "").encode(), self._secret.encode()):
            raise Refused("invalid_client", "AADSTS7000215: unknown client or invalid client secret")
        grant = self._codes.pop(form.get("code", ""), None)
        if grant is None or grant.until <= self._monotonic():
            raise Refused("invalid_grant", "AADSTS70008: the code is unknown, was used, or has expired")
        if form.get("redirect_uri") != grant.redirect_uri:
            raise Refused("invalid_grant", "AADSTS50011: the redirect_uri is not the one that the code was asked for with")
        if grant.challenge and _challenge(form.get("code_verifier", "")) != grant.challenge:
            raise Refused("invalid_grant", "AADSTS501481: the code_verifier does not match the code_challenge")
        return grant

    # --- logout ---------------------------------------------------------------------------------------

    async def log_out(self, request: Request) -> Response:
        """Nobody stays signed in here; back to the application, if it is the one we know."""
        target = request.query_params.get("post_logout_redirect_uri", "")
        origins = {_origin(uri) for uri in self._redirect_uris}
        if target and _origin(target) in origins:
            return RedirectResponse(target, 302, {"cache-control": "no-store"})
        return self._page(200, "signed_out", {})

    # --- pages ----------------------------------------------------------------------------------------

    def _page(self, status: int, template: str, asked: Mapping[str, str], *, username: str = "", problem: str = "") -> Response:
        # A browser follows the form's redirect only to where the policy lets a form go.
        target = f" {_origin(asked['redirect_uri'])}" if status == 200 and asked else ""
        policy = (f"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'{target}; "
                  "frame-ancestors 'none'; base-uri 'none'")
        people = [{"username": person.username, "name": person.name, "roles": person.roles} for person in self._people.values()]
        text = _templates().get_template(f"{template}.html").render(people=people, username=username, problem=problem)
        return Response(text, status, {"content-security-policy": policy, "referrer-policy": "same-origin",
                                       "x-content-type-options": "nosniff", "cache-control": "no-store"}, "text/html")


def _form(body: bytes) -> dict[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}
    except ValueError:  # not UTF-8, or too many fields: nobody is called so
        return {}


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
                              undefined=jinja2.StrictUndefined)
