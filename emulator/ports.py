"""Ports are chosen once for a state folder: addresses live on in the state (and in people's shells)."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from emulator.errors import EmulatorError

FIXED = {"platform": 8443, "proxy": 8444, "functions": 7071, "blob": 10000, "queue": 10001, "table": 10002}
"""What `--ports fixed` uses: 7071 and 10000 to 10002 are the usual ports of Core Tools and Azurite."""
_claims: dict[int, socket.socket] = {}
"""Ports of this process, each by a UDP socket of the same number, which ends with the process: between the choice of a port and the
moment at which a child listens on it, another platform that starts must not choose it too."""
_RANGE = range(20000, 32000)
"""Below the range from which systems take the local ports of outgoing connections: nobody's client gets one of ours."""


class PortTaken(EmulatorError):
    """A port that the platform needs is taken; use --ports auto, or end what listens there."""


def choose(path: Path, automatic: bool) -> dict[str, int]:
    """Name -> port, also written to `path`. The ports of an earlier start are used again when they are free."""
    earlier: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    if automatic:
        ports = _free_ports(earlier)
    else:
        ports = dict(FIXED)
        taken = [f"{port} ({name})" for name, port in ports.items() if not _is_free(port)]
        if taken:
            raise PortTaken(f"taken: {', '.join(taken)}. Use --ports auto, or end what listens there.")
    path.write_text(json.dumps(ports))
    return ports


def listener(port: int) -> socket.socket:
    """A listening socket on loopback; raises PortTaken."""
    try:
        return _bound(port)
    except OSError as error:
        raise PortTaken(f"port {port} can't be used: {error}") from error


def _bound(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP; with it, each answer takes 40 ms more.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made


def _free_ports(earlier: dict[str, int]) -> dict[str, int]:
    fresh = (port for port in random.sample(_RANGE, len(_RANGE)) if port not in {*earlier.values(), *_claims} and _is_ours(port))
    ports = {}
    for name in FIXED:
        kept = earlier.get(name)
        port = kept if kept is not None and _is_ours(kept) else next(fresh, None)
        if port is None:
            raise PortTaken(f"no free port was found between {_RANGE.start} and {_RANGE.stop}")
        ports[name] = port
    return ports


def _is_ours(port: int) -> bool:
    """True when nobody listens there, and no other platform is about to."""
    if not _is_free(port):
        return False
    if port not in _claims:
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            return False
        _claims[port] = claim
    return True


def _is_free(port: int) -> bool:
    try:
        _bound(port).close()
    except OSError:
        return False
    return True
