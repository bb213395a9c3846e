"""Change windows and freezes: when a stage may be approved or rolled out, and when next if not now.

Rules recur as in RFC 5545 and are read by the wall clock of their zone: a window from 9 for eight hours ends at 17 also on
the days on which the clock is changed. Spans are half-open. Where the clock is put forward, a time that it skips is the moment
of the change: a window wholly inside the gap does not happen. Where it is put back, a time that it shows twice is its first
showing, but for the end of what is denied or frozen, which is the last: doubt closes. What denies outweighs what allows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pilotage.domain.assets import Frozen
from pilotage.domain.recurrence import parse_rule
from pilotage.domain.wall_clock import instant
from pilotage.domain.window_specs import Freeze, Window, Windows

HORIZON = timedelta(days=730)
"""How far an opening is looked for."""
_LOOKS = (timedelta(days=8), timedelta(days=62), HORIZON)
"""Most openings are near: a little is expanded first."""
_DAY = timedelta(days=1)

Span = tuple[datetime, datetime]
Path = tuple[str | int, ...]


class WindowState(Frozen):
    """Whether something may be done at a time."""

    open: bool
    opens_at: datetime | None = None
    """The next time at which it may; None while it may now, and where none is in sight."""
    closes_at: datetime | None = None
    """When it may no longer; None while it may not, and where no end is in sight."""
    why: str = ""
    """What stands against it now."""


def state(windows: Windows | None, freezes: Sequence[Freeze], at: datetime) -> WindowState:
    """Whether it is open at a time (aware), and until when, or when next."""
    at = at.astimezone(UTC)
    why = against(windows, freezes, at)
    if windows is None and not freezes:
        return WindowState(open=True)
    for ahead in _LOOKS:
        line = _Timeline(windows, freezes, at, at + ahead)
        found = line.closing(at) if why is None else line.opening(at)
        if found is not None and found < at + ahead:
            return WindowState(open=True, closes_at=found) if why is None else WindowState(open=False, opens_at=found, why=why)
    return WindowState(open=why is None, why=why or "")


def against(windows: Windows | None, freezes: Sequence[Freeze], at: datetime) -> str | None:
    """What stands against it at a time; None when nothing does."""
    for freeze in freezes:
        if _around([freeze.interval], at):
            return f"freeze: {freeze.reason}"
    if windows is None:
        return None
    for window in windows.deny:
        if any(start <= at < end for start, end in _spans(window, windows.timezone, at, at, last=True)):
            return f"denied by the policy's window: {window.reason or window.rule}"
    if windows.allow and not any(start <= at < end for window in windows.allow
                                 for start, end in _spans(window, windows.timezone, at, at, last=False)):
        return f"outside the policy's windows ({windows.timezone})"
    return None


def over(windows: Windows | None, at: datetime) -> list[tuple[Path, str]]:
    """What of windows says nothing any more from a time on: the place, and a sentence. For whoever checks a policy.

    It is no fault of the file: a policy must not become invalid overnight.
    """
    if windows is None:
        return []
    found: list[tuple[Path, str]] = []
    for kind, listed in (("allow", windows.allow), ("deny", windows.deny)):
        for number, window in enumerate(listed):
            if not any(end > at for _, end in _spans(window, windows.timezone, at, at + HORIZON, last=kind == "deny")):
                found.append(((kind, number, "rule"), f"the rule {window.rule} has no time left within two years (are its UNTIL, COUNT and "
                              "`from` meant so?): correct or remove it"))
    shut = state(windows, [], at)
    if not shut.open and shut.opens_at is None:
        found.append((("allow",) if windows.allow else ("deny",),
                      "these windows do not open within two years: nothing would ever be changed"))
    return found


def freezes_for(freezes: Iterable[Freeze], workspace: str, model: str) -> list[Freeze]:
    """Those that concern a model in a workspace."""
    return [freeze for freeze in freezes if freeze.covers(workspace, model)]


class _Timeline:
    """What is allowed and what is shut, of all that touches [begin, end)."""

    def __init__(self, windows: Windows | None, freezes: Sequence[Freeze], begin: datetime, end: datetime) -> None:
        shut = [freeze.interval for freeze in freezes]
        self.allowed: list[Span] | None = None
        if windows is not None:
            shut += [span for window in windows.deny for span in _spans(window, windows.timezone, begin, end, last=True)]
            if windows.allow:
                self.allowed = _merged(span for window in windows.allow
                                       for span in _spans(window, windows.timezone, begin, end, last=False))
        self.shut = _merged(shut)

    def opening(self, at: datetime) -> datetime | None:
        """The first open moment from `at` on, as far as the spans are known."""
        while True:
            if closed := _around(self.shut, at):
                at = closed[1]
            if self.allowed is None or _around(self.allowed, at):
                return at
            after = bisect_right(self.allowed, at, key=lambda span: span[0])
            if after == len(self.allowed):
                return None
            at = self.allowed[after][0]

    def closing(self, at: datetime) -> datetime | None:
        """When what is open at `at` closes."""
        allowed = _around(self.allowed, at) if self.allowed is not None else None
        after = bisect_right(self.shut, at, key=lambda span: span[0])
        ends = [*([allowed[1]] if allowed else []), *([self.shut[after][0]] if after < len(self.shut) else [])]
        return min(ends, default=None)


def _spans(window: Window, timezone: str, begin: datetime, end: datetime, *, last: bool) -> Iterator[Span]:
    """The window's spans that may touch [begin, end], as UTC. `last`: an end that is shown twice is its last showing."""
    rule, zone = parse_rule(window.rule, window.since), ZoneInfo(timezone)
    local_begin, local_end = (moment.astimezone(zone).replace(tzinfo=None) for moment in (begin, end))
    # No zone moves its clock by more than a day.
    for start in rule.starts(local_begin - window.lasts - _DAY, local_end + _DAY):
        span = instant(start, zone), instant(start + window.lasts, zone, last=last)
        if rule.until is not None and rule.until.tzinfo is not None and span[0] > rule.until:
            return
        if span[0] < span[1]:
            yield span


def _merged(spans: Iterable[Span]) -> list[Span]:
    """In order; spans that overlap or meet become one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _around(spans: Sequence[Span], at: datetime) -> Span | None:
    before = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return spans[before] if before >= 0 and at < spans[before][1] else None
