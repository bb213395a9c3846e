"""The mailbox: what webhooks have notified people of. It outlives the platform, as a team's channel does."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

LIMIT = 1000


class Mailbox:
    """The last `LIMIT` messages, oldest first, one a line in a file. Numbers are never used again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._messages: list[dict[str, Any]] = []
        if path.exists():
            # A line that was cut off by the end of an earlier process was never acknowledged.
            self._messages = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            self._rewrite()
        self._number = max((message["number"] for message in self._messages), default=0)

    def add(self, channel: str, body: Any, now: datetime) -> None:
        """In the file when it returns."""
        self._number += 1
        message = {"number": self._number, "channel": channel, "received": now.isoformat(), "body": body}
        with self._path.open("a") as file:
            file.write(json.dumps(message) + "\n")
        self._messages.append(message)
        del self._messages[:-LIMIT]

    def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Those of a channel, or all."""
        return [message for message in self._messages if channel in (None, message["channel"])]

    def clear(self) -> None:
        self._messages.clear()
        self._rewrite()

    def _rewrite(self) -> None:
        self._messages = self._messages[-LIMIT:]
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(message) + "\n" for message in self._messages))
        os.replace(temporary, self._path)
