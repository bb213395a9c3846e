"""A signing key that never leaves Key Vault. Role: Key Vault Crypto User on the key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.credentials import credential
from pilotage.domain.signatures import Jwk, Signature, es256_jwk, thumbprint
from pilotage.errors import InvalidInput

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.keyvault.keys.crypto import CryptographyClient

ROLE = "Key Vault Crypto User"
# Every caller tries again by itself, for hours; a rollback goes on unsigned, and must not wait for the SDK's ten attempts.
PATIENCE: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 10, "retry_total": 1, "retry_backoff_max": 1}
"""Seconds, and attempts after the first."""


class KeyVaultKey:
    """`Signer` with a P-256 key by its id with version, such as https://kv.vault.azure.net/keys/pilotage-passport/0123.

    `options` go to the SDK's clients.
    """

    def __init__(self, key_id: str, as_whom: Callable[[], TokenCredential] = credential, **options: Any) -> None:
        self._key_id, self._as_whom, self._options = key_id, as_whom, PATIENCE | options

    @cached_property
    def _client(self) -> CryptographyClient:
        from azure.keyvault.keys.crypto import CryptographyClient

        return CryptographyClient(self._key_id, self._as_whom(), **self._options)

    @cached_property
    def _jwk(self) -> Jwk:
        from azure.keyvault.keys import KeyClient

        vault, _, rest = self._key_id.partition("/keys/")
        name, _, version = rest.partition("/")
        if not version:
            raise InvalidInput("PILOTAGE_SIGNING_KEY_ID names no version: what was signed must say by which version, so name one")
        with azure_errors(f"read the key {name}", ROLE):
            key: Any = KeyClient(vault, self._as_whom(), **self._options).get_key(name, version).key
        if str(getattr(key.crv, "value", key.crv)) != "P-256":
            raise InvalidInput(f"PILOTAGE_SIGNING_KEY_ID: the key {name} is no P-256 key")
        return es256_jwk(int.from_bytes(key.x), int.from_bytes(key.y))

    def public_key(self) -> Jwk:
        return self._jwk

    def sign(self, content: bytes) -> Signature:
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        with azure_errors("sign a passport's entry", ROLE):
            signed = self._client.sign(SignatureAlgorithm.es256, hashlib.sha256(content).digest())
        return Signature.of(thumbprint(self._jwk), signed.signature)
