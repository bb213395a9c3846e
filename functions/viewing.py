"""What the pages show: the ledger's facts as plain values, made here so that templates only lay out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from functions.explaining import counted, explain, gate_results
from pilotage.bootstrap import App
from pilotage.deciding import Standing, told, waiting_for
from pilotage.domain import durations
from pilotage.domain.access import Actor, Role
from pilotage.domain.approval import tally
from pilotage.domain.model_signatures import Difference, ModelSignature, listed
from pilotage.domain.passport import CLOSING, Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import ApprovalRequest, PromotionRow
from pilotage.planning import prospects, signature_changes
from pilotage.web import bar, stations

Facts = dict[str, Any]
CHANGES = 50
"""Differences of a signature that are shown one by one."""
LONGEST = 4000
"""Characters of a list of inputs: a model of pixels has hundreds."""
_NAMES = {"all": "in all", "work": "work", "bake": "baking", "people": "waiting for people", "window": "waiting for a window",
          "queue": "waiting in the queue"}


def overview(this: App, reader: Actor, rows: Sequence[PromotionRow], older: str, asked: Facts) -> dict[str, Any]:
    """The view of render_overview: a page of rows, where the next begins, and what was asked for (filters, `after`)."""
    filters = {name: text for name, text in asked.items() if name != "after"}
    return {
        "rows": [_line(row, this.clock.now()) for row in rows],
        "older": _address(asked | {"after": older}) if older else "", "newest": _address(filters) if asked["after"] else "",
        "counts": dict(sorted(Counter(row.phase for row in rows).items())), "filters": filters,
        "phases": [phase.value for phase in PromotionPhase],
        "failing": [item for item in this.ledger.channels.health() if item["failures"]],
        "due": [item for item in this.ledger.voices.reviews_due() if _sees(this, reader, str(item["promotion"]))],
    }


def _line(row: PromotionRow, now: datetime) -> Facts:
    """A row of the overview: where it is, and where its time went."""
    marks = [(mark.phase, mark.at) for mark in row.phases]
    found = durations.of_phases(marks, durations.settled(now, datetime.fromisoformat(row.updated_at)))
    return {**row.model_dump(mode="json", include={"id", "model", "version", "phase", "policy", "workspace", "endpoint", "message"}),
            "created_at": short(row.created_at), "stations": stations(row.phase, row.plan_hash), "bar": bar(found, row.phase),
            "times": [("rolling out" if part == "bake" else _NAMES[part], text) for part, text in times(found) if text != "0 s"]}


def _sees(this: App, reader: Actor, promotion_id: str) -> bool:
    row = this.ledger.promotions.get(promotion_id)
    return row is not None and reader.has(Role.READER, row.team)


def _address(query: Facts) -> str:
    """The overview's address with what of a query says something."""
    told = urlencode({name: text for name, text in query.items() if text})
    return f"/api/ui?{told}" if told else "/api/ui"


def promotion(this: App, row: PromotionRow, rollback_form: str, *, live: bool) -> dict[str, Any]:
    """The view of render_promotion."""
    entries = this.ledger.passports.entries(row.id)
    found, asked = explain(this, row, entries), this.ledger.approvals.current(row.id)
    now = this.clock.now()
    spent = durations.stretches(entries, durations.settled(now, datetime.fromisoformat(entries[-1].at)) if entries else now)
    problems = found["passport"]["problems"]
    state_told = "closed" if entries and entries[-1].kind == CLOSING else "still open"
    facts = {"promotion": row.id, "model": f"{row.model}:{row.version}", "policy": row.policy, "attempt": str(row.attempt),
             "target": f"{row.workspace}/{row.endpoint} {row.deployment}".strip(), "started": short(row.created_at),
             "held until": short(row.held_until)}
    return {
        "title": f"{row.model}:{row.version}", "about": row.model_dump(mode="json"), "facts": {k: v for k, v in facts.items() if v},
        "bar": bar(spent, row.phase), "times": [(part, _NAMES[part], text) for part, text in times(spent)],
        "phases": phases(entries, spent), "gates": found["gates"], "plan": found["plan"], "plan_hash": row.plan_hash,
        "approval": approval(this, asked) if asked else None, "steps": steps(entries),
        "rollbacks": [{"id": item["id"], "steps": steps(this.ledger.passports.entries(item["id"])),
                       "told": f"asked for by {item['actor']}: {item['reason']}; "
                       + str((item["result"] or {}).get("message", "under way"))} for item in found["rollbacks"]],
        "evidence": f"{len(entries)} entries, {state_told}, "
                    + (f"NOT INTACT: {'; '.join(problems)}" if problems else "the chain is whole"),
        "rollback_form": rollback_form, "live": live,
    }


