"""Named points of a promotion at which the whole platform is killed.

Each is a request that is held: `before` it has had its effect, or `after` (the effect is committed, nobody has been
told, and no outcome entry is written). What the line's endpoint is called goes into the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    method: str
    path: str
    """Pattern of the held request; {line} is the line's name."""
    when: str
    endpoint_exists: bool = False
    """The production endpoint is there beforehand, so the first PUT on it is the traffic's."""
    approved: bool = False
    """The point comes after the approval."""

    @property
    def line(self) -> str:
        return "kill-" + self.name.replace("_", "-")


POINTS = (
    Point("import_accepted", "POST", r"/registries/shared-registry/import$", "after"),
    Point("staging_not_begun", "PUT", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "before"),
    Point("staging_begun", "PUT", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "after"),
    Point("gate_scoring", "POST", r"/endpoints/{line}-stg/score$", "before"),
    Point("teardown_begun", "DELETE", r"/onlineEndpoints/{line}-stg/deployments/[^/]+$", "after"),
    Point("endpoint_begun", "PUT", r"/onlineEndpoints/{line}$", "after", approved=True),
    Point("green_begun", "PUT", r"/onlineEndpoints/{line}/deployments/[^/]+$", "after", approved=True),
    Point("green_checked", "POST", r"/endpoints/{line}/score$", "before", approved=True),
    Point("traffic_moved", "PUT", r"/onlineEndpoints/{line}$", "after", endpoint_exists=True, approved=True),
)
