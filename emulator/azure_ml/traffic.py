"""Traffic rules of an online endpoint: what a split may be, and which deployment a request goes to."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from emulator.azure_ml.errors import BadRequest

MAX_MIRROR = 50
"""Percent of live traffic that may be mirrored."""


def check(traffic: Mapping[str, object], mirror: Mapping[str, object], deployments: Collection[str]) -> None:
    """Raise `BadRequest` unless the split is one that Azure accepts.

    Percentages are whole numbers from 0 to 100, live traffic sums to 0 or 100, every name is a deployment,
    at most one deployment is mirrored to, with at most 50 percent, and it has no live traffic.
    """
    known = {name.lower() for name in deployments}
    for name, share in [*traffic.items(), *mirror.items()]:
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100:
            raise BadRequest(
                f"The traffic of {name!r} must be a whole number from 0 to 100, not {share!r}.",
                code="InvalidTraffic",
            )
        if name.lower() not in known:
            raise BadRequest(
                f"The traffic names {name!r}, which is not a deployment of the endpoint.",
                code="InvalidTraffic",
            )
    live = shares(traffic)
    if sum(live.values()) not in (0, 100):
        raise BadRequest(
            f"The traffic percentages sum to {sum(live.values())}: they must sum to 0 or 100.",
            code="InvalidTraffic",
        )
    mirrored = shares(mirror)
    if len(mirrored) > 1:
        raise BadRequest("Traffic can be mirrored to one deployment only.", code="InvalidTraffic")
    for name, share in mirrored.items():
        if share > MAX_MIRROR:
            raise BadRequest(
                f"At most {MAX_MIRROR} percent of traffic can be mirrored, not {share}.",
                code="InvalidTraffic",
            )
        if name in live:
            raise BadRequest(f"{name!r} cannot receive live and mirrored traffic.", code="InvalidTraffic")


def shares(traffic: Mapping[str, object]) -> dict[str, int]:
    """The deployments that get any: name in lower case -> percent."""
    return {name.lower(): share for name, share in traffic.items() if isinstance(share, int) and share > 0}


def pick(traffic: Mapping[str, object], generator: random.Random) -> str | None:
    """The deployment for one request, in lower case, at random by weight; None when none gets traffic."""
    live = shares(traffic)
    if not live:
        return None
    return generator.choices(list(live), weights=list(live.values()))[0]


def mirror_to(mirror: Mapping[str, object], generator: random.Random) -> str | None:
    """The deployment that gets a copy of one request, if any does."""
    for name, share in shares(mirror).items():
        if generator.random() * 100 < share:
            return name
    return None