def review(
    this: App, row: PromotionRow, asked: ApprovalRequest, standing: Standing, forms: Facts, action: str, said: str
) -> dict[str, Any]:
    """The view of render_review."""
    closed = this.ledger.approvals.closed(asked)
    votes = this.ledger.approvals.votes(asked)
    results = gate_results(this, row.id)
    rule = asked.ballot.rule
    return {
        "title": f"{row.model}:{row.version} for {asked.plan.workspace}/{asked.plan.endpoint}", "promotion": row.id, "told": said,
        "facts": {"stage": asked.stage, "time left": left(this, asked), "registered by": people(row), "plan": asked.plan_hash},
        "changed": asked.changed, "closed": told(row.id, closed) if closed else gone(this, row, asked), "action": action, **forms,
        "standing": {**standing.model_dump(mode="json"), "vote": standing.vote.decision.value.replace("_", " ") if standing.vote else ""},
        "rule": f"{rule.quorum} of {', '.join(asked.ballot.approvers(this.clock.now()))}"
                + (f", one of each: {', '.join(rule.one_of_each)}" if rule.one_of_each else ""),
        "waiting_for": waiting_for(asked.ballot, tally(asked.ballot, votes)),
        "votes": [spoken(vote.model_dump(mode="json")) for vote in votes],
        "differences": differences(this, row, asked), "plan": asked.plan.model_dump(mode="json"), "plan_hash": asked.plan_hash,
        "outlook": prospects(this, row, asked), "gates": results, "figures": figures(this, results), "card": card(this, row.id),
        "comments": [{**item.model_dump(mode="json"), "at": short(item.at)} for item in this.ledger.voices.comments(row.id)],
    }


def gone(this: App, row: PromotionRow, asked: ApprovalRequest) -> str:
    """Why nothing can be decided though the approval is not closed; empty when it can."""
    by = this.ledger.approvals.superseded_by(row.id)
    if by is not None:
        return f"This is superseded by {by}: decide on that one."
    if row.phase != PromotionPhase.AWAITING_APPROVAL:
        return f"The promotion is {row.phase.replace('_', ' ')}."
    return "The time for this decision is over." if this.clock.now() >= datetime.fromisoformat(asked.expires_at) else ""


def approval(this: App, asked: ApprovalRequest) -> dict[str, Any]:
    closed = this.ledger.approvals.closed(asked)
    votes = [spoken(vote.model_dump(mode="json")) for vote in this.ledger.approvals.votes(asked)]
    found = counted(this, asked)
    open_ = f"{len(found['approvals'])} of {found['quorum']} approvals for {asked.stage}, until {short(asked.expires_at)}"
    return {"told": told(asked.promotion, closed) if closed else open_, "votes": votes}


def steps(entries: Sequence[Entry]) -> list[Facts]:
    """Each entry of a passport as a line; an outcome says how long after its intent it came."""
    begun: dict[str, datetime] = {}
    found = []
    for entry in entries:
        at = datetime.fromisoformat(entry.at)
        took = durations.told(at - begun.pop(entry.step)) if entry.kind == "outcome" and entry.step in begun else ""
        if entry.kind == "intent":
            begun[entry.step] = at
        found.append({"number": str(entry.sequence), "at": short(entry.at), "took": took, "what": f"{entry.kind} {entry.step}",
                      "phase": entry.phase, "note": note(entry)})
    return found


def note(entry: Entry) -> str:
    """What is worth a line of an entry's data."""
    data = entry.data
    if entry.step in ("rollout.traffic", "rollback.traffic"):
        return ", ".join(f"{name} {share} %" for name, share in data.get("traffic", {}).items())
    for name in ("message", "outcome", "hash", "error", "when"):
        if data.get(name):
            return str(data[name])[:300]
    return ""


def times(found: Sequence[durations.Stretch]) -> list[tuple[str, str]]:
    """The whole, and each part that took time."""
    parts = durations.split(found)
    whole = sum(parts.values(), start=timedelta(0))
    return [("all", durations.told(whole)), *((part, durations.told(took)) for part, took in parts.items() if took)]


def phases(entries: Sequence[Entry], found: Sequence[durations.Stretch]) -> list[Facts]:
    """Each phase and each wait as a line: since when, how long, for what, and what was said of it."""
    said = {(entry.phase, entry.at): note(entry) for entry in entries if entry.step == "phase"}
    lines = [{"phase": item.phase, "part": _NAMES[item.part], "at": short(item.start.isoformat()), "took": durations.told(item.took),
              "note": said.get((item.phase, item.start.isoformat(timespec="milliseconds")), "")} for item in found]
    # An answer that is acted on at once is no line of its own.
    lines = [line for before, line in zip([None, *lines], lines, strict=False)
             if line["took"] != "0 s" or before is None or line["phase"] != before["phase"]]
    last = entries[-1] if entries else None
    if last is not None and (not found or found[-1].phase != last.phase):
        entered = next(entry for entry in reversed(entries) if entry.step == "phase" or entry is entries[0])
        lines.append({"phase": last.phase, "part": "", "at": short(entered.at), "took": "", "note": note(entered)})
    return lines


