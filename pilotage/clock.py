"""The app's clock: UTC, and shifted where an operator rehearses what time brings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pilotage.errors import InvalidInput


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ShiftedClock:
    """The machine's time plus the offset in a file, `{"offset_seconds": n}`, read at each call.

    For rehearsing expiries, bake times and cooldowns on one's own machine. Tokens and signatures keep
    real time: whoever issued them does not know of the shift. A missing file is no offset.
    Raises InvalidInput when the file says anything else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._offset())

    def _offset(self) -> float:
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0.0
        try:
            return float(json.loads(text)["offset_seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f'PILOTAGE_CLOCK_FILE: {self._file} must hold {{"offset_seconds": number}}') from error
