"""What a policy will do, in plain words: for its writer, before anything does it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pilotage.domain import gate_specs as specs
from pilotage.domain.gate_specs import LOWER_IS_BETTER
from pilotage.domain.policy import ApprovalRule, Gate, PromotionPolicy
from pilotage.domain.window_specs import Windows


def describe(policy: PromotionPolicy) -> list[str]:
    """Sentences in the order in which things happen."""
    return list(_story(policy))


def _story(policy: PromotionPolicy) -> Iterator[str]:
    match, staging, production = policy.match, policy.staging, policy.production
    home = f"workspace {match.workspace}" if match.workspace else f"registry {match.registry}"
    copied = f" and copied into {policy.registry}" if match.workspace else ""
    tags = " with " + ", ".join(f"{name}={value}" for name, value in match.tags.items()) if match.tags else ""
    yield f"When a version of {match.model}{tags} appears in {home}, it is pinned by digest{copied}."
    if policy.environment is None:
        yield "No environment is pinned: the evidence will say so, and gates that run the model as a job can't."
    if isinstance(staging.approval, ApprovalRule):
        yield f"Before it is tested, {_agreed(staging.approval)}."
    yield (f"It is deployed to {staging.workspace}/{staging.target.endpoint} ({staging.target.instances} x {staging.target.instance_type}) "
           f"without traffic, and taken down again whatever happens. {len(staging.gates)} gates run side by side"
           + (", and stop when one fails:" if staging.fail_fast else ":"))
    for gate in staging.gates:
        yield f"- {gate.name}: {gate_in_words(gate)}"
    rule = production.approval
    if isinstance(rule, ApprovalRule):
        yield f"Then {_agreed(rule)}; nobody who registered or trained it counts."
        yield from _besides(rule)
    else:
        yield "Then it goes to production without asking anybody (approval: automatic)."
    for stage in (staging, production):
        if stage.windows:
            yield from _windows(stage.name, stage.windows)
    for freeze in policy.freezes:
        yield f"Nothing is changed from {freeze.begins} until {freeze.until} ({freeze.timezone}): {freeze.reason}. Rollbacks always pass."
    if policy.notify:
        yield f"It is told in {', '.join(policy.notify)}."
    steps = ", ".join(f"{step.traffic} % for {_span(step.bake)}" if step.bake else f"{step.traffic} %" for step in policy.rollout.steps)
    yield (f"{production.workspace}/{production.target.endpoint} gets it beside what serves now "
           f"({production.target.instances} x {production.target.instance_type}); traffic moves {steps}.")
    if policy.rollout.check:
        yield "Sample requests are sent to it before each step and after it; one bad answer restores the traffic exactly."
    yield f"What served before is kept for {_span(policy.rollout.keep_previous)}."
    if drift := policy.on_drift:
        if drift.action == "retrain":
            yield (f"When it drifts, alerts are gathered for {_span(drift.coalesce)}, then {drift.job} runs on {drift.compute}: not again "
                   f"within {_span(drift.cooldown)}, and at most {drift.budget.runs} times in {_span(drift.budget.per)}.")
        else:
            yield "When it drifts, people are told, and nothing is trained."


def _agreed(rule: ApprovalRule) -> str:
    each = f", one different person of each of {', '.join(rule.one_of_each)} among them," if rule.one_of_each else ""
    return f"{rule.quorum} of {', '.join(rule.approvers)}{each} must approve exactly this plan within {_span(rule.expires)}"


def _besides(rule: ApprovalRule) -> Iterator[str]:
    if rule.remind:
        yield f"They are reminded every {_span(rule.remind)}."
    if rule.escalate:
        yield f"After {_span(rule.escalate.after)} {', '.join(rule.escalate.to)} are told, and may approve from then on."
    if rule.delegation:
        yield "They may let somebody else decide for them, until a day."
    if rule.break_glass:
        yield (f"In an emergency two of {', '.join(rule.break_glass.approvers)} may approve past all this; somebody else reviews it within "
               f"{_span(rule.break_glass.review_within)}.")


def _windows(stage: str, windows: Windows) -> Iterator[str]:
    what = " and ".join(windows.covers)
    for word, listed in (("only then", windows.allow), ("never then", windows.deny)):
        for window in listed:
            about = f" ({window.reason})" if window.reason else ""
            yield f"The {what} of {stage} happens {word}: {window.rule} in {windows.timezone}, for {_span(window.lasts)}{about}."
    yield f"Outside of that the {what} of {stage} is held, not rejected; a rollback always passes."


def gate_in_words(gate: Gate) -> str:
    """One gate: what it asks for, and what a failure does."""
    told = _WORDS[gate.kind](gate.spec)
    return told + (" (warns only)" if gate.spec.severity == "warn" else "") + f", within {_span(gate.spec.timeout)}"


def _smoke(spec: Any) -> str:
    again = ", the same when asked twice" if spec.deterministic else ""
    return f"all requests of {spec.samples} (at least {spec.min_requests}) are answered, one finite prediction a row{again}"


def _contract(spec: Any) -> str:
    return (f"the requests of {spec.samples} fit the model's signature (names, types, order), and the endpoint's answers equal the model's "
            f"own offline predictions (relative tolerance {spec.relative_tolerance:g}, {spec.max_rows} rows at most)")


def _performance(spec: Any) -> str:
    limits = [f"{name} {limit:g} ms" for name, limit in (("p50", spec.p50_ms), ("p95", spec.p95_ms), ("p99", spec.p99_ms)) if limit]
    more = f", at least {spec.min_throughput_per_second:g} answers a second" if spec.min_throughput_per_second else ""
    return (f"{spec.requests} requests at {spec.rate_per_second:g} a second stay within {', '.join(limits)} with {spec.confidence:.0%} "
            f"confidence, and at most {spec.max_error_rate:.2%} fail{more}")


def _data_quality(spec: Any) -> str:
    told = f"{spec.subject} keeps its contract{f' {spec.contract}' if spec.contract else ''}, with at least {spec.min_rows} rows"
    if spec.freshness:
        told += f", the newest {spec.freshness.column} not older than {_span(spec.freshness.max_age)}"
    if spec.training:
        told += f"; at most {spec.max_exact_overlap:.2%} of its rows are in {spec.training}, {spec.max_near_overlap:.2%} nearly"
    return told


def _metric(spec: Any) -> str:
    return f"{spec.metric} of {spec.target} on {spec.holdout} is {_bounds(spec)} (at least {spec.min_rows} rows)"


def _bounds(spec: Any) -> str:
    limits = (("at most", spec.max), ("at least", spec.min))
    return " and ".join(f"{word} {value:g}" for word, value in limits if value is not None)


def _champion(spec: Any) -> str:
    kind = "lower" if spec.metric in LOWER_IS_BETTER else "higher"
    told = (f"better by {spec.min_effect:g} or more" if spec.min_effect else f"not worse by more than {spec.max_regression:g}")
    slices = f", also for each value of {', '.join(spec.slices)}" if spec.slices and spec.max_slice_regression is not None else ""
    return (f"against the version that serves production then, its {spec.metric} ({kind} is better) on {spec.holdout} is {told}, with "
            f"{spec.confidence:.0%} confidence{slices}; at most {spec.max_overlap:.2%} of the rows were trained on; with nothing in "
            f"production it {_MEANS[spec.first_version]}, an undecided result {_MEANS[spec.inconclusive]}")


def _responsible_ai(spec: Any) -> str:
    limits = []
    if spec.max_ratio is not None:
        limits.append(f"{spec.metric} of no cohort is over {spec.max_ratio:g} times that of all")
    if spec.max_difference is not None:
        limits.append(f"cohorts differ by at most {spec.max_difference:g}")
    limits += [f"{limit.measure} keeps {limit.limit:g}" for limit in spec.fairness]
    return f"by {', '.join(spec.sensitive)} (cohorts of {spec.min_cohort} rows or more): {'; '.join(limits)}"


def _security(spec: Any) -> str:
    told = ["the artifact's pickles import nothing dangerous"]
    told += ["every requirement is pinned"] * spec.require_pins
    told += [f"no requirement has an advisory of {spec.advisories} worse than {spec.max_severity}"] * bool(spec.advisories)
    told += [f"its licence is one of {', '.join(spec.licences)}"] * bool(spec.licences)
    told += [f"it carries {', '.join(spec.card)}"] * bool(spec.card)
    return ", ".join(told)


def _unit_tests(spec: Any) -> str:
    return f"the tests of {spec.component} pass on {spec.compute} (at least {spec.min_tests})"


def _custom(spec: Any) -> str:
    return f"{spec.component} runs on {spec.compute}, and its {spec.metric} is {_bounds(spec)}"


def _extension(spec: Any) -> str:
    return f"the installed gate {spec.name} passes"


_MEANS = {"pass": "passes", "fail": "fails", "hold": "holds the promotion"}
_WORDS = {"smoke": _smoke, "contract": _contract, "performance": _performance, "data_quality": _data_quality, "metric": _metric,
          "champion": _champion, "responsible_ai": _responsible_ai, "security": _security, "unit_tests": _unit_tests, "custom": _custom,
          "extension": _extension}
assert set(_WORDS) == set(specs.BUILT_IN)


def _span(value: timedelta) -> str:
    """3 days, 90 minutes, 12 hours."""
    seconds = int(value.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds != size else ''}"
    return "no time"
