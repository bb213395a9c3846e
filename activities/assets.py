"""Activities on what is promoted: read, pin by version and digest, copy into the registry, compare."""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import AssetRef, ModelVersion, parse_asset
from pilotage.domain.model_signatures import ModelSignature
from pilotage.domain.policy import PromotionPolicy
from pilotage.errors import InvalidInput, NotFound
from pilotage.gates.signature import read_signature
from pilotage.gates.trial import RegisteredFiles
from pilotage.ports import ModelRegistry


@effect
def read_model(payload: dict) -> dict:
    """{"ref"} -> {"model": ModelVersion}; refused NotFound while it can't be read."""
    return {"model": app().registry.model(AssetRef.model_validate(payload["ref"])).model_dump(mode="json")}


@effect
def pin_model(payload: dict) -> dict:
    """{"model"[, "promotion"]} -> {"digest": ArtifactDigest, "submitters": [Submitter]}: who and what exactly.

    Its card is kept, with its signature: what callers must send is part of what is decided on.
    """
    registry = app().registry
    model = ModelVersion.model_validate(payload["model"])
    if payload.get("promotion"):
        app().ledger.cards.keep(payload["promotion"], model, *_signature(registry, model.ref))
    return {
        "digest": registry.model_digest(model.ref).model_dump(),
        "submitters": [submitter.model_dump() for submitter in registry.submitters(model)],
    }


def _signature(registry: ModelRegistry, ref: AssetRef) -> tuple[ModelSignature | None, str]:
    """The signature, or why it can't be read: that stops no promotion, the gates judge it."""
    try:
        return read_signature(RegisteredFiles(registry, ref)), ""
    except InvalidInput as error:
        return None, str(error)


@effect
def pin_assets(payload: dict) -> dict:
    """{"policy"} -> {"environment": EnvironmentVersion | None, "data": {policy's text: DataVersion}, "components": {text: AssetRef}}.

    Labels are resolved here, once, in the policy's home workspace; everything later names versions.
    """
    registry = app().registry
    policy = PromotionPolicy.from_wire(payload["policy"])
    environment = None
    if policy.environment:
        environment = registry.environment(registry.pin("environments", parse_asset(policy.environment, policy.home)))
    return {
        "environment": environment.model_dump(mode="json") if environment else None,
        "data": {
            text: registry.data(registry.pin("data", parse_asset(text, policy.home))).model_dump(mode="json")
            for text in policy.data_texts()
        },
        "components": {text: registry.pin("components", parse_asset(text, policy.home)).model_dump() for text in policy.component_texts()},
    }


@effect
def begin_share(payload: dict) -> dict:
    """{"kind": models|environments, "source", "target"} -> {"operation"}: start the copy.

    One that is there or under way is left alone; `operation` is then empty.
    """
    source, target = AssetRef.model_validate(payload["source"]), AssetRef.model_validate(payload["target"])
    if payload["kind"] == "models":
        operation = app().registry.begin_share_model(source, target)
    elif payload["kind"] == "environments":
        operation = app().registry.begin_share_environment(source, target)
    else:
        raise InvalidInput(f"kind is {payload['kind']!r}: only models and environments are shared")
    return {"operation": operation}


@effect
def shared_state(payload: dict) -> dict:
    """{"kind", "target", "operation"} -> {"present", "failure"}: `failure` says why the copy will not come, where that is known."""
    target = AssetRef.model_validate(payload["target"])
    registry = app().registry
    try:
        registry.model(target) if payload["kind"] == "models" else registry.environment(target)
    except NotFound:
        operation = payload["operation"]
        return {"present": False, "failure": registry.share_failure(target, operation) if operation else None}
    return {"present": True, "failure": None}


@effect
def compare_copy(payload: dict) -> dict:
    """{"kind", "target", "digest"} -> {"id", "digest", "equal"}: read back and computed anew from the copy's own bytes."""
    target = AssetRef.model_validate(payload["target"])
    registry = app().registry
    if payload["kind"] == "models":
        found, asset_id = registry.model_digest(target).value, registry.model(target).id
    else:
        environment = registry.environment(target)
        found, asset_id = environment.definition, environment.id
    return {"id": asset_id, "digest": found, "equal": found == payload["digest"]}
