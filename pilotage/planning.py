"""Making a plan: what a stage will change, with production as it is now as the expected prior state. Changes nothing."""

from __future__ import annotations

from typing import Any

from pilotage.bootstrap import App
from pilotage.domain import durations
from pilotage.domain.assets import AssetRef, parse_asset
from pilotage.domain.canonical import digest
from pilotage.domain.model_signatures import Difference, signature_differences
from pilotage.domain.names import production_deployment, staging_deployment
from pilotage.domain.outlook import outlook
from pilotage.domain.plan import Plan, PriorState
from pilotage.domain.policy import PromotionPolicy
from pilotage.domain.rollout import normal, split
from pilotage.domain.strict import parse_duration
from pilotage.domain.windows import freezes_for, state
from pilotage.errors import InvalidPolicy
from pilotage.messages import ApprovalRequest, PromotionRequest, PromotionRow


def prior_state(app: App, workspace: str, endpoint: str) -> PriorState:
    """What serves an endpoint now."""
    found = app.deployments.endpoint(workspace, endpoint)
    if found is None:
        return PriorState(exists=False)
    traffic = normal(found.traffic)
    models = {d.name: d.model for d in app.deployments.deployments(workspace, endpoint) if d.name in traffic}
    return PriorState(exists=True, traffic=traffic, models=models)


def make_plan(
    app: App, wanted: PromotionRequest, stage_name: str, *, model: str, model_digest: str, environment: str | None,
    environment_definition: str, results: list[dict[str, Any]],
) -> Plan:
    """The plan of one stage. `results`: the gates' results as the passport has them."""
    policy = wanted.parsed_policy()
    stage = policy.staging if stage_name == "staging" else policy.production
    wire = next(item for item in policy.wire()["stages"] if item["name"] == stage_name)
    rollout = policy.rollout
    steps = [step.model_dump(mode="json", by_alias=True) for step in rollout.steps] if stage_name == "production" else []
    name = staging_deployment(wanted.id) if stage_name == "staging" else production_deployment(wanted.source.version, wanted.id)
    plan = Plan(
        promotion=wanted.id, stage=stage_name, model=model, model_digest=model_digest, environment=environment,
        environment_definition=environment_definition, workspace=stage.workspace, endpoint=stage.target.endpoint,
        deployment=name, instance_type=stage.target.instance_type, instances=stage.target.instances, steps=steps,
        keep_previous=rollout.model_dump(mode="json")["keep_previous"] if stage_name == "production" else "PT0S", approval=wire["approval"],
        policy=policy.name, policy_hash=wanted.policy_hash,
        evidence=[{"gate": result["gate"], "outcome": result["outcome"], "digest": digest(result)} for result in results],
        prior=prior_state(app, stage.workspace, stage.target.endpoint) if stage_name == "production" else PriorState(exists=False))
    return plan.model_copy(update={"resources": resources(plan, policy)})


def resources(plan: Plan, policy: PromotionPolicy) -> list[dict[str, str]]:
    """Everything that the plan's stage makes, changes or removes, in order."""
    endpoint = f"workspaces/{plan.workspace}/onlineEndpoints/{plan.endpoint}"
    deployment = f"{endpoint}/deployments/{plan.deployment}"
    size = f"{plan.instances} x {plan.instance_type}"
    if plan.stage == "staging":
        gates = ", ".join(gate.name for gate in policy.staging.gates)
        return [_change("ensure", endpoint, "for the test; it takes no traffic"),
                _change("create", deployment, f"{plan.model}, {size}, at 0 % of the traffic"),
                _change("test", deployment, gates), _change("delete", deployment, "when the gates are done, whatever they say")]
    found = [] if plan.prior.exists else [_change("create", endpoint, "nothing serves there yet")]
    found.append(_change("create", deployment, f"{plan.model}, {size}"))
    for step in plan.steps:
        traffic = split(plan.prior.traffic, plan.deployment, step["traffic"])
        share = ", ".join(f"{name} {part} %" for name, part in traffic.items())
        found.append(_change("set traffic", endpoint, f"{share}; then checked for {step['for']}"))
    found += [_change("delete", f"{endpoint}/deployments/{name}", f"{plan.keep_previous} after the last step")
              for name in plan.prior.traffic if name != plan.deployment]
    return found


def preview(app: App, wanted: PromotionRequest, stage_name: str = "production") -> Plan:
    """The plan as far as it is known before anything is measured: the version is read and its bytes are digested, nothing is changed.

    `evidence` names the gates that are still to be passed, so its hash is not the one that people will be asked about.
    Raises NotFound for a version that is not there.
    """
    policy = wanted.parsed_policy()
    model = app.registry.model(wanted.source)
    environment = app.registry.environment(app.registry.pin("environments", parse_asset(policy.environment, policy.home))) \
        if policy.environment else None
    shared = registry_asset(parse_asset(policy.environment, policy.home).model_copy(update={"version": environment.ref.version}),
                            "environments", policy.registry) if environment and policy.environment else None
    plan = make_plan(
        app, wanted, stage_name, model=registry_asset(wanted.source, "models", policy.registry), environment=shared,
        model_digest=app.registry.model_digest(model.ref).value, results=[],
        environment_definition=environment.definition if environment else "unpinned")
    return plan.model_copy(update={"evidence": [
        {"gate": gate.name, "outcome": "to be measured", "digest": ""} for gate in policy.staging.gates if stage_name == "production"]})


def prospects(this: App, row: PromotionRow, asked: ApprovalRequest) -> dict[str, str]:
    """What stands outside the plan's hash: time, window and cost, as they look now."""
    claim = this.ledger.claims.get(row.id)
    if claim is None:
        return {}
    policy: PromotionPolicy = PromotionRequest.read(claim.message).parsed_policy()
    stage = policy.staging if asked.stage == "staging" else policy.production
    try:
        freezes = [*policy.freezes, *this.policies.guardrails().freezes]
    except InvalidPolicy:
        freezes = list(policy.freezes)
    now = this.clock.now()
    found = state(stage.windows, freezes_for(freezes, stage.workspace, row.model), now)
    about = outlook(policy, asked.plan, now, found.model_dump(mode="json"), gates_known=asked.stage == "production")
    cost = about["cost"]
    closes = f", until {found.closes_at.isoformat()}" if found.closes_at else ""
    window = f"open now{closes}" if found.open else f"{found.why}; opens {found.opens_at.isoformat() if found.opens_at else 'not in sight'}"
    return {"takes about": durations.told(parse_duration(about["estimated_duration"])), "window": window,
            "cost": cost.get("unknown")
            or f"{cost['during_rollout']} during the rollout, {cost['per_month']} a month; {cost['currency_note']}"}


def signature_changes(this: App, live: str, candidate: str) -> list[Difference]:
    """How a promotion's model differs in its signature from that of the one that serves; empty where either tells none."""
    now, new = this.ledger.cards.signature(live), this.ledger.cards.signature(candidate)
    return signature_differences(now, new) if now and new else []


def registry_asset(source: AssetRef, kind: str, registry: str) -> str:
    """The id that a version has, or will have, in the registry."""
    home = source.registry or registry
    return f"azureml://registries/{home}/{kind}/{source.name}/versions/{source.version}"


def _change(action: str, resource: str, detail: str) -> dict[str, str]:
    return {"action": action, "resource": resource, "detail": detail}
