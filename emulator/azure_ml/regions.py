"""What lies in a region stays there, and has its name there for itself."""

from __future__ import annotations

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest, Conflict
from emulator.azure_ml.resource import ArmRequest
from emulator.azure_ml.scopes import Scopes
from emulator.azure_ml.store import Resource, ResourceStore


def refuse_move(request: ArmRequest, old: Resource | None) -> None:
    """Raise `Conflict` for a PUT that names another location than the resource has; `East US` is `eastus`."""
    location = fields.text(request.body, "location")
    if location and old is not None and location.lower().replace(" ", "") != str(old["location"]).lower():
        raise Conflict(
            f"The resource '{request.name}' already exists in location '{old['location']}'. A resource with the same name"
            f" cannot be created in location '{location}'.",
            code="InvalidResourceLocation",
        )


def refuse_taken_name(request: ArmRequest, scopes: Scopes, store: ResourceStore) -> None:
    """Raise `BadRequest` for an endpoint's name that another workspace has: they are hosts' names, unique in a region."""
    for scope in scopes:
        if scope.location != request.scope.location or scope.id == request.scope.id:
            continue
        if store.get(f"{scope.id}/{request.segments[0]}/{request.name}") is not None:
            raise BadRequest(
                f"An endpoint named {request.name} exists in {scope.location} already: names are unique in a region.",
                code="EndpointNameNotAvailable",
            )
