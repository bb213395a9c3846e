"""Where a promotion's time went: work, bakes, people, windows, the queue. The parts sum to the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pilotage.domain.assets import Frozen
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase

PARTS = ("work", "bake", "people", "window", "queue")
"""What time is spent on. Bake: new traffic is watched before the next step."""
_WAITS = {PromotionPhase.AWAITING_APPROVAL.value: "people", PromotionPhase.WAITING_WINDOW.value: "window",
          PromotionPhase.QUEUED.value: "queue"}


class Stretch(Frozen):
    """A time in which one thing went on. `end` is never before `start`."""

    phase: str
    part: str
    start: datetime
    end: datetime

    @property
    def took(self) -> timedelta:
        return self.end - self.start


def stretches(entries: Sequence[Entry], until: datetime | None = None) -> list[Stretch]:
    """What went on from the first entry to the first in a final phase, or to `until` where there is none.

    A clock that was set back took no time.
    """
    parts: list[tuple[str, str, datetime]] = []
    answered = False
    for entry in entries:
        if entry.step == "phase":
            answered = False
        elif entry.step == "approval" and entry.kind == "outcome":
            answered = True  # what follows an answer is ours again
        moved = entry.kind == "outcome" and entry.step == "rollout.traffic"
        waits = None if answered else _WAITS.get(entry.phase)
        parts.append((entry.phase, waits or ("bake" if moved else "work"), datetime.fromisoformat(entry.at)))
        if PromotionPhase(entry.phase).terminal:  # what is told after it, such as a rollback a month later, was no part of the way
            break
    return _between(parts, until)


def of_phases(marks: Iterable[tuple[str, str]], until: datetime) -> list[Stretch]:
    """As `stretches`, of (phase, since when) alone: a whole rollout counts as its bakes. It ends with the first phase that is final."""
    parts: list[tuple[str, str, datetime]] = []
    for phase, at in marks:
        part = "bake" if phase == PromotionPhase.ROLLING_OUT else _WAITS.get(phase, "work")
        parts.append((phase, part, datetime.fromisoformat(at)))
        if PromotionPhase(phase).terminal:
            break
    return _between(parts, until)


def _between(parts: Sequence[tuple[str, str, datetime]], until: datetime | None) -> list[Stretch]:
    found: list[Stretch] = []
    goes_on = until is not None and bool(parts) and not PromotionPhase(parts[-1][0]).terminal
    ends = [at for _, _, at in parts[1:]] + ([until] if goes_on and until is not None else [])
    for (phase, part, at), end in zip(parts, ends, strict=False):
        start = found[-1].end if found else at
        end = max(start, end)
        if found and (found[-1].phase, found[-1].part) == (phase, part):
            found[-1] = found[-1].model_copy(update={"end": end})
        else:
            found.append(Stretch(phase=phase, part=part, start=start, end=end))
    return found


def split(found: Sequence[Stretch]) -> dict[str, timedelta]:
    """Each part's time; every part is there."""
    return {part: sum((stretch.took for stretch in found if stretch.part == part), timedelta(0)) for part in PARTS}


def settled(now: datetime, since: datetime) -> datetime:
    """`now` in steps: what has waited for hours is not shown, and not sent, anew every second."""
    elapsed = max(int((now - since).total_seconds()), 0)
    return since + timedelta(seconds=elapsed - elapsed % (5 if elapsed < 60 else 60))


def told(duration: timedelta) -> str:
    """In words, to two units: `3 d 4 h`, `12 min 5 s`, `0 s`."""
    seconds = round(duration.total_seconds())
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first:first + 2] if number) or "0 s"
