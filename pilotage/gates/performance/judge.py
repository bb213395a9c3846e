"""What a measured load says of a model: pure, so that the same requests always have the same verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pilotage.domain.gate_specs import PerformanceGate
from pilotage.domain.gates import GateOutcome
from pilotage.gates.performance.load import Measured, Sent
from pilotage.gates.performance.statistics import MOST_REQUESTS, Estimate, dependence, percentile, rate, requests_to_settle

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
MAX_PLATFORM_SHARE = 0.05
"""Over this share of 429, 5xx and failed connections the model has not been under the load that the policy asks for."""
NEAR = 0.5
"""Share of a limit under which all latencies count as equally good when their dependence is estimated: that a machine's small
waves come in a row says nothing of a limit far above them. Chosen by simulation (`python -m bench load`)."""
IN_A_ROW = 1.5
"""From here on the message tells that answers depended on each other."""
THROUGHPUT_NOISE = 0.05
"""So much under the limit, a measured throughput decides nothing yet."""


@dataclass(frozen=True)
class Finding:
    outcome: GateOutcome
    text: str


@dataclass(frozen=True)
class Verdict:
    outcome: GateOutcome
    message: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Percentile:
    """In milliseconds. `times` answers tell as much as one independent answer."""

    name: str
    limit: float | None
    found: Estimate
    times: float

    def independent(self, answers: int) -> int:
        return max(1, int(answers / self.times)) if answers else 0


def judge(spec: PerformanceGate, measured: Measured) -> Verdict:
    """The verdict with its evidence. A disturbed measurement is Inconclusive, unless the model itself answered with errors."""
    sent = measured.sent
    disturbed = [finding for finding in (_lag(spec, sent), _platform(spec, sent)) if finding is not None]
    percentiles = _percentiles(spec, sent)
    if disturbed:
        own = _errors(spec, [one for one in sent if one.status is not None])
        findings = ([own] if own.outcome is GateOutcome.FAILED else []) + disturbed
    else:
        findings = [_errors(spec, sent), *(_latency(spec, sent, each) for each in percentiles if each.limit is not None),
                    *_throughput(spec, sent), *_first_answer(spec, measured)]
    worst = next(outcome for outcome in (GateOutcome.FAILED, GateOutcome.INCONCLUSIVE, GateOutcome.PASSED)
                 if any(finding.outcome is outcome for finding in findings))
    order = [GateOutcome.FAILED, GateOutcome.INCONCLUSIVE, GateOutcome.PASSED]
    told = sorted((finding for finding in findings if worst is GateOutcome.PASSED or finding.outcome is not GateOutcome.PASSED),
                  key=lambda finding: order.index(finding.outcome))
    message = "; ".join(finding.text for finding in told) + f" ({len(sent)} requests at {spec.rate_per_second:g} a second)"
    return Verdict(worst, message, _evidence(spec, measured, percentiles))


def limits_of(spec: PerformanceGate) -> dict[str, float]:
    """Percentile's name -> limit in milliseconds, of those that the policy limits."""
    named = {"p50": spec.p50_ms, "p95": spec.p95_ms, "p99": spec.p99_ms}
    return {name: float(limit) for name, limit in named.items() if limit is not None}


def timings(sent: Sequence[Sent]) -> list[float]:
    """Latencies in milliseconds, in the order of sending, of good answers and of what timed out: that took at least so long."""
    # To a microsecond: finer differences are a clock's, and would pass for an order of answers.
    return [round(1000 * one.latency, 3) for one in sent if one.answered or one.timed_out]


def throughput(spec: PerformanceGate, sent: Sequence[Sent]) -> float:
    """Good answers a second that were kept up over at least the time the load came in.

    The best of all ends of the window, so that one straggler after the last arrival does not stretch it for the others.
    The fastest answer's time is taken off: nothing can be answered earlier.
    """
    good = [one for one in sent if one.answered]
    if not good:
        return 0.0
    fastest = min(one.latency for one in good)
    came_in = spec.requests / spec.rate_per_second
    ends = sorted(one.ended for one in good)
    return max(count / max(came_in, end - fastest) for count, end in enumerate(ends, start=1))


