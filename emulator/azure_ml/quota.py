"""How many cores of a family of virtual machines the managed deployments of a workspace may use.

Azure asks for a fifth more instances than a deployment has, which it needs for upgrades: `ceil(1.2 * instances) * cores`
(learn.microsoft.com/azure/machine-learning/how-to-manage-quotas, "virtual machine quota allocation for deployment").
A deployment holds its cores until it is deleted, whether it succeeded or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from emulator.azure_ml.errors import OperationFailed
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import Resource, ResourceStore
from emulator.azure_ml.vm_sizes import vm_size

RESERVED = "_reserved"
"""A deployment's hidden key: `{"family", "cores"}`."""
DEFAULT_CORES = 400
DEFAULT = "default"
"""In the configuration: of families that it doesn't name."""


class Quota:
    """`limits`: family -> cores, in any case."""

    def __init__(self, store: ResourceStore, limits: Mapping[str, int], subscription: str) -> None:
        self._store = store
        self._limits = {family.lower(): cores for family, cores in limits.items()}
        self._subscription = subscription

    def limit(self, family: str) -> int:
        return self._limits.get(family.lower(), self._limits.get(DEFAULT, DEFAULT_CORES))

    def used(self, scope: Scope, family: str, without: str = "") -> int:
        """The cores that a workspace's deployments hold, but for one of them (its id)."""
        return sum(
            deployment[RESERVED]["cores"]
            for endpoint in self._store.children(f"{scope.id}/onlineEndpoints")
            for deployment in self._store.children(f"{endpoint['id']}/deployments")
            if deployment.get(RESERVED) and deployment[RESERVED]["family"] == family and deployment["id"].lower() != without.lower()
        )

    def reserve(self, scope: Scope, deployment: Resource) -> Resource | None:
        """What a deployment will hold, in place of what it holds; None for one that is not managed.

        Call it in a transaction that writes the result. Raises `OperationFailed` (OutOfQuota).
        """
        properties = deployment["properties"]
        if properties["endpointComputeType"] != "Managed":
            return None
        name = str(properties["instanceType"])
        size = vm_size(name)
        if size is None:
            raise OperationFailed(f"The instance type {name} is not supported.", code="BadArgument")
        wanted = needed(deployment["sku"]["capacity"], size.cores)
        used, limit = self.used(scope, size.family, deployment["id"]), self.limit(size.family)
        if used + wanted > limit:
            raise OperationFailed(
                f"Not enough quota available for {name} in SubscriptionId {self._subscription}."
                f" Current usage/limit: {used}/{limit}. Additional needed: {wanted}"
                " Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota",
                code="OutOfQuota",
            )
        return {"family": size.family, "cores": wanted}


def needed(instances: int, cores: int) -> int:
    """
    >>> needed(1, 4), needed(5, 4), needed(6, 4)
    (8, 24, 32)
    """
    return -(-instances * 12 // 10) * cores
