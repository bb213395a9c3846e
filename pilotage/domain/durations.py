"""Where a promotion's time went: work, people, windows, the queue. The parts sum to the whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase

PARTS = ("work", "people", "window", "queue")
_PART = {PromotionPhase.AWAITING_APPROVAL.value: "people", PromotionPhase.WAITING_WINDOW.value: "window",
         PromotionPhase.QUEUED.value: "queue"}


def split(entries: Sequence[Entry], until: datetime | None = None) -> dict[str, timedelta]:
    """Each part's time from the first entry to the last, or to `until` where the promotion goes on. Every part is there."""
    found = dict.fromkeys(PARTS, timedelta(0))
    moments = [datetime.fromisoformat(entry.at) for entry in entries]
    if until is not None and entries and not PromotionPhase(entries[-1].phase).terminal:
        moments.append(max(until, moments[-1]))
    for entry, begins, ends in zip(entries, moments, moments[1:], strict=False):
        found[_PART.get(entry.phase, "work")] += ends - begins
    return found


def told(duration: timedelta) -> str:
    """In words, to two units: `3 d 4 h`, `12 min 5 s`, `0 s`."""
    seconds = round(duration.total_seconds())
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first:first + 2] if number) or "0 s"
