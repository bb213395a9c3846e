"""The signing key of one machine: made once, for its owner alone."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pilotage.domain.signatures import thumbprint
from pilotage.errors import InvalidInput
from pilotage.signing.local import LocalKey


def test_it_is_made_once_whoever_asks_first_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: thumbprint(LocalKey(path).public_key()), range(16)))
    assert len(names) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path], "nothing half-made is left"


def test_the_same_content_is_signed_the_same(tmp_path: Path) -> None:
    key = LocalKey(tmp_path / "key.pem")
    assert key.sign(b"entry") == key.sign(b"entry") == LocalKey(tmp_path / "key.pem").sign(b"entry") != key.sign(b"other")


@pytest.mark.parametrize(("kind", "says"), [("text", "is no private key in PEM"), ("rsa", "holds no P-256 key"),
                                            ("curve", "openssl ecparam -name prime256v1")])
def test_another_key_says_what_is_wanted(tmp_path: Path, kind: str, says: str) -> None:
    path = tmp_path / "key.pem"
    made = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(b"-----BEGIN" if kind == "text" else made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InvalidInput, match=says):
        LocalKey(path).public_key()
