"""`systemData`: who made and changed a resource, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.azure_ml.store import Resource
from emulator.context import Caller

OWNER = "_owner"
"""A resource's hidden key with its maker's object id: `systemData` has names only, as in Azure."""


def stamp(resource: Resource, caller: Caller, now: datetime, old: Resource | None = None) -> None:
    """Write `systemData` into a resource, keeping its making's from `old`."""
    when = timestamp(now)
    # A token of a principal carries its client id; a person's sign-in has none.
    kind = "Application" if caller.client_id else "User"
    made: dict[str, Any] = (old or {}).get("systemData") or {
        "createdBy": caller.name,
        "createdByType": kind,
        "createdAt": when,
    }
    resource["systemData"] = {
        **made,
        "lastModifiedBy": caller.name,
        "lastModifiedByType": kind,
        "lastModifiedAt": when,
    }
    resource[OWNER] = (old or {}).get(OWNER) or {"objectId": caller.object_id, "name": caller.name}


def timestamp(now: datetime) -> str:
    """ISO 8601 in UTC with microseconds, as Azure ML writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shown(resource: Resource) -> Resource:
    """A resource as clients see it: without the keys that the platform keeps for itself."""
    return {
        key: {name: item for name, item in value.items() if not name.startswith("_")}
        if key == "properties"
        else value
        for key, value in resource.items()
        if not key.startswith("_")
    }