def _lag(spec: PerformanceGate, sent: Sequence[Sent]) -> Finding | None:
    lag, limit = _lag_p99(sent), max(5.0, 0.2 * min(limits_of(spec).values()))
    if lag <= limit:
        return None
    return Finding(GateOutcome.INCONCLUSIVE, f"this machine could not send fast enough, so the model was not measured: it was late by "
                                             f"{lag:.0f} ms at the p99, where {limit:.0f} ms would do; lower rate_per_second")


def _platform(spec: PerformanceGate, sent: Sequence[Sent]) -> Finding | None:
    lost = [one for one in sent if one.platform]
    if len(lost) <= MAX_PLATFORM_SHARE * len(sent):
        return None
    return Finding(GateOutcome.INCONCLUSIVE, f"{len(lost)} of {len(sent)} requests were turned away or lost on the way ({_counts(lost)}), "
                                             f"which may be Azure's doing: run the gate again, or give the deployment more instances")


def _errors(spec: PerformanceGate, sent: Sequence[Sent]) -> Finding:
    errors, lost = [one for one in sent if _is_error(one)], [one for one in sent if one.platform]
    limit = spec.max_error_rate
    found = rate(len(errors), len(sent) - len(lost), spec.confidence, unknown=len(lost))
    if not errors and not lost:
        return Finding(GateOutcome.PASSED, "no request failed")
    interval = f"{_percent(spec.confidence)} interval {_percent(found.low)} to {_percent(found.high)}"
    if errors:
        text = f"{len(errors)} of {len(sent) - len(lost)} requests failed ({_counts(errors)}; {interval})"
        if found.low > limit or not limit:
            allowed = f"{_percent(limit)} are allowed" if limit else "none may"
            return Finding(GateOutcome.FAILED, f"{text} where {allowed}")
    else:
        text = f"{len(lost)} of {len(sent)} requests were turned away or lost on the way ({_counts(lost)}), which may be Azure's doing"
    if found.high <= limit:
        return Finding(GateOutcome.PASSED, f"{text}, within the {_percent(limit)} that are allowed")
    if not errors:
        return Finding(GateOutcome.INCONCLUSIVE, f"{text}: run the gate again")
    needed = requests_to_settle(len(sent), len(errors) / (len(sent) - len(lost)), limit, spec.confidence)
    return Finding(GateOutcome.INCONCLUSIVE, f"{text}, which does not decide about the limit of {_percent(limit)}: {_more(needed)}")


def _percentiles(spec: PerformanceGate, sent: Sequence[Sent]) -> list[Percentile]:
    values, lost, limits = timings(sent), sum(one.platform for one in sent), limits_of(spec)
    ordered = sorted(values)
    found = []
    for name, share in PERCENTILES.items():
        limit = limits.get(name)
        floor = 0.0 if limit is None else NEAR * limit
        times = dependence([max(value, floor) for value in values])
        found.append(Percentile(name, limit, percentile(ordered, share, spec.confidence, unknown=lost, times=times), times))
    return found


def _latency(spec: PerformanceGate, sent: Sequence[Sent], of: Percentile) -> Finding:
    values, found, limit = timings(sent), of.found, of.limit
    assert limit is not None
    if not values:
        return Finding(GateOutcome.INCONCLUSIVE, f"{of.name} is not known, because no request was answered")
    waited = sum(one.waited for one in sent)
    hint = f", {waited} requests waited for one of {spec.concurrency} connections" if waited else ""
    high = "unbounded" if math.isinf(found.high) else f"{found.high:.0f} ms"
    text = f"{of.name} {found.value:.0f} ms ({_percent(spec.confidence)} interval {found.low:.0f} to {high}{hint})"
    if found.high <= limit:
        return Finding(GateOutcome.PASSED, f"{text} is within the limit of {limit:g} ms")
    if found.low > limit:
        return Finding(GateOutcome.FAILED, f"{text} is over the limit of {limit:g} ms")
    if of.times >= IN_A_ROW:
        text += f" from answers that were slow in a row, so that {len(values)} tell as much as {of.independent(len(values))},"
    within = sum(value <= limit for value in values) / len(values)
    needed = requests_to_settle(len(sent), within, PERCENTILES[of.name], spec.confidence, times=of.times)
    return Finding(GateOutcome.INCONCLUSIVE, f"{text} does not decide about the limit of {limit:g} ms: {_more(needed)}")


