"""Passports signed by Azure Key Vault, through the real azure-keyvault-keys: challenge, get, sign, and what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from pilotage.domain.signatures import Jwk, Signature, coordinates, thumbprint
from pilotage.errors import InvalidInput, NotFound, PermissionDenied, PilotageError, Throttled, Unavailable
from pilotage.signing.key_vault import KeyVaultKey
from tests.support.key_vault import VAULT, KeyVault, Token

ENTRY = b"an entry"


def verifies(jwk: Jwk, signature: Signature, content: bytes) -> bool:
    raw = signature.raw
    public = ec.EllipticCurvePublicNumbers(*coordinates(jwk), ec.SECP256R1()).public_key()
    public.verify(utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])), content, ec.ECDSA(SHA256()))
    return True


@pytest.fixture
def vault() -> KeyVault:
    return KeyVault()


def _key(vault: KeyVault, **options: Any) -> str:
    """A new version of the key, made as an operator makes it; its URL."""
    return str(KeyClient(VAULT, Token(), transport=vault.transport()).create_ec_key("passports", curve="P-256").id)


def _signer(vault: KeyVault, key_id: str, token: Token | None = None) -> KeyVaultKey:
    used = token or Token()
    return KeyVaultKey(key_id, lambda: used, transport=vault.transport(), retry_backoff_factor=0)


def test_what_the_vault_signs_is_checked_without_it(vault: KeyVault) -> None:
    key_id, token = _key(vault), Token()
    vault.asked.clear()
    signer = _signer(vault, key_id, token)
    signature = signer.sign(ENTRY)
    assert signature.kid == thumbprint(signer.public_key())
    assert verifies(signer.public_key(), signature, ENTRY)
    signer.sign(b"the next")
    path = key_id.removeprefix(VAULT)
    assert [asked for asked in vault.asked if asked.startswith("POST")] == [f"POST {path}/sign"] * 2
    assert set(token.scopes) == {"https://vault.azure.net/.default"}, "asked for where the challenge says"


def test_a_new_version_signs_with_another_key(vault: KeyVault) -> None:
    old, new = (_signer(vault, _key(vault)) for _ in range(2))
    assert old.sign(ENTRY).kid != new.sign(ENTRY).kid
    assert verifies(old.public_key(), old.sign(ENTRY), ENTRY)


@pytest.mark.parametrize(("status", "error"), [(429, Throttled), (503, Unavailable), (403, PermissionDenied)])
def test_what_the_vault_refuses_is_told_as_what_it_means_and_soon(vault: KeyVault, status: int, error: type[PilotageError]) -> None:
    signer = _signer(vault, _key(vault))
    vault.asked.clear()
    vault.status, vault.times = status, 100
    with pytest.raises(error) as caught:
        signer.sign(ENTRY)
    assert len(vault.asked) <= 4, "who calls tries again by itself; a rollback goes on"
    assert status != 403 or "Key Vault Crypto User" in str(caught.value)
    vault.times = 0
    assert verifies(signer.public_key(), signer.sign(ENTRY), ENTRY)


def test_a_key_that_is_not_there_or_names_no_version_says_so(vault: KeyVault) -> None:
    with pytest.raises(NotFound):
        _signer(vault, f"{VAULT}/keys/none/{1:032x}").public_key()
    with pytest.raises(InvalidInput, match="PILOTAGE_SIGNING_KEY_ID names no version"):
        _signer(vault, f"{VAULT}/keys/passports").public_key()
