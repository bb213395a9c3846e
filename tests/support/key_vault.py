"""Azure Key Vault's keys as the real SDK sees them, over a requests session that never leaves the process.

It challenges first (401 with where a token comes from), then creates, gets and signs, with the service's own shapes.
"""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from pilotage.domain.signatures import Jwk, es256_jwk

VAULT = "https://passports.vault.azure.net"
TENANT = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000009"
_KEY = re.compile(r"/keys/(?P<name>[0-9A-Za-z-]+)(?:/(?P<version>[0-9a-f]{32}))?(?:/(?P<action>create|sign))?/?$")


class Token:
    """A credential; the scopes that it was asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("a-token", 4_102_444_800)


class KeyVault(BaseAdapter):
    """One vault. `status` answers every authorized request instead, as often as `times` says."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, dict[str, ec.EllipticCurvePrivateKey]] = {}
        self.asked: list[str] = []
        self.status, self.times = 0, 0

    def transport(self) -> RequestsTransport:
        session = requests.Session()
        session.mount(VAULT, self)
        return RequestsTransport(session=session, session_owner=False)

    def close(self) -> None:
        """Nothing is open."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        method, path = str(request.method), str(request.path_url).partition("?")[0]
        if request.headers.get("Authorization") != "Bearer a-token":
            challenge = f'Bearer authorization="{TENANT}", resource="https://vault.azure.net"'
            return self._answer(request, 401, {}, {"WWW-Authenticate": challenge})
        self.asked.append(f"{method} {path}")
        if self.times > 0:
            self.times -= 1
            return self._answer(request, self.status, {"error": {"code": "Injected", "message": "as asked for"}}, {"Retry-After": "0"})
        found = _KEY.match(path)
        body = json.loads(request.body or b"{}")
        if found and found["action"] == "create" and method == "POST":
            return self._answer(request, 200, self._bundle(found["name"], self._create(found["name"], body)))
        versions = self.keys.get(found["name"], {}) if found else {}
        if found is None or (version := found["version"] or next(reversed(versions), "")) not in versions:
            return self._answer(request, 404, {"error": {"code": "KeyNotFound", "message": f"A key was not found at {path}."}})
        if found["action"] == "sign" and method == "POST":
            assert body["alg"] == "ES256"
            digest = base64.urlsafe_b64decode(body["value"] + "==")
            r, s = utils.decode_dss_signature(versions[version].sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
            signature = _text(r.to_bytes(32) + s.to_bytes(32))
            return self._answer(request, 200, {"kid": f"{VAULT}/keys/{found['name']}/{version}", "value": signature})
        return self._answer(request, 200, self._bundle(found["name"], version))

    def _create(self, name: str, body: dict[str, Any]) -> str:
        versions = self.keys.setdefault(name, {})
        version = f"{len(versions) + 1:032x}"
        versions[version] = ec.generate_private_key(ec.SECP256R1())
        return version

    def _bundle(self, name: str, version: str) -> dict[str, Any]:
        numbers = self.keys[name][version].public_key().public_numbers()
        members: Jwk = es256_jwk(numbers.x, numbers.y)
        return {"key": {**members, "kid": f"{VAULT}/keys/{name}/{version}", "key_ops": ["sign", "verify"]},
                "attributes": {"enabled": True, "created": 1767225600, "updated": 1767225600, "recoveryLevel": "Recoverable+Purgeable"}}

    def _answer(self, request: requests.PreparedRequest, status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        made = requests.Response()
        made.status_code, made.request, made.url = status, request, str(request.url)
        made.headers.update({"Content-Type": "application/json", **(headers or {})})
        made.raw = HTTPResponse(io.BytesIO(json.dumps(value).encode()), made.headers, status, preload_content=False)
        return made


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
