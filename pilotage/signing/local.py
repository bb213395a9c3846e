"""A signing key in a file: for one machine. In Azure the key stays in Key Vault."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.domain.signatures import Jwk, Signature, es256_jwk, thumbprint
from pilotage.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


class LocalKey:
    """`Signer` with a P-256 key in a PEM file; the file is made, for its owner alone, when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _key(self) -> EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not self._path.exists():
            _create(self._path)
        try:
            key = load_pem_private_key(self._path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput(f"PILOTAGE_SIGNING_KEY: {self._path} is no private key in PEM without a password: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise InvalidInput(f"PILOTAGE_SIGNING_KEY: {self._path} holds no P-256 key; "
                               "`openssl ecparam -name prime256v1 -genkey -noout` makes one")
        return key

    @cached_property
    def _jwk(self) -> Jwk:
        numbers = self._key.public_key().public_numbers()
        return es256_jwk(numbers.x, numbers.y)

    def public_key(self) -> Jwk:
        return self._jwk

    def sign(self, content: bytes) -> Signature:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        # Deterministic (RFC 6979): a repeat signs the same bytes, and no weak random number gives the key away.
        r, s = decode_dss_signature(self._key.sign(content, ec.ECDSA(SHA256(), deterministic_signing=True)))
        return Signature.of(thumbprint(self._jwk), r.to_bytes(32) + s.to_bytes(32))


def _create(path: Path) -> None:
    """Make a key. Of several processes that do so at once, one makes it: a link is made or is there, never half."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner alone
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(name)
