"""The platform's own certificate authority, kept with the state so that clients stay set up across restarts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi

STORAGE_SUFFIX = "core.windows.net"
NAMES = ("localhost", "127.0.0.1", *(f"*.{kind}.{STORAGE_SUFFIX}" for kind in ("blob", "table", "queue")))


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the server's chain and key, our authority alone, and what clients trust (public roots and ours)."""

    chain: Path
    key: Path
    authority: Path
    bundle: Path

    def trust(self) -> ssl.SSLContext:
        """Trusts our authority only, which takes a fraction of the time that the whole bundle takes to load."""
        return ssl.create_default_context(cafile=str(self.authority))


def ensure(folder: Path) -> Certificates:
    """Make the authority and one server certificate, once for a state folder. The authority's key is kept nowhere."""
    found = Certificates(folder / "server.pem", folder / "server.key", folder / "authority.pem", folder / "bundle.pem")
    if not found.bundle.exists():
        import trustme  # needed once, and slow to import

        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(organization_name="Local platform")
        server = authority.issue_cert(*NAMES)
        found.chain.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        found.key.touch(mode=0o600)
        found.key.write_bytes(server.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(found.authority))
        # Written last: its presence says that the others are complete.
        found.bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + found.authority.read_bytes())
    return found
