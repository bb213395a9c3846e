"""Intervals that assume no distribution: percentiles by order statistics, rates after Clopper and Pearson.

Latencies under load are not independent: a queue makes slow answers come in a row, and a row of them tells less than as many
apart. Without regard to that, a server that is 70 % busy is judged wrongly in every fourth run (docs/gates/performance.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SETTLING_POWER = 0.8
"""How probable it is that the number of requests which we name settles the question, if what was measured is true."""
MOST_REQUESTS = 100_000
"""More than a policy may ask for."""


@dataclass(frozen=True)
class Estimate:
    """A value with its two-sided interval; `high` is infinite where so few values bound nothing."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=256)
def ranks(n: int, share: float, confidence: float) -> tuple[int, int]:
    """Ranks (1 to n) of the sorted values between which the quantile lies, each side missed with (1 - confidence) / 2 at most.

    The number of values at or below the true quantile is binomial, whatever the distribution is. 0 and n + 1 mean: unbounded.
    """
    from scipy.stats import binom

    tail = (1 - confidence) / 2
    # P(B <= low - 1) <= tail for the largest such low; P(B >= high) <= tail for the smallest such high.
    low = int(binom.ppf(tail, n, share))
    if binom.cdf(low, n, share) <= tail:
        low += 1
    high = int(binom.ppf(1 - tail, n, share)) + 1
    return low, high


def dependence(values: Sequence[float]) -> float:
    """How many of these values, in order of time, tell as much as one independent value: 1 or more.

    The integrated autocorrelation time of their ranks (ranks, so that one huge value does not hide the others), summed up to
    the first lag that chance alone would explain: two standard errors of no correlation.
    """
    import numpy as np
    from scipy.stats import rankdata

    n = len(values)
    centred = rankdata(values) - (n + 1) / 2
    if n < 2 or not np.any(centred):
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * n)
    covariances = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n]
    correlations = covariances / covariances[0]
    by_chance = np.flatnonzero(correlations < 2 / math.sqrt(n))
    last = int(by_chance[0]) if len(by_chance) else n
    return max(1.0, float(1 + 2 * correlations[1:last].sum()))


def percentile(values: Sequence[float], share: float, confidence: float, *, unknown: int = 0, times: float = 1.0) -> Estimate:
    """The quantile of sorted values, of which `times` tell as much as one independent value. `unknown` more are taken as the worst
    for either bound: 0 for the lower one, infinite for the upper one. Without a value, nothing is known."""
    if not values:
        return Estimate(math.nan, 0.0, math.inf)
    every = len(values) + unknown
    independent = max(1, int(every / times))
    low, high = ranks(independent, share, confidence)
    below = low * every // independent - unknown
    above = -(-high * every // independent) if high <= independent else every + 1
    return Estimate(values[math.ceil(share * len(values)) - 1],
                    values[below - 1] if below >= 1 else 0.0,
                    values[above - 1] if above <= len(values) else math.inf)


def rate(events: int, of: int, confidence: float, *, unknown: int = 0) -> Estimate:
    """The share of events in `of` trials. `unknown` further trials were no events for the lower bound, and events for the upper one."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    trials, most = of + unknown, events + unknown
    if not trials:
        return Estimate(math.nan, 0.0, 1.0)
    low = 0.0 if not events else float(betaincinv(events, trials - events + 1, tail))
    high = 1.0 if most == trials else float(betaincinv(most + 1, trials - most, 1 - tail))
    return Estimate(events / of if of else math.nan, low, high)


def requests_to_settle(n: int, seen: float, limit: float, confidence: float, *, times: float = 1.0) -> int | None:
    """How many requests would probably put the share `seen` on one side of `limit` (both of 1); None: more than a policy may ask.

    The normal approximation of a test on one share, never fewer than would do if all requests were on the good side.
    """
    from scipy.special import ndtri

    if seen == limit:
        return None
    sure, power = ndtri(1 - (1 - confidence) / 2), ndtri(SETTLING_POWER)
    spread = sure * math.sqrt(limit * (1 - limit)) + power * math.sqrt(seen * (1 - seen))
    least = math.log((1 - confidence) / 2) / math.log(max(limit, 1 - limit))
    needed = math.ceil(max((spread / (seen - limit)) ** 2 * times, least * times, 1.25 * n))
    return needed if needed <= MOST_REQUESTS else None
