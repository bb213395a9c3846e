"""What every HTTP route shares: a verified caller with a role, a checked body, and errors that say what to do.

Routes are anonymous to the Functions host because a function key is no identity: each verifies the bearer
token itself and asks for an app role. Answers are JSON; an error is `{"error": {"code", "message"}}`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import azure.functions as func
from pydantic import BaseModel, ConfigDict, ValidationError

from pilotage.bootstrap import app
from pilotage.domain.access import Actor, Role
from pilotage.errors import (
    Busy,
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    InvalidPolicy,
    NotFound,
    PermissionDenied,
    PilotageError,
    StaleEpoch,
    Throttled,
    TokenExpired,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("pilotage.http")
BODY_LIMIT = 64 * 1024
SHEET_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""A report shows what it holds: it loads nothing, runs nothing and sends nothing."""
PAGE_POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
               "base-uri 'none'; form-action 'self'")
"""A page loads and runs nothing but our own script, and sends its forms to us alone."""
RETRY_AFTER = "10"
"""Seconds."""

_STATUS: tuple[tuple[type[PilotageError], int], ...] = (
    (InvalidPolicy, 500),  # the caller can't mend it
    (InvalidInput, 400), (Unauthenticated, 401), (Forbidden, 403), (NotFound, 404), (Conflict, 409), (StaleEpoch, 409),
    (Gone, 410), (PermissionDenied, 502), (Throttled, 503), (Unavailable, 503), (Busy, 503),
)


class Body(BaseModel):
    """A request's body: unknown fields are errors, so that a typo is not silently without effect."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, str_strip_whitespace=True)


@dataclass(frozen=True)
class Call:
    """A request whose caller is known."""

    actor: Actor
    route: Mapping[str, str]
    query: Mapping[str, str]
    payload: bytes
    address: str = ""
    """Path and query, as a sign-in or a form comes back to it."""

    def body[T: Body](self, model: type[T]) -> T:
        """The JSON body. Raises InvalidInput that names the field."""
        try:
            value = json.loads(self.payload) if self.payload.strip() else {}
        except (ValueError, RecursionError):
            raise InvalidInput("the body is not JSON: send a JSON object with Content-Type application/json") from None
        if not isinstance(value, dict):
            raise InvalidInput(f"the body must be a JSON object, not {type(value).__name__}")
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise InvalidInput("; ".join(_told(item, model) for item in error.errors(include_url=False))) from None

    def form[T: Body](self, model: type[T]) -> T:
        """The fields of a page's form. Raises InvalidInput that names the field."""
        try:
            fields = parse_qs(self.payload.decode(), keep_blank_values=True, max_num_fields=50)
        except (UnicodeDecodeError, ValueError):
            raise InvalidInput("the form can't be read: open the page again") from None
        if twice := sorted(name for name, values in fields.items() if len(values) > 1):
            raise InvalidInput(f"{twice[0][:40]} is there twice: open the page again")
        try:
            return model.model_validate({name: values[0] for name, values in fields.items()})
        except ValidationError as error:
            raise InvalidInput("; ".join(_told(item, model) for item in error.errors(include_url=False))) from None

    def require(self, role: Role, team: str | None = None) -> None:
        """Raise Forbidden unless the caller holds a role that grants this one, for this team."""
        if not self.actor.has(role, team):
            scope = f" (or {role.value}.{team})" if team else ""
            raise Forbidden(f"this takes the app role {role.value}{scope}; ask an owner of the app registration for it")


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    value: dict[str, Any] | str | bytes
    """JSON; a text is an HTML page, bytes are a file of the Content-Type in `headers`."""
    headers: dict[str, str] = field(default_factory=dict)
    sign_in: bool = False
    """True when nobody is signed in, or not any more: the only refusals that signing in mends."""


def serve(
    request: func.HttpRequest, role: Role, handle: Callable[[Call], Reply], *, limit: int = BODY_LIMIT
) -> func.HttpResponse:
    """Answer a request from a caller who holds `role` for at least one team; `handle` checks the team."""
    return _respond(_answered(request, role, handle, limit, page=False))


def serve_page(request: func.HttpRequest, role: Role, handle: Callable[[Call], Reply]) -> func.HttpResponse:
    """The same for people in a browser: errors are pages, and who is not signed in is sent to the sign-in.

    A form is taken from our own pages only; that it was shown to this very person is what its ticket proves.
    """
    reply = _answered(request, role, handle, BODY_LIMIT, page=True)
    if reply.sign_in and request.method == "GET" and _signs_in():
        return _respond(Reply(302, "", {"Location": f"/.auth/login/aad?post_login_redirect_uri={quote(_address(request), safe='')}"}))
    if isinstance(reply.value, dict):
        from pilotage.web import render_message

        told = reply.value["error"]
        reply = Reply(reply.status, render_message(reply.status, told["message"]), reply.headers)
    return _respond(reply, PAGE_POLICY)


