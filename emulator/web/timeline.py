"""One orchestration's history as rows with a beginning and an end, and where to draw them.

Virtual time jumps by days while work takes milliseconds, so gaps are drawn by their logarithm: order and simultaneity
are true to life, lengths are written beside the bars.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

WIDTH = 1000
"""Units from the first moment to the last."""
_THINNEST = 6


@dataclass
class Step:
    """`start` and `end` in units of WIDTH; `state` is done, failed, open or moment."""

    kind: str
    label: str
    began: datetime
    ended: datetime | None
    state: str
    detail: str = ""
    start: float = 0
    width: float = _THINNEST

    @property
    def duration(self) -> str:
        return "" if self.ended is None or self.state == "moment" else span((self.ended - self.began).total_seconds())


def timeline(events: list[dict[str, Any]], now: datetime) -> list[Step]:
    """From the management API's `historyEvents` (with outputs), in order of beginning. What is open lasts until `now`."""
    steps: list[Step] = []
    timers: dict[str, list[Step]] = {}
    for event in events:
        kind, at = str(event["EventType"]), moment(event["Timestamp"])
        label = str(event.get("FunctionName") or event.get("Name") or "")
        match kind:
            case "TaskCompleted" | "TaskFailed" | "SubOrchestrationInstanceCompleted" | "SubOrchestrationInstanceFailed":
                failed = kind.endswith("Failed")
                steps.append(Step("sub-orchestration" if kind.startswith("Sub") else "activity", label,
                                  moment(event.get("ScheduledTime") or event["Timestamp"]), at, "failed" if failed else "done",
                                  str(event.get("Reason") or "") if failed else _text(event.get("Result"))))
            case "TaskScheduled" | "SubOrchestrationInstanceCreated":
                steps.append(Step("sub-orchestration" if kind.startswith("Sub") else "activity", label, at, None, "open"))
            case "TimerCreated":
                timer = Step("timer", f"until {event['FireAt'][:19].replace('T', ' ')}", at, None, "open")
                timers.setdefault(event["FireAt"], []).append(timer)
                steps.append(timer)
            case "TimerFired":
                if waiting := timers.get(event["FireAt"]):
                    timer = waiting.pop(0)
                    timer.ended, timer.state = at, "done"
            case "ExecutionCompleted":
                status = str(event.get("OrchestrationStatus", ""))
                steps.append(Step("orchestration", status.lower(), at, at, "failed" if status == "Failed" else "moment",
                                  _text(event.get("Result"))))
            case "ExecutionStarted":
                steps.append(Step("orchestration", f"{label} started", at, at, "moment"))
            case _:
                steps.append(Step(_words(kind), label, at, at, "moment", _text(event.get("Input"))))
    ended = next((step.began for step in steps if step.kind == "orchestration" and not step.label.endswith("started")), None)
    for step in steps:
        if step.state == "open" and ended is not None:
            step.ended, step.state = ended, "left"  # the orchestration did not wait for it
    steps.sort(key=lambda step: step.began)
    _place(steps, now)
    return steps


def _place(steps: list[Step], now: datetime) -> None:
    """Give each step its place: the distance of neighbouring moments is the logarithm of the time between them."""
    moments = sorted({step.began for step in steps} | {step.ended or now for step in steps})
    places, here = {}, 0.0
    for earlier, later in zip(moments[:1] + moments, moments, strict=False):
        here += math.log1p((later - earlier).total_seconds() * 100) + (later > earlier) * 0.5
        places[later] = here
    scale = (WIDTH - _THINNEST) / here if here else 0
    for step in steps:
        step.start = places[step.began] * scale
        step.width = max(_THINNEST, (places[max(step.ended or now, step.began)] - places[step.began]) * scale)


def moment(text: str) -> datetime:
    """The extension's times: seven digits of a second, which are more than Python reads."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def span(seconds: float) -> str:
    """A duration for people: 340 ms, 2.5 s, 3 min 20 s, 4 h 5 min, 30 d."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, name in units:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number:.0f} {name}")
    return " ".join(parts[:2])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _words(kind: str) -> str:
    """EventRaised -> event raised."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind).strip()
