"""Traffic arithmetic. Traffic always sums to 0 or 100; zeros carry no meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def normal(traffic: Mapping[str, int]) -> dict[str, int]:
    """The split without deployments at 0, in name order: two splits are equal when these are."""
    return {name: int(share) for name, share in sorted(traffic.items()) if int(share)}


def check_sum(traffic: Mapping[str, int]) -> None:
    """Raise ValueError unless the shares are 0 to 100 and sum to 0 or 100."""
    if any(not 0 <= share <= 100 for share in traffic.values()) or sum(traffic.values()) not in (0, 100):
        raise ValueError(f"traffic must sum to 0 or 100 with shares of 0 to 100: {dict(traffic)}")


def split(last_good: Mapping[str, int], green: str, share: int) -> dict[str, int]:
    """Give `share` percent to green and the rest to what served before, in its proportions.

    Largest remainder, ties by name, so that the sum is exactly 100. A first deployment (nothing
    served before) has nobody to share with and gets 100.
    """
    previous = {name: part for name, part in normal(last_good).items() if name != green}
    if not previous or share >= 100:
        return {green: 100}
    rest, total = 100 - share, sum(previous.values())
    shares = {name: part * rest // total for name, part in previous.items()}
    short = rest - sum(shares.values())
    for name in sorted(previous, key=lambda n: (-(previous[n] * rest % total), n))[:short]:
        shares[name] += 1
    return normal({**shares, green: share})


def version_order(version: str) -> tuple[int, Any]:
    """Sort key of model versions: numbers as numbers ("9" < "10"), texts after them."""
    return (0, int(version)) if version.isdecimal() else (1, version)


def is_older(version: str, live: str) -> bool:
    """True when `version` came before the live one. Texts that aren't numbers can't be ordered: not older."""
    return version.isdecimal() and live.isdecimal() and int(version) < int(live)
