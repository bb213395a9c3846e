"""The people of the story, each acting through the door that a person would use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from demo import browser
from demo.errors import NotObserved


class Pilotage:
    """Pilotage's HTTP API, as an operator's script uses it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._http = httpx.Client(base_url=env["FUNCTIONS_URL"], timeout=60,
                                  headers={"Authorization": f"Bearer {env['PILOTAGE_TOKEN']}"})

    def promotions(self, **filters: str) -> list[dict[str, Any]]:
        return self._call("GET", "/api/promotions", params=filters)["items"]

    def promotion(self, promotion: str) -> dict[str, Any]:
        return self._call("GET", f"/api/promotions/{promotion}")

    def roll_back(self, promotion: str, reason: str) -> dict[str, Any]:
        return self._call("POST", f"/api/promotions/{promotion}/rollback", json={"reason": reason})

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise NotObserved(f"{method} {path} was answered {response.status_code}: {response.text[:500]}")
        return response.json()


class Approver:
    """A person who reads the announcement, signs in, and decides."""

    def __init__(self, env: dict[str, str], username: str, password: str) -> None:
        self._env, self._username, self._password = env, username, password
        self._http = httpx.Client(timeout=60, verify=env["SSL_CERT_FILE"], trust_env=False)

    def announcement(self, promotion: str) -> dict[str, Any] | None:
        """The newest `awaiting_approval` for this promotion: the team's card, as machines get it, with what a decision needs."""
        mailbox = f"{self._env['EMULATOR_URL']}/_emulator/mailbox"
        found = [m for m in self._http.get(mailbox, params={"channel": "machines"}).raise_for_status().json()["items"]
                 if m["body"].get("kind") == "awaiting_approval" and m["body"].get("promotion") == promotion]
        return found[-1]["body"] if found else None

    def decide(self, announcement: dict[str, Any], decision: str, reason: str) -> str:
        """On the page where a browser is installed, else over HTTP; what happened, in words."""
        why = "there is no Chromium here: with one she would use the page"
        if (chromium := browser.installed()) is not None:
            try:
                title, said = browser.decide(chromium, announcement["link"], self._username, self._password, decision, reason)
                return f"on the review page of {title}, signed in with {chromium.name}; the page says: {said}"
            except browser.WouldNotStart as error:
                why = f"{chromium} would not start: {error}"
        self._send(announcement, decision, reason)
        return f"over HTTP, with her token and the link's ({why})"

    def _send(self, announcement: dict[str, Any], decision: str, reason: str) -> None:
        response = self._http.post(announcement["decision_url"], headers={"Authorization": f"Bearer {self._sign_in()}"},
                                   json={"decision": decision, "reason": reason, "token": announcement["link_token"]})
        if response.is_error:
            raise NotObserved(f"the decision was answered {response.status_code}: {response.text[:500]}")

    def _sign_in(self) -> str:
        response = self._http.post(
            f"{self._env['EMULATOR_URL']}/{self._env['AZURE_TENANT_ID']}/oauth2/v2.0/token",
            data={"grant_type": "password", "client_id": "pilotage-demo", "username": self._username, "password": self._password,
                  "scope": "api://pilotage/.default"})
        return response.raise_for_status().json()["access_token"]


def wait_for[T](what: str, look: Callable[[], T | None], timeout: float = 120) -> T:
    """Look every quarter of a second until there is something to see; raises NotObserved after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.25)
    raise NotObserved(f"{what} was not seen within {timeout:g} s")
