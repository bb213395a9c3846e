"""The journal of requests: what clients asked and were answered, newest last, secrets left out."""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from datetime import UTC, datetime
from typing import Any

LIMIT = 5000
BODY_LIMIT = 16 * 1024
_SECRET = re.compile(r"key|token|secret|password|sas|signature|credential", re.IGNORECASE)


class Journal:
    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=LIMIT)
        self._numbers = itertools.count(1)

    def add(self, *, method: str, path: str, query: dict[str, str], status: int, body: bytes, caller: str | None) -> None:
        self._entries.append({
            "seq": next(self._numbers), "time": datetime.now(UTC).isoformat(), "method": method, "path": path,
            "query": {name: "***" if _SECRET.search(name) else value for name, value in query.items()},
            "status": status, "body": _readable(body), "caller": caller})

    def entries(self, path: str = "", method: str = "", since: int = 0) -> list[dict[str, Any]]:
        """Entries after `since` whose path matches the pattern (searched, any case)."""
        pattern = re.compile(path, re.IGNORECASE)
        return [e for e in self._entries if e["seq"] > since and pattern.search(e["path"]) and method.upper() in ("", e["method"])]


def _readable(body: bytes) -> Any:
    if not body:
        return None
    if len(body) > BODY_LIMIT:
        return f"<{len(body)} bytes>"
    try:
        return _without_secrets(json.loads(body))
    except ValueError:
        return f"<{len(body)} bytes, not JSON>"


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if _SECRET.search(name) and isinstance(item, str) else _without_secrets(item) for name, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
