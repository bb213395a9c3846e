"""Why is this live? A page of plain text, from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pilotage.domain.passport import CLOSING, Entry, verify_chain
from pilotage.domain.phase import PromotionPhase
from pilotage.ledger import Ledger
from pilotage.messages import EndpointRow, PromotionRow

WIDTH = 14


def explain_version(ledger: Ledger, rows: Sequence[PromotionRow]) -> str:
    """Every attempt at one version, the newest whole, the earlier ones in a line."""
    newest, *earlier = sorted(rows, key=lambda row: (row.created_at, row.attempt), reverse=True)
    parts = [*_promotion(ledger, newest)]
    if earlier:
        parts += ["", "Earlier attempts:"] + [f"  {row.id}: {row.phase}: {row.message}".rstrip(": ") for row in earlier]
    return "\n".join(parts) + "\n"


def explain_endpoint(ledger: Ledger, row: EndpointRow, about: PromotionRow | None) -> str:
    """What serves an endpoint, and why; or that nothing that a promotion brought does."""
    lines = [f"{row.workspace}/{row.endpoint}"]
    if row.owner:
        lines.append(f"Now in the hands of {row.owner} (epoch {row.epoch}).")
    if row.live is None:
        lines.append("Nothing that a promotion brought serves here" + (f"; the last rollback was {row.rollback}." if row.rollback else "."))
        return "\n".join(lines) + "\n"
    lines.append(f"{row.live.model}:{row.live.version} serves as {row.live.deployment}, brought by {row.live.promotion}.")
    lines += [f"Kept without traffic: {item.deployment} until {_time(item.until)}." for item in row.retained]
    if about is not None:
        lines += ["", *_promotion(ledger, about)]
    return "\n".join(lines) + "\n"


def _promotion(ledger: Ledger, row: PromotionRow) -> Iterable[str]:
    entries = ledger.passports.entries(row.id)
    yield f"{row.model}:{row.version} {_phase(row)}"
    yield f"  {row.id}, attempt {row.attempt}"
    if row.message:
        yield f"  {row.message}"
    yield ""
    for title, lines in (("Why at all", _trigger(entries)), ("What", _what(entries)), ("Tested", _gates(entries)),
                         ("Planned", _plan(entries)), ("Agreed", _approvals(entries)), ("Done", _done(entries)),
                         ("Taken back", [*_rollbacks(entries, row), *_asked_back(ledger, row)]), ("Evidence", _evidence(entries))):
        for number, line in enumerate(lines):
            yield f"{title if number == 0 else '':<{WIDTH}}{line}"


def _phase(row: PromotionRow) -> str:
    serves = f"serves {row.workspace}/{row.endpoint}" if row.phase == PromotionPhase.SUCCEEDED else f"is {row.phase.replace('_', ' ')}"
    return f"{serves} since {_time(row.updated_at)}"


def _trigger(entries: Sequence[Entry]) -> list[str]:
    about = _data(entries, "accepted")
    if not about:
        return ["nothing is recorded yet"]
    trigger = about["trigger"]
    who = trigger.get("actor")
    how = {"event": f"event {trigger['id']}", "manual": f"asked for by {who}", "retry": f"a retry by {who}"}
    lines = [f"{how[trigger['kind']]} at {_time(trigger['at'])}", f"policy {about['policy']['name']}, {about['policy_hash']}"]
    return lines + ([f"after {about['previous']}"] if about.get("previous") else [])


def _what(entries: Sequence[Entry]) -> list[str]:
    about = _data(entries, "pin")
    if not about:
        return []
    model, environment = about["model"], about.get("environment")
    lines = [f"{model['id']}", f"files {model['digest']['value']} ({model['digest']['files']} files, {model['digest']['size']} bytes)"
             if {"files", "size"} <= model["digest"].keys() else f"files {model['digest']['value']}"]
    if environment:
        lines.append(f"environment {environment['id']}, {environment['definition']}")
    lines += [f"data {text}: {found.get('id', '')}" for text, found in about.get("data", {}).items()]
    people = ", ".join(f"{item['role'].replace('_', ' ')} {item['object_id'] or 'not resolved'}" for item in about["submitters"])
    return [*lines, f"submitted by {people}"]


def _gates(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for result in _data(entries, "staging.gates").get("results", []):
        notes = [f"waived by {result['waived']['approver']}: {result['waived']['reason']}"] if result.get("waived") else []
        notes += [f"carried over from {result['carried_from']}"] if result.get("carried_from") else []
        lines.append(f"{result['gate']} {result['outcome']}: {result['message']}" + (f" ({'; '.join(notes)})" if notes else ""))
    return lines


def _plan(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        if entry.step == "plan" and entry.kind == "outcome":
            why = f", because {'; '.join(entry.data['changed'])[:300]}" if entry.data.get("changed") else ""
            lines.append(f"{_time(entry.at)}  {entry.data.get('stage', 'production')}: {entry.data['hash']}{why}")
    return lines


def _approvals(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        if entry.step == "approval.automatic":
            lines.append(f"{_time(entry.at)}  automatically, as the policy says")
        if entry.step == "approval" and entry.kind == "outcome":
            stage, outcome = entry.data.get("stage", "production"), entry.data["outcome"]
            lines.append(f"{_time(entry.at)}  {stage}: {outcome} on {entry.data['plan_hash']}")
            lines += [_vote(vote) for vote in entry.data.get("votes", [])]
    return lines


def _vote(vote: dict[str, Any]) -> str:
    behalf = f" for {vote['on_behalf_of']}" if vote.get("on_behalf_of") else ""
    about = "; ".join(text for text in (vote.get("reason"), vote.get("reference")) if text)
    return f"  {vote['decision']} by {vote['voter']}{behalf} at {_time(vote['cast_at'])}" + (f": {about}" if about else "")


def _done(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        if entry.step == "phase" and entry.phase in ("waiting_window", "queued"):
            lines.append(f"{_time(entry.at)}  {entry.data.get('message', entry.phase)}")
        if entry.step == "rollout.traffic" and entry.kind == "outcome":
            lines.append(f"{_time(entry.at)}  traffic " + ", ".join(f"{name} {share} %" for name, share in entry.data["traffic"].items()))
        if entry.step == "rollout.last_good":
            before = ", ".join(f"{name} {share} %" for name, share in entry.data.get("traffic", {}).items())
            lines.append(f"{_time(entry.at)}  served before: {before or 'nothing'}")
        if entry.step == "rollout.check":
            lines.append(f"{_time(entry.at)}  checked {entry.data['when']}: {entry.data['result']['outcome']}")
    return lines


def _rollbacks(entries: Sequence[Entry], row: PromotionRow) -> list[str]:
    lines = [f"{_time(entry.at)}  {entry.data.get('message', '')}" for entry in entries
             if entry.step == "rollout.rollback" and entry.kind == "outcome"]
    return lines or ([row.message] if row.phase == PromotionPhase.ROLLED_BACK else [])


def _asked_back(ledger: Ledger, row: PromotionRow) -> list[str]:
    """The rollbacks that have passports of their own."""
    lines = []
    for name in ledger.passports.rollbacks(row.id):
        about = _data(ledger.passports.entries(name), "rollback.accepted")
        lines.append(f"{_time(about['at'])}  {about.get('reason', '')} (its passport: {name})" if about else f"its passport: {name}")
    return lines


def _evidence(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return ["none yet"]
    problems = verify_chain(entries)
    closed = "closed" if entries[-1].kind == CLOSING else "still open"
    return [f"{len(entries)} entries, {closed}, up to {entries[-1].digest}",
            "NOT INTACT: " + "; ".join(problems) if problems else "the chain is whole; `pilotage passport get`, then `verify`, proves it"]


def _data(entries: Sequence[Entry], step: str) -> dict[str, Any]:
    return next((entry.data for entry in reversed(entries) if entry.step == step and entry.kind != "intent"), {})


def _time(text: str) -> str:
    """To the second, UTC."""
    return text[:19].replace("T", " ")
