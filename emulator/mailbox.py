"""The mailbox: what webhooks have notified people of. It outlives the platform, as a team's channel does."""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

LIMIT = 1000
"""Messages of one channel: one that is told much does not push out what others were told."""


class Mailbox:
    """The last `LIMIT` messages of each channel, oldest first, one a line in a file. Numbers are never used again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=LIMIT))
        if path.exists():
            # A line that was cut off by the end of an earlier process was never acknowledged.
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    self._keep(json.loads(line))
            self._rewrite()
        self._number = max((message["number"] for message in self.messages()), default=0)

    def add(self, channel: str, body: Any, now: datetime) -> None:
        """In the file when it returns."""
        self._number += 1
        message = {"number": self._number, "channel": channel, "received": now.isoformat(), "body": body}
        with self._path.open("a") as file:
            file.write(json.dumps(message) + "\n")
        self._keep(message)

    def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Those of a channel, or all."""
        if channel is not None:
            return list(self._kept.get(channel, ()))
        return sorted(chain.from_iterable(self._kept.values()), key=lambda message: int(message["number"]))

    def clear(self) -> None:
        self._kept.clear()
        self._rewrite()

    def _keep(self, message: dict[str, Any]) -> None:
        self._kept[message["channel"]].append(message)

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(message) + "\n" for message in self.messages()))
        os.replace(temporary, self._path)
