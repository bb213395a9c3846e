"""What an online endpoint may say: the parts of a request, and what an update can't change."""

from __future__ import annotations

import uuid

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.regions import refuse_move
from emulator.azure_ml.resource import ArmRequest
from emulator.azure_ml.store import Resource

AUTH_MODES = ("Key", "AMLToken", "AADToken")
MANAGED, KUBERNETES = "Managed", "K8S"
"""Kinds of endpoints. Kubernetes ones name the cluster that they run on."""
FIXED = ("authMode", "compute")
"""Properties that an update can't change."""
MUTABLE = ("tags", "identity")
"""What a PATCH may change."""
IDENTITIES = ("None", "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned")


def desired_of(request: ArmRequest) -> Resource:
    """The parts of a PUT that an update may change, and those that it may only repeat."""
    properties = request.properties
    return {
        "tags": fields.texts(request.body, "tags"),
        "properties": {
            "authMode": fields.choice(properties, "authMode", "Key", AUTH_MODES),
            "description": fields.text(properties, "description"),
            "compute": fields.text(properties, "compute") or None,
            "publicNetworkAccess": fields.choice(properties, "publicNetworkAccess", "Enabled", ("Enabled", "Disabled")),
            "traffic": fields.mapping(properties, "traffic"),
            "mirrorTraffic": fields.mapping(properties, "mirrorTraffic"),
            "properties": fields.texts(properties, "properties"),
        },
    }


def identity_of(request: ArmRequest) -> str | None:
    """The type of the endpoint's identity; None when the request says nothing of it."""
    given = fields.mapping(request.body, "identity")
    spelled = {**given, "type": given["type"].replace(" ", "")} if isinstance(given.get("type"), str) else given
    return fields.choice(spelled, "type", "", IDENTITIES, "identity.") or None


def assigned_of(request: ArmRequest) -> Resource:
    given = fields.mapping(fields.mapping(request.body, "identity"), "userAssignedIdentities", "identity.")
    ids = {name: {"principalId": _guid(name), "clientId": _guid(f"{name}/client")} for name in given}
    return {"userAssignedIdentities": ids} if ids else {}


def refuse_change(request: ArmRequest, old: Resource, desired: Resource, identity: str | None) -> None:
    """What an endpoint is made with and keeps: how callers sign in, its cluster, its place and its identity."""
    refuse_move(request, old)
    for name in FIXED:
        before, after = old["properties"].get(name), desired["properties"].get(name)
        if str(before or "").lower() != str(after or "").lower():
            raise BadRequest(f"The {name} of an endpoint cannot be changed from {before} to {after}: create another endpoint.")
    if identity and identity != old["identity"]["type"]:
        raise BadRequest(f"The identity of an endpoint cannot be changed from {old['identity']['type']} to {identity}.")


def _guid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text.lower()))
