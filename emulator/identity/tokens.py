"""Signing and verifying tokens: RS256 with keys that are kept with the state."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulator.errors import Unauthorized

LIFETIME = 24 * 3600
"""Seconds; real time, as for every token."""
_SKEW = 60
"""Seconds that a token is valid before it was issued: clocks differ."""


class TokenSigner:
    """Signs with the newest key; `rotate` adds one, and the earlier ones stay in the key set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.pem")):
            self._add(path)
        if not self._keys:
            self.rotate()

    def rotate(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = self._folder / f"{time.time_ns()}.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self._add(path)

    def _add(self, path: Path) -> None:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._current = hashlib.sha256(path.name.encode()).hexdigest()[:16]
        self._keys[self._current] = key

    def sign(self, claims: dict[str, Any], lifetime: int = LIFETIME) -> str:
        """A token with these claims that expires in `lifetime` seconds."""
        now = int(time.time())
        payload = {"iat": now, "nbf": now - _SKEW, "exp": now + lifetime, "uti": uuid.uuid4().hex, **claims}
        return jwt.encode(payload, self._keys[self._current], algorithm="RS256", headers={"kid": self._current})

    def key_set(self) -> dict[str, Any]:
        """The public keys, as a JWKS document."""
        return {"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
             "n": _number(key.public_key().public_numbers().n), "e": _number(key.public_key().public_numbers().e)}
            for kid, key in self._keys.items()
        ]}

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that we signed and that has not expired, whatever its audience; raises Unauthorized."""
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid", "")]
            return jwt.decode(token, key.public_key(), algorithms=["RS256"], options={"verify_aud": False})
        except KeyError:
            raise Unauthorized("the bearer token is not signed by the platform's identity service") from None
        except jwt.PyJWTError as error:
            raise Unauthorized(f"the bearer token is not valid: {error}") from error


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
