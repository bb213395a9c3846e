"""An issuer's signing keys, by OpenID Connect discovery: kept, and read again when a token names a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import httpx
import jwt

from pilotage.errors import Unauthenticated, Unavailable

TIMEOUT = 10.0
"""Seconds."""
KEEP_FOR = 3600.0
"""Seconds until the keys are read again anyway, so that a withdrawn key is not trusted for ever."""
REFRESH_AFTER = 30.0
"""Seconds between two readings for unknown keys: tokens with made-up key ids must not become requests."""

Fetch = Callable[[str], dict[str, Any]]


class SigningKeys:
    """The keys of one issuer. `fetch` reads a URL's JSON object and raises Unavailable."""

    def __init__(self, issuer: str, fetch: Fetch | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._fetch, self._monotonic = issuer, fetch or _fetch, monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._lock = Lock()

    def key(self, key_id: str) -> jwt.PyJWK:
        """The key of a token's header. Raises Unauthenticated when the issuer has none of that id."""
        with self._lock:
            age = None if self._read_at is None else self._monotonic() - self._read_at
            if age is None or age > KEEP_FOR or (key_id not in self._keys and age > REFRESH_AFTER):
                self._read(must=age is None or age > 2 * KEEP_FOR)
            if key_id not in self._keys:
                raise Unauthenticated(f"the token is signed with a key that {self._issuer} does not publish")
            return self._keys[key_id]

    def _read(self, must: bool) -> None:
        """Read the keys; while the issuer is down the known ones serve for a while longer."""
        try:
            found = self._published()
        except Unavailable:
            if must:
                raise
            return
        self._keys, self._read_at = found, self._monotonic()

    def _published(self) -> dict[str, jwt.PyJWK]:
        document = self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise Unavailable(f"PILOTAGE_AUTH_ISSUER is {self._issuer}, but its discovery document says {document.get('issuer')}")
        keys = {}
        for entry in self._fetch(document["jwks_uri"]).get("keys", []):
            if entry.get("kty") == "RSA" and entry.get("use", "sig") == "sig" and entry.get("kid"):
                keys[entry["kid"]] = jwt.PyJWK.from_dict(entry, algorithm="RS256")
        return keys


def _fetch(url: str) -> dict[str, Any]:
    try:
        response = httpx.get(url, timeout=TIMEOUT, follow_redirects=True)
        response.raise_for_status()
        found = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"{url} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{url} does not hold a JSON object")
    return found
