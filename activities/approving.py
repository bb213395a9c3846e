"""Activities around the approval: the plan, the record that voters see, the count, the announcement."""

from __future__ import annotations

from datetime import datetime

from activities.effect import effect
from activities.production import prior_state
from pilotage.bootstrap import app
from pilotage.domain.approval import tally
from pilotage.domain.assets import Submitter
from pilotage.domain.canonical import digest
from pilotage.domain.names import production_deployment
from pilotage.domain.plan import Plan
from pilotage.domain.policy import ApprovalRule
from pilotage.messages import ApprovalRequest, PromotionRequest
from pilotage.ports import LinkClaims, Notification


@effect
def make_plan(payload: dict) -> dict:
    """What the rollout will do, with production as it is now as the expected prior state: {"plan"}."""
    wanted = PromotionRequest.read(payload["promotion"])
    policy = wanted.parsed_policy()
    stage = policy.production
    wire = policy.wire()["stages"][1]
    plan = Plan(
        promotion=wanted.id, model=payload["model"], model_digest=payload["model_digest"], environment=payload["environment"],
        environment_definition=payload["environment_definition"], workspace=stage.workspace, endpoint=stage.target.endpoint,
        deployment=production_deployment(wanted.source.version, wanted.id), instance_type=stage.target.instance_type,
        instances=stage.target.instances, steps=[step.model_dump(mode="json", by_alias=True) for step in policy.rollout.steps],
        keep_previous=policy.rollout.model_dump(mode="json")["keep_previous"], approval=wire["approval"],
        policy=policy.name, policy_hash=wanted.policy_hash,
        evidence=[{"gate": result["gate"], "outcome": result["outcome"], "digest": digest(result)} for result in payload["results"]],
        prior=prior_state(stage.workspace, stage.target.endpoint),
    )
    return {"plan": plan.model_dump(mode="json")}


@effect
def open_approval(payload: dict) -> dict:
    """Write the record that the decision endpoint reads; create-only."""
    app().ledger.approvals.open(ApprovalRequest.read(payload["request"]))
    return {}


@effect
def tally_votes(payload: dict) -> dict:
    """Read the votes again and count those for exactly this plan: {"tally"}."""
    rule = ApprovalRule.model_validate(payload["rule"])
    about = {key: payload[key] for key in ("promotion", "stage", "plan_hash", "attempt")}
    votes = app().ledger.approvals.votes(**about)
    counted = tally(rule, votes, submitters=[Submitter.model_validate(s) for s in payload["submitters"]], **about)
    return {"tally": counted.model_dump(mode="json")}


@effect
def notify(payload: dict) -> dict:
    """Tell people. A decision link is made here and goes nowhere else: it is a secret, and histories are readable."""
    this = app()
    link = token = decision = ""
    if payload["kind"] == "awaiting_approval":
        claims = LinkClaims(promotion=payload["promotion"], stage=payload["stage"], plan_hash=payload["plan_hash"],
                            attempt=payload["attempt"])
        token = this.tickets.issue(claims, datetime.fromisoformat(payload["expires_at"]))
        base = this.settings.base_url.rstrip("/")
        link = f"{base}/api/promotions/{payload['promotion']}"
        decision = f"{base}/api/approvals/{payload['promotion']}/decision"
    this.notifier.send(Notification(kind=payload["kind"], title=payload["title"], text=payload["text"], promotion=payload["promotion"],
                                    link=link, decision_url=decision, link_token=token, facts=payload["facts"]))
    return {}
