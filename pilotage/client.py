"""Pilotage's HTTP API as the command line uses it: answers as values, refusals as sentences that say what to do next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import httpx

from pilotage.errors import InvalidInput, PilotageError, Unauthenticated, Unavailable

TIMEOUT = 60.0
"""Seconds; of the routes that people wait for, the slowest reads a promotion's whole passport."""
AUDIT_TIMEOUT = 230.0
"""Seconds: what Azure gives an HTTP function; a period's evidence is read and signed in one request."""
AUDIENCE = "api://pilotage"

_NEXT = {
    401: "sign in again with `az login`, or set PILOTAGE_TOKEN to a token that has not expired",
    403: "",  # the message says which role or rule it is about
    404: "`pilotage promotions list` shows what there is",
    409: "",
    410: "`pilotage promotions show` tells how it ended",
    503: "try again in a few seconds: what you asked for is safe to repeat",
}


class Refused(PilotageError):
    """The API answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        advice = _NEXT.get(status, "the app's log has the details" if status >= 500 else "")
        super().__init__(f"{message} ({advice})" if advice else message)
        self.status, self.code = status, code


class PilotageClient:
    """One caller's view of the API. Raises Refused, Unavailable (no answer at all)."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @classmethod
    def from_environment(cls, url: str | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """FUNCTIONS_URL says where, PILOTAGE_TOKEN or the signed-in Azure identity says who. Raises InvalidInput, Unauthenticated."""
        address = url or environ.get("FUNCTIONS_URL", "")
        if not address.startswith(("https://", "http://")):
            raise InvalidInput("FUNCTIONS_URL is not set: set it (or --url) to the app's address, such as https://pilotage.azurewebsites.net")
        token = environ.get("PILOTAGE_TOKEN") or signed_in_token(environ.get("PILOTAGE_AUTH_AUDIENCE") or AUDIENCE)
        return cls(httpx.Client(base_url=address.rstrip("/"), timeout=TIMEOUT, headers={"Authorization": f"Bearer {token}"}))

    def promotions(self, **filters: str | int | None) -> dict[str, Any]:
        return self._call("GET", "/api/promotions", params={name: value for name, value in filters.items() if value is not None})

    def promotion(self, promotion: str) -> dict[str, Any]:
        return self._call("GET", f"/api/promotions/{quote(promotion, safe='')}")

    def promote(self, model: str, version: str, **about: str | None) -> dict[str, Any]:
        told = {name: value for name, value in about.items() if value is not None}
        return self._call("POST", "/api/promotions", json={"model": model, "version": version, **told})

    def report(self, promotion: str) -> str:
        """The gates' report as a page of HTML."""
        return self._send("GET", f"/api/promotions/{quote(promotion, safe='')}/report").text

    def evidence(self, promotion: str) -> dict[str, Any]:
        """The same as values."""
        return self._call("GET", f"/api/promotions/{quote(promotion, safe='')}/report", params={"format": "json"})

    def waive(self, promotion: str, gate: str, reason: str, expires: str) -> dict[str, Any]:
        return self._call("POST", f"/api/promotions/{quote(promotion, safe='')}/waivers",
                          json={"gate": gate, "reason": reason, "expires": expires})

    def retry(self, promotion: str) -> dict[str, Any]:
        return self._call("POST", f"/api/promotions/{quote(promotion, safe='')}/retry", json={})

    def roll_back(self, promotion: str, reason: str, *, force: bool = False) -> dict[str, Any]:
        return self._call("POST", f"/api/promotions/{quote(promotion, safe='')}/rollback", json={"reason": reason, "force": force})

    def plan(self, promotion: str) -> dict[str, Any]:
        return self._call("GET", f"/api/promotions/{quote(promotion, safe='')}/plan")

    def plan_version(self, model: str, version: str, **about: str | None) -> dict[str, Any]:
        told = {name: value for name, value in about.items() if value is not None}
        return self._call("GET", "/api/plan", params={"model": model, "version": version, **told})

    def passport(self, promotion: str) -> dict[str, Any]:
        return self._call("GET", f"/api/promotions/{quote(promotion, safe='')}/passport")

    def audit(self, begin: str, end: str) -> bytes:
        """The zip of a period."""
        return self._send("GET", "/api/audit", params={"from": begin, "to": end}, timeout=AUDIT_TIMEOUT).content

    def keys(self) -> dict[str, Any]:
        return self._call("GET", "/api/keys")

    def explain(self, **about: str) -> dict[str, Any]:
        return self._call("GET", "/api/explain", params={name: value for name, value in about.items() if value})

    def decide(self, promotion: str, decision: str, reason: str, link_token: str, **about: str) -> dict[str, Any]:
        return self._call("POST", f"/api/approvals/{quote(promotion, safe='')}/decision",
                          json={"decision": decision, "reason": reason, "token": link_token, **{k: v for k, v in about.items() if v}})

    def comment(self, promotion: str, text: str) -> dict[str, Any]:
        return self._call("POST", f"/api/approvals/{quote(promotion, safe='')}/comments", json={"text": text})

    def review(self, promotion: str, justified: bool, reason: str) -> dict[str, Any]:
        return self._call("POST", f"/api/promotions/{quote(promotion, safe='')}/review", json={"justified": justified, "reason": reason})

    def delegate(self, policy: str, to: str, until: str, reason: str) -> dict[str, Any]:
        return self._call("POST", "/api/delegations", json={"policy": policy, "to": to, "until": until, "reason": reason})

    def channels(self) -> dict[str, Any]:
        return self._call("GET", "/api/channels")

    def try_channel(self, channel: str) -> dict[str, Any]:
        return self._call("POST", f"/api/channels/{quote(channel, safe='')}/test", json={})

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._send(method, path, **options)
        value = _json(response)
        if isinstance(value, dict):
            return value
        raise _stranger(method, path, response)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url} did not answer ({type(error).__name__}): "
                              "is FUNCTIONS_URL right, and the app up?") from error
        if response.is_success:
            return response
        value = _json(response)
        told = value.get("error") if isinstance(value, dict) else None
        if isinstance(told, dict):
            raise Refused(response.status_code, str(told.get("code", "")), str(told.get("message", "")))
        raise _stranger(method, path, response)


def _stranger(method: str, path: str, response: httpx.Response) -> Refused:
    return Refused(response.status_code, "", f"{method} {path} was answered {response.status_code} by something that is not Pilotage: "
                   "is FUNCTIONS_URL the app's address?")


def signed_in_token(audience: str) -> str:
    """A token of whoever is signed in (`az login`, a managed identity, ...). Raises Unauthenticated."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential

    try:
        return DefaultAzureCredential().get_token(f"{audience}/.default").token
    except ClientAuthenticationError as error:
        raise Unauthenticated("nobody is signed in: run `az login`, or set PILOTAGE_TOKEN to a bearer token") from error


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