def differences(this: App, row: PromotionRow, asked: ApprovalRequest) -> list[dict[str, Any]]:
    """What is asked for against what serves now: version, files, signature, environment, data, policy, gates' words, tags."""
    endpoint = this.ledger.endpoints.get(asked.plan.workspace, asked.plan.endpoint)
    live = endpoint.live if endpoint else None
    if live is None:
        return []
    now, new = _side(this, live.promotion), _side(this, row.id)
    found = [{"name": name, "now": now.get(name, "not told"), "new": new.get(name, "not told"),
              "how": "changed" if now.get(name) != new.get(name) else ""} for name in dict.fromkeys([*new, *now])]
    after = next((number for number, item in enumerate(found, start=1) if item["name"] == "signature"), len(found))
    return [*found[:after], *_signature_rows(signature_changes(this, live.promotion, row.id)), *found[after:]]


def _signature_rows(changes: Sequence[Difference]) -> list[dict[str, Any]]:
    """Rows of the table of differences, one for each input or output that is not as before."""
    rows = [{"name": item.what, "now": item.now or "not there", "new": item.new or "not there", "how": item.kind}
            for item in changes[:CHANGES]]
    if len(changes) > CHANGES:
        rows.append({"name": "signature, further", "now": "", "new": f"{len(changes) - CHANGES} more differences", "how": "changed"})
    return rows


def _side(this: App, promotion_id: str) -> Facts:
    entries = this.ledger.passports.entries(promotion_id)
    about = {entry.step: entry.data for entry in entries if entry.kind != "intent"}
    row = this.ledger.promotions.get(promotion_id)
    pin, accepted, plan = about.get("pin", {}), about.get("accepted", {}), about.get("plan", {}).get("plan", {})
    kept = this.ledger.cards.of(promotion_id) or {}
    found = {"version": f"{row.model}:{row.version}" if row else "not told",
             "files": pin.get("model", {}).get("digest", {}).get("value", ""), "signature": _signature(kept),
             "environment": (pin.get("environment") or {}).get("definition", "unpinned"), "policy": accepted.get("policy_hash", ""),
             "size": f"{plan['instances']} x {plan['instance_type']}" if plan else ""}
    found |= {f"data {text}": item.get("id", "") for text, item in pin.get("data", {}).items()}
    found |= {f"gate {item['gate']}": f"{item['outcome']}: {item['message']}" for item in about.get("staging.gates", {}).get("results", [])}
    found |= {f"tag {name}": text for name, text in kept.get("tags", {}).items() if not name.startswith("pilotage")}
    return {name: text for name, text in found.items() if text}


def _signature(kept: dict[str, Any]) -> str:
    """How much goes in and comes out; empty for a card of before signatures were kept."""
    if "signature" not in kept:
        return ""
    if kept["signature"] is None:
        return f"can't be read: {problem}" if (problem := kept["signature_problem"]) else "none"
    found = ModelSignature.model_validate(kept["signature"])
    return f"{_many(len(found.inputs), 'input')}, {_many(len(found.outputs), 'output')}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def card(this: App, promotion_id: str) -> dict[str, Any] | None:
    found = this.ledger.cards.of(promotion_id)
    if found is None:
        return None
    signature = this.ledger.cards.signature(promotion_id)
    facts = {"type": found["type"], "registered by": found["registered_by"], "job": found["job"],
             "inputs": _cut(listed(signature.inputs)) if signature else "", "outputs": _cut(listed(signature.outputs)) if signature else ""}
    facts |= {name: text for name, text in (found["tags"] | found["properties"]).items() if name not in facts}
    return {"description": found["description"], "facts": {name: text for name, text in facts.items() if text}}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def figures(this: App, results: Sequence[dict[str, Any]]) -> list[Any]:
    """The plots of the gates, as their full evidence has them."""
    kept = [this.ledger.gates.read(result["report"]) for result in results if result.get("report")]
    return [figure for result in kept if result is not None for figure in result.figures]


def spoken(vote: dict[str, Any]) -> dict[str, Any]:
    return {**vote, "cast_at": short(vote["cast_at"])}


def people(row: PromotionRow) -> str:
    return ", ".join(f"{item.display_name or item.object_id} ({item.role.replace('_', ' ')})" for item in row.submitters) or "not told"


def left(this: App, asked: ApprovalRequest) -> str:
    remains = datetime.fromisoformat(asked.expires_at) - this.clock.now()
    return f"{durations.told(remains)}, until {short(asked.expires_at)}" if remains.total_seconds() > 0 else "over"


def short(text: str) -> str:
    """To the second, UTC."""
    return text[:19].replace("T", " ")
