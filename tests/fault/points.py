"""Named points of a promotion at which the whole platform is killed, in the order in which a promotion comes by them.

Each is a request that is held: `before` it has had its effect, or `after` (the effect is committed, nobody has been
told, and no outcome entry is written). What the line's endpoint is called goes into the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    method: str
    path: str
    """Pattern of the held request; {line} is the line's name."""
    when: str
    approved: bool = False
    """The point comes after the approval."""
    skip: int = 0
    """How many requests of its kind come before the one that is meant, in a promotion that has not come by here."""

    @property
    def line(self) -> str:
        return "kill-" + self.name.replace("_", "-")

    def rule(self, line: str, skip: int = 0) -> dict[str, Any]:
        """The fault that holds it."""
        return {"method": self.method, "path": self.path.format(line=line), "when": self.when, "action": "hold", "skip": skip}


POINTS = (
    Point("import_accepted", "POST", r"/registries/shared-registry/import$", "after"),
    Point("staging_not_begun", "PUT", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "before"),
    Point("staging_begun", "PUT", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "after"),
    Point("gate_scoring", "POST", r"/endpoints/{line}-stg/score$", "before"),
    Point("teardown_begun", "DELETE", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "after"),
    Point("endpoint_begun", "PUT", r"/onlineEndpoints/{line}$", "after", approved=True),
    Point("green_begun", "PUT", r"/onlineEndpoints/{line}/deployments/[^/]+$", "after", approved=True),
    Point("green_checked", "POST", r"/endpoints/{line}/score$", "before", approved=True),
    Point("traffic_moved", "PUT", r"/onlineEndpoints/{line}$", "after", approved=True, skip=1),
)