def _signs_in() -> bool:
    """App Service says so where its authentication is on: then there is a page to sign in at."""
    return os.environ.get("WEBSITE_AUTH_ENABLED", "").casefold() == "true"


def _answered(request: func.HttpRequest, role: Role, handle: Callable[[Call], Reply], limit: int, *, page: bool) -> Reply:
    try:
        return _handle(request, role, handle, limit, page)
    except Unauthenticated as error:
        return replace(_refusal(error), sign_in=isinstance(error, TokenExpired) or _token(request)[0] is None)
    except PilotageError as error:
        return _refusal(error)
    except Exception:
        log.exception("%s %s failed", request.method, _path(request))
        return Reply(500, _error("internal", "Pilotage failed unexpectedly; its log has the details"))


def _handle(request: func.HttpRequest, role: Role, handle: Callable[[Call], Reply], limit: int, page: bool) -> Reply:
    try:
        this = app()
    except InvalidInput:
        log.exception("the settings are not valid")
        return Reply(500, _error("misconfigured", "Pilotage's settings are not valid; its log names the variable and the fix"))
    authorization, by_cookie = _token(request)
    actor = this.identity.verify(authorization)
    if request.method not in ("GET", "HEAD"):
        if by_cookie and not page:
            # A browser sends its cookie with whatever another site makes it send: there a form's ticket is asked for.
            raise Forbidden("this takes a bearer token in Authorization; a browser's session opens the pages only")
        if page and not _from_our_page(request):
            raise Forbidden("this form was not sent from one of our pages: open the page again")
    if actor.teams(role) == []:
        raise Forbidden(f"this takes the app role {role.value}; ask an owner of the app registration for it")
    payload = request.get_body() or b""
    if len(payload) > limit:
        return Reply(413, _error("too_large", f"the body has {len(payload)} bytes; the limit is {limit}"))
    return handle(Call(actor=actor, route=request.route_params, query=request.params, payload=payload,
                       address=_address(request)))


def moment(name: str, text: str) -> datetime:
    """A time with a zone. Raises InvalidInput that names the field."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{name}: {text!r} is not a time such as 2026-12-31T12:00:00Z") from None
    if found.tzinfo is None:
        raise InvalidInput(f"{name}: the time has no zone: end it with Z or an offset such as +01:00")
    return found


def _token(request: func.HttpRequest) -> tuple[str | None, bool]:
    """The token to verify, and whether a browser's session brought it.

    App Service Authentication hands on the token of who is signed in. Whoever could forge these headers would still need a token
    that the issuer has signed: nothing in them is believed.
    """
    if (sent := request.headers.get("Authorization")) is not None:
        return sent, False
    for name in ("X-MS-TOKEN-AAD-ACCESS-TOKEN", "X-MS-TOKEN-AAD-ID-TOKEN"):
        if token := request.headers.get(name):
            return f"Bearer {token}", True
    return None, False


def _from_our_page(request: func.HttpRequest) -> bool:
    """By what browsers say of where a request comes from; what says nothing is no browser, and carries no cookie."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc in (urlsplit(request.url).netloc, urlsplit(app().settings.base_url).netloc)


def _address(request: func.HttpRequest) -> str:
    parts = urlsplit(request.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _refusal(error: PilotageError) -> Reply:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    told = Unauthenticated if isinstance(error, Unauthenticated) else type(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="pilotage", error="invalid_token"'
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    if status >= 500:
        log.warning("answered %d: %s: %s", status, type(error).__name__, error)
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", told.__name__).lower()
    return Reply(status, _error(code, str(error)), headers)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _respond(reply: Reply, policy: str = SHEET_POLICY) -> func.HttpResponse:
    page = isinstance(reply.value, str)
    usual = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if page:
        # Links carry tokens in their query: no other site is told where a reader came from.
        usual |= {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return func.HttpResponse(
        reply.value if isinstance(reply.value, str | bytes) else json.dumps(reply.value, ensure_ascii=False), status_code=reply.status,
        mimetype=reply.headers.get("Content-Type", "text/html" if page else "application/json").partition(";")[0], charset="utf-8",
        headers={**usual, **{name: text for name, text in reply.headers.items() if name != "Content-Type"}})


def _told(item: Any, model: type[BaseModel]) -> str:
    """One problem of a body in a sentence; never its value, which may be a token."""
    name = ".".join(str(part) for part in item["loc"]) or "the body"
    if item["type"] == "missing":
        return f"{name} is missing"
    if item["type"] == "extra_forbidden":
        return f"{name} is unknown: the fields are {', '.join(model.model_fields)}"
    if item["type"] == "value_error":
        return f"{name}: {item['ctx']['error']}"
    return f"{name}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _path(request: func.HttpRequest) -> str:
    """The URL without its query, which may hold a link's token."""
    return request.url.partition("?")[0]
