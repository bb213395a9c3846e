"""Activities around the approval: the plan, the record that voters see, the count, what is superseded, reviews that are due."""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.canonical import digest
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.rollout import is_older
from pilotage.messages import ApprovalRequest, PromotionRequest, PromotionRow
from pilotage.planning import make_plan as made

_UNDECIDED = (PromotionPhase.AWAITING_APPROVAL, PromotionPhase.WAITING_WINDOW)


@effect
def make_plan(payload: dict) -> dict:
    """What a stage will do, with production as it is now as the expected prior state: {"plan"}."""
    plan = made(app(), PromotionRequest.read(payload["promotion"]), payload.get("stage", "production"), model=payload["model"],
                model_digest=payload["model_digest"], environment=payload["environment"],
                environment_definition=payload["environment_definition"], results=payload["results"])
    return {"plan": plan.model_dump(mode="json")}


@effect
def open_approval(payload: dict) -> dict:
    """Write the record that the decision endpoint reads, and supersede older versions that still wait for the same place.

    {"request"} -> {"superseded": [{"promotion", "instance"}], "by"}: whom to wake; `by` when a newer one waits already.
    """
    approvals = app().ledger.approvals
    request = ApprovalRequest.read(payload["request"])
    approvals.open(request)
    mine = app().ledger.promotions.get(request.promotion)
    if mine is None:
        return {"superseded": [], "by": None}
    older: list[dict[str, str]] = []
    by = None
    for row in _rivals(mine):
        asked = approvals.current(row.id)
        closed = approvals.closed(asked) if asked else None
        if closed is not None and closed.outcome == "approved":
            continue  # decided on, and only held by a window: it goes first
        if _is_newer(row, mine):
            by = approvals.supersede(mine.id, row.id)
            continue
        approvals.supersede(row.id, mine.id)
        older.append({"promotion": row.id, "instance": child_id(row.id, asked.step) if asked else row.id})
    return {"superseded": older, "by": by}


@effect
def tally_votes(payload: dict) -> dict:
    """{"request", "at", "final"} -> {"tally", "closed" | None}: read the votes again, and close when it is decided or over."""
    counted, closed = app().ledger.approvals.settle(ApprovalRequest.read(payload["request"]), payload["at"], final=payload["final"])
    if closed is None:
        return {"tally": counted.model_dump(mode="json"), "closed": None}
    if closed.tally.glass_broken:
        app().ledger.voices.break_glass(closed.promotion, payload["request"].get("policy", ""), closed.tally.broken_glass_by,
                                        payload["review_by"])
    # What is kept whole in the ledger crosses the wire, and goes into the passport, without the length of people's words.
    votes = [{**vote.model_dump(mode="json", exclude={"promotion", "stage", "plan_hash", "round", "ticket", "reason"}),
              "reason": vote.reason[:200], "digest": digest(vote.model_dump(mode="json"))} for vote in closed.votes]
    return {"tally": counted.model_dump(mode="json"),
            "closed": {"outcome": closed.outcome, "by": closed.by, "at": closed.at, "votes": votes,
                       "tally": closed.tally.model_dump(mode="json")}}


@effect
def due_reviews(payload: dict) -> dict:
    """{} -> {"due": [{"promotion", "policy", "review_by"}]}: glasses that were broken and nobody has reviewed, the oldest 50."""
    due = app().ledger.voices.reviews_due()[:50]
    return {"due": [{name: item[name] for name in ("promotion", "policy", "review_by")} for item in due]}


def _rivals(mine: PromotionRow) -> list[PromotionRow]:
    """Other promotions of the same model for the same endpoint that wait for people or for a window."""
    place = (mine.model.casefold(), mine.workspace.casefold(), mine.endpoint.casefold())
    return [row for phase in _UNDECIDED for row in app().ledger.promotions.list(model=mine.model, phase=phase.value)
            if row.id != mine.id and (row.model.casefold(), row.workspace.casefold(), row.endpoint.casefold()) == place]


def _is_newer(row: PromotionRow, than: PromotionRow) -> bool:
    """By version where both are numbers; otherwise, and between attempts at one version, by when they were started."""
    if row.version != than.version and (is_older(than.version, row.version) or is_older(row.version, than.version)):
        return is_older(than.version, row.version)
    return (row.created_at, row.id) > (than.created_at, than.id)
