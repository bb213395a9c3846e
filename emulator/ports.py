"""Ports are chosen once for a state folder: addresses live on in the state (and in people's shells)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from emulator.context import EmulatorError

FIXED = {"platform": 8443, "proxy": 8444, "functions": 7071, "blob": 10000, "queue": 10001, "table": 10002}


class PortTaken(EmulatorError):
    """A port that the platform needs is taken; use --ports auto, or end what listens there."""


def choose(path: Path, automatic: bool) -> dict[str, int]:
    """Name -> port. The ones of an earlier start are used again when they are free."""
    earlier = json.loads(path.read_text()) if path.exists() else {}
    if not automatic:
        taken = {name: port for name, port in FIXED.items() if not _free(port)}
        if taken:
            raise PortTaken("taken: " + ", ".join(f"{port} ({name})" for name, port in taken.items())
                            + ". Use --ports auto, or end what listens there.")
        ports = dict(FIXED)
    else:
        ports = {name: earlier[name] if name in earlier and _free(earlier[name]) else _ephemeral() for name in FIXED}
    path.write_text(json.dumps(ports))
    return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ephemeral() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
