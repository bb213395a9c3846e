"""The journal of requests: what clients asked and were answered, newest last, secrets left out."""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from emulator.answers import answerable

LIMIT = 5000
BODY_LIMIT = 16 * 1024
_SECRET = re.compile(r"key|token|secret|password|sas|signature|credential|^(code|sig)$", re.IGNORECASE)
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Entry:
    """A request and the status it was answered with; 0: it got no answer."""

    number: int
    time: datetime
    service: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    status: int
    body: bytes
    size: int
    """Bytes of the whole body; `body` is empty when it was longer than BODY_LIMIT."""
    caller: str | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON; read only when somebody looks: most entries never are."""
        return {
            "seq": self.number, "time": self.time.isoformat(), "service": self.service, "method": self.method, "path": self.path,
            "query": {name: HIDDEN if _SECRET.search(name) else value for name, value in self.query},
            "status": self.status, "body": self._readable(), "caller": self.caller}

    def _readable(self) -> Any:
        if not self.body:
            return f"<{self.size} bytes>" if self.size else None
        try:
            return _without_secrets(answerable(json.loads(self.body)))
        except (ValueError, RecursionError):
            return f"<{self.size} bytes, not JSON>"


class Journal:
    """The last `LIMIT` requests."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LIMIT)
        self._numbers = itertools.count(1)

    def add(self, *, service: str, method: str, path: str, query: list[tuple[str, str]], status: int, body: bytes,
            caller: str | None) -> None:
        kept = body if len(body) <= BODY_LIMIT else b""
        self._entries.append(Entry(next(self._numbers), datetime.now(UTC), service, method, path, tuple(query), status, kept, len(body),
                                   caller))

    def clear(self) -> None:
        """Forget the requests; their numbers are not used again."""
        self._entries.clear()

    @property
    def count(self) -> int:
        """Requests that are kept."""
        return len(self._entries)

    def entries(self, path: str = "", method: str = "", service: str = "", since: int = 0) -> Iterator[Entry]:
        """Entries after number `since` whose path matches the pattern (searched, any case); raises re.error."""
        pattern = compiled(path)
        return (entry for entry in list(self._entries)
                if entry.number > since and pattern.search(entry.path)
                and method.upper() in ("", entry.method) and service in ("", entry.service))


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern for paths, in any case; raises re.error, for the ones too that the compiler chokes on."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (OverflowError, RecursionError) as error:
        raise re.error(f"too large: {error}") from error


def _without_secrets(value: Any, secret: bool = False) -> Any:
    """Texts and lists of texts under a name that sounds like a secret are hidden; structures are gone through."""
    if isinstance(value, dict):
        return {name: _without_secrets(item, bool(_SECRET.search(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, secret) for item in value]
    return HIDDEN if secret and isinstance(value, str) else value
