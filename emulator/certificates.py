"""The platform's own certificate authority, kept with the state so that clients stay set up across restarts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import certifi
import trustme

STORAGE_SUFFIX = "core.windows.net"
NAMES = ("localhost", "127.0.0.1", *(f"*.{kind}.{STORAGE_SUFFIX}" for kind in ("blob", "table", "queue")))


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the server's chain and key, and what clients trust (public roots and ours)."""

    chain: Path
    key: Path
    bundle: Path


def ensure(folder: Path) -> Certificates:
    """Make the authority and one server certificate, once for a state folder."""
    found = Certificates(folder / "server.pem", folder / "server.key", folder / "bundle.pem")
    if not found.bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(organization_name="Local platform")
        server = authority.issue_cert(*NAMES)
        found.chain.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        found.key.write_bytes(server.private_key_pem.bytes())
        found.key.chmod(0o600)
        # Written last: its presence says that the others are complete.
        found.bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes())
    return found
