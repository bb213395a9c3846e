"""The identity service's own throw-away secrets, made once for a state folder."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path


class Secrets:
    """`IDENTITY_HEADER`, and a client secret for each principal."""

    def __init__(self, path: Path, principals: Iterable[str]) -> None:
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [name for name in ("header", *principals) if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(32) for name in missing}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(json.dumps(known))
        self._known = known

    @property
    def header(self) -> str:
        """What App Service puts into IDENTITY_HEADER: only processes of this machine know it."""
        return self._known["header"]

    def of(self, identity_id: str) -> str:
        """The client secret of a principal."""
        return self._known[identity_id]

    def is_header(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.header.encode())

    def opens(self, identity_id: str, given: str) -> bool:
        """True when `given` is the principal's client secret."""
        return secrets.compare_digest(given.encode(), self._known[identity_id].encode())
