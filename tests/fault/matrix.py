"""Every request that a promotion makes, and every way in which it can fail and still be worth asking again."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

REQUESTS = {
    "import": ("POST", r"/registries/shared-registry/import$"),
    "model": ("GET", r"/registries/shared-registry/models/{line}/versions/1$"),
    "staging-endpoint": ("PUT", r"/onlineEndpoints/{line}-stg$"),
    "candidate": ("PUT", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$"),
    "candidate-state": ("GET", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$"),
    "gate": ("POST", r"/endpoints/{line}-stg/score$"),
    "teardown": ("DELETE", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$"),
    "endpoint": ("PUT", r"/onlineEndpoints/{line}$"),
    "green": ("PUT", r"/onlineEndpoints/{line}/deployments/[^/]+$"),
    "green-state": ("GET", r"/onlineEndpoints/{line}/deployments/[^/]+$"),
    "check": ("POST", r"/endpoints/{line}/score$"),
    "split": ("GET", r"/onlineEndpoints/{line}$"),
}
"""Method and path; {line} is the line's name."""
FAILURES: dict[str, dict[str, Any]] = {
    "unavailable": {"when": "before", "action": "status", "status": 503},
    "throttled": {"when": "before", "action": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "unsent": {"when": "before", "action": "drop"},
    "unanswered": {"when": "after", "action": "drop"},
    "answered-wrongly": {"when": "after", "action": "status", "status": 500},
}
TIMES = 5
"""More than the SDK's own retries of one call, so that the activity's are needed too."""


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    request: str
    failure: str

    @property
    def name(self) -> str:
        return f"{self.request}-{self.failure}"

    @property
    def line(self) -> str:
        return f"matrix-{self.number:02}"

    def rule(self) -> dict[str, Any]:
        method, path = REQUESTS[self.request]
        return {"method": method, "path": path.format(line=self.line), "count": TIMES, **FAILURES[self.failure]}


CASES = tuple(Case(number, request, failure) for number, (request, failure) in enumerate(itertools.product(REQUESTS, FAILURES)))
SAMPLE = frozenset(random.Random(20261123).sample(range(len(CASES)), 1))
"""The numbers of those that every run of the tests includes."""
