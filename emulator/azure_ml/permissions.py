"""From a request to the action of Azure's role-based access control that it needs.

A workspace's types are actions as they stand: `.../workspaces/models/versions/write`, `.../onlineEndpoints/listKeys/action`.
Whatever lies in a registry is one kind of thing, an asset: `.../registries/assets/write`
(learn.microsoft.com/azure/machine-learning/how-to-manage-registries, "Manage access to a registry").
"""

from __future__ import annotations

from emulator.access import Access
from emulator.azure_ml.errors import Forbidden
from emulator.azure_ml.resource import PROVIDER, Scope
from emulator.context import Caller

_VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_READING = ("datarefs",)
"""What a POST to a registry only reads; its others write."""


def action_of(method: str, kind: str, segments: tuple[str, ...], action: str | None = None) -> str:
    """The action of a request below a scope of `kind` (`workspaces` or `registries`); `segments` as in `ArmRequest`.

    >>> action_of("PUT", "workspaces", ("models", "m", "versions", "1"))
    'Microsoft.MachineLearningServices/workspaces/models/versions/write'
    >>> action_of("POST", "workspaces", ("onlineEndpoints", "e"), "listKeys")
    'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action'
    >>> action_of("POST", "registries", (), "import")
    'Microsoft.MachineLearningServices/registries/assets/write'
    """
    types = segments[0::2]
    if kind == "registries":
        if not types and method != "POST":
            return f"{PROVIDER}/registries/{_VERBS[method]}"
        reads = bool(types) and types[0].lower() in _READING
        return f"{PROVIDER}/registries/assets/" + ("read" if reads else _VERBS.get(method, "write"))
    parts = [PROVIDER, kind, *types, *([action] if action else []), _VERBS.get(method, "action")]
    return "/".join(parts)


class Permissions:
    """What the parts of Azure ML ask before they act for somebody."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def require(self, caller: Caller, action: str, scope: Scope | str) -> None:
        """Raise `Forbidden` unless a caller may do `action` at a scope: a workspace, a registry, or any ARM id."""
        refusal = self._access.refusal(caller, action, scope.id if isinstance(scope, Scope) else scope)
        if refusal is not None:
            raise Forbidden(refusal)

    def allowed(self, caller: Caller, action: str, scope: Scope | str) -> bool:
        return self._access.allows(caller.object_id, action, scope.id if isinstance(scope, Scope) else scope)