def _throughput(spec: PerformanceGate, sent: Sequence[Sent]) -> list[Finding]:
    limit = spec.min_throughput_per_second
    if limit is None:
        return []
    found = throughput(spec, sent)
    text = f"{found:.4g} good answers a second"
    if found >= limit:
        return [Finding(GateOutcome.PASSED, f"{text} keep the limit of {limit:g}")]
    if found < limit * (1 - THROUGHPUT_NOISE):
        return [Finding(GateOutcome.FAILED, f"{text} are under the limit of {limit:g}")]
    return [Finding(GateOutcome.INCONCLUSIVE, f"{text} are too near to the limit of {limit:g} to decide: send more than "
                                              f"{spec.rate_per_second:g} a second, or more requests")]


def _first_answer(spec: PerformanceGate, measured: Measured) -> list[Finding]:
    limit = spec.first_answer_ms
    if limit is None:
        return []
    if measured.first_answer is None:
        return [Finding(GateOutcome.INCONCLUSIVE, "the time to the first answer is not known, because there was none")]
    found = 1000 * measured.first_answer
    if found <= limit:
        return [Finding(GateOutcome.PASSED, f"the first answer came after {found:.0f} ms, within {limit:g} ms")]
    return [Finding(GateOutcome.FAILED, f"the first answer came after {found:.0f} ms, over the limit of {limit:g} ms")]


def _evidence(spec: PerformanceGate, measured: Measured, percentiles: Sequence[Percentile]) -> dict[str, Any]:
    sent = measured.sent
    errors, lost = [one for one in sent if _is_error(one)], [one for one in sent if one.platform]
    kept = throughput(spec, sent)
    failed = rate(len(errors), len(sent) - len(lost), spec.confidence, unknown=len(lost))
    evidence: dict[str, Any] = {
        "requests": len(sent), "rate_per_second": spec.rate_per_second, "confidence": spec.confidence,
        "kinds": dict(sorted(Counter(one.kind for one in sent).items())),
        "answered": sum(one.answered for one in sent),
        "errors": {"count": len(errors), "rate": _number(failed.value), "low": _number(failed.low), "high": _number(failed.high),
                   "max": spec.max_error_rate},
        "turned_away_or_lost": {"count": len(lost), "max_share": MAX_PLATFORM_SHARE},
        "latency_ms": {each.name: {"value": _number(each.found.value), "low": _number(each.found.low), "high": _number(each.found.high),
                                   "max": each.limit, "independent": each.independent(len(timings(sent)))} for each in percentiles},
        "throughput_per_second": {"value": _number(kept), "min": spec.min_throughput_per_second},
        "first_answer_ms": {"value": None if measured.first_answer is None else _number(1000 * measured.first_answer),
                            "max": spec.first_answer_ms},
        "warmup": dict(sorted(Counter(one.kind for one in measured.warmup).items())),
        "connections": {"most": spec.concurrency, "waited_for_one": sum(one.waited for one in sent)},
        "sent_late_ms": {"p99": _number(_lag_p99(sent)), "most": _number(max(1000 * one.lag for one in sent))},
    }
    if spec.instance_cost_per_hour is not None and kept:
        evidence["cost_estimate"] = {
            "per_1000_requests": _number(1000 * spec.instance_cost_per_hour * spec.instances / (3600 * kept)),
            "instances": spec.instances, "note": "an estimate at this load: the instances may bear more, or stand idle"}
    return evidence


def _is_error(one: Sent) -> bool:
    return not one.answered and not one.platform


def _lag_p99(sent: Sequence[Sent]) -> float:
    """Milliseconds."""
    lags = sorted(1000 * one.lag for one in sent)
    return lags[math.ceil(0.99 * len(lags)) - 1]


def _counts(sent: Sequence[Sent]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in Counter(one.kind for one in sent).most_common(4))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _more(needed: int | None) -> str:
    if needed is None:
        return f"it is so near that {MOST_REQUESTS} requests would probably not either"
    return f"about {needed} requests would probably"


def _number(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
