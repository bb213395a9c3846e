"""The host's keys: made once for a state folder. `master` opens everything, `default` the functions, system keys one extension."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

NAMES = ("master", "default", "eventgrid_extension", "durabletask_extension")


class Keys:
    def __init__(self, path: Path) -> None:
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if any(name not in found for name in NAMES):
            found = {**{name: secrets.token_urlsafe(32) for name in NAMES}, **found}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found))
            path.chmod(0o600)
        self._keys = found

    def __getitem__(self, name: str) -> str:
        return self._keys[name]

    def opens(self, query: Mapping[str, str], headers: Mapping[str, str], *names: str) -> bool:
        """True when the request carries the master key or one of the named ones."""
        given = query.get("code") or headers.get("x-functions-key") or ""
        return any(secrets.compare_digest(given.encode(), self._keys[name].encode()) for name in ("master", *names))
