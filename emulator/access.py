"""Who may do what: Azure's role-based access control over the platform's workspaces and registries.

Roles have Azure's own names, ids and actions (learn.microsoft.com/azure/role-based-access-control/built-in-roles);
assignments come from platform.yaml, and later changes are kept with the state. As in Azure an action is allowed when
one assignment at the scope or above has it among its `actions` and not among its `not_actions`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from emulator.errors import EmulatorError

if TYPE_CHECKING:
    from emulator.azure_ml.store import ResourceStore
    from emulator.config import PlatformConfig
    from emulator.context import Caller

AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net", "https://ml.azure.com")
"""What Azure Resource Manager takes tokens for, and Azure ML's data plane (registries, pipelines). The platform's own address is
taken too: the SDKs ask for tokens for the `resourceManager` that the cloud's metadata names."""
EVERYONE = "*"
"""The principal of what platform.yaml without role assignments gives: there everybody owns everything."""
_NAMES = uuid.UUID("0e5dd0c4-6f4f-4a35-9d1c-5a1c3c1b7a60")
"""Namespace of the ids of declared assignments and roles: the same at each start."""
_ML = "Microsoft.MachineLearningServices"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS role_assignments (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    role TEXT NOT NULL,
    principal TEXT NOT NULL,
    removed INTEGER NOT NULL
);
"""


class UnknownRole(EmulatorError):
    """No role has this name or id."""


class AssignmentExists(EmulatorError):
    """The principal has the role at this scope already, by an assignment of another name."""


class ChangedAssignment(EmulatorError):
    """An assignment never changes its scope, role or principal: it is deleted, and another one is made."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role definition; patterns of actions may have `*` anywhere."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    custom: bool = False

    def allows(self, action: str) -> bool:
        return _any(self.actions, action) and not _any(self.not_actions, action)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role of a principal (an object id) at a scope (an ARM id) and all below it."""

    name: str
    """A GUID."""
    scope: str
    role: Role
    principal: str

    def covers(self, scope: str) -> bool:
        own = self.scope.rstrip("/").lower()
        return scope.lower() == own or scope.lower().startswith(own + "/")


BUILT_IN = (
    Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner",
         "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.", ("*",)),
    Role("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor",
         "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC.", ("*",),
         ("Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action",
          "Microsoft.Blueprint/blueprintAssignments/write", "Microsoft.Blueprint/blueprintAssignments/delete",
          "Microsoft.Compute/galleries/share/action")),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader",
         "View all resources, but does not allow you to make any changes.", ("*/read",)),
    Role("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", "User Access Administrator",
         "Lets you manage user access to Azure resources.", ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*")),
    Role("43d0d8ad-25c7-4714-9337-8ba259a9fe05", "Monitoring Reader",
         "Can read all monitoring data.", ("*/read", "Microsoft.OperationalInsights/workspaces/search/action", "Microsoft.Support/*")),
    Role("f6c7c914-8db3-469d-8ca1-694a8f32e121", "AzureML Data Scientist",
         "Can perform all actions within an Azure Machine Learning workspace, except for creating or deleting compute"
         " resources and modifying the workspace itself.",
         tuple(f"{_ML}/workspaces/*/{verb}" for verb in ("read", "action", "delete", "write")),
         tuple(f"{_ML}/workspaces/{rest}" for rest in (
             "delete", "write", "computes/*/write", "computes/*/delete", "computes/listKeys/action", "listKeys/action",
             "hubs/write", "hubs/delete", "featurestores/write", "featurestores/delete"))),
    Role("e503ece1-11d0-4e8e-8e2c-7a6c3bf38815", "AzureML Compute Operator",
         "Can access and perform CRUD operations on Machine Learning Services managed compute resources (including Notebook VMs).",
         (f"{_ML}/workspaces/computes/*", f"{_ML}/workspaces/notebooks/vm/*")),
    Role("1823dd4f-9b8c-4ab6-ab4e-7397a3684615", "AzureML Registry User",
         "Can perform all actions on Machine Learning Services Registry assets as well as get Registry resources.",
         (f"{_ML}/registries/read", f"{_ML}/registries/assets/*")),
    Role("635dd51f-9968-44d3-b7fb-6d9a6bd613ae", "AzureML Metrics Writer (preview)",
         "Lets you write metrics to AzureML workspace", (f"{_ML}/workspaces/metrics/*/write",)),
)


class Access:
    """The roles, and who has them where. What is changed is on disk when a method returns."""

    def __init__(self, config: PlatformConfig, store: ResourceStore) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        custom = (Role(str(uuid.uuid5(_NAMES, role.name)), role.name, role.description, role.actions, role.not_actions, custom=True)
                  for role in config.role_definitions)
        self.roles = (*BUILT_IN, *custom)
        self._declared = {assignment.name: assignment for assignment in self._of(config)}
        self._current: tuple[Assignment, ...] | None = None

    def _of(self, config: PlatformConfig) -> Iterable[Assignment]:
        if config.role_assignments is None:
            yield Assignment(_name("/", BUILT_IN[0].id, EVERYONE), "/", BUILT_IN[0], EVERYONE)
            return
        for given in config.role_assignments:
            scope, role = config.scope_id(given.scope), self.role(given.role)
            principal = config.identity(given.identity).object_id
            yield Assignment(_name(scope, role.id, principal), scope, role, principal)

    def role(self, wanted: str) -> Role:
        """By name, by GUID or by the id of a role definition; raises UnknownRole."""
        key = wanted.rstrip("/").rpartition("/")[2].lower() if "roleDefinitions/" in wanted else wanted.lower()
        for role in self.roles:
            if key in (role.id, role.name.lower()):
                return role
        raise UnknownRole(f"The specified role definition {wanted!r} does not exist.")

    def refusal(self, caller: Caller, action: str, scope: str) -> str | None:
        """Why a caller may not do `action` at `scope`, in Azure's words; None when it may."""
        if self.allows(caller.object_id, action, scope):
            return None
        return (f"The client '{caller.client_id or caller.name}' with object id '{caller.object_id}' does not have authorization"
                f" to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted,"
                " please refresh your credentials.")

    def allows(self, object_id: str, action: str, scope: str) -> bool:
        return any(assignment.principal in (object_id, EVERYONE) and assignment.covers(scope) and assignment.role.allows(action)
                   for assignment in self.assignments())

    def assignments(self) -> tuple[Assignment, ...]:
        """All of them: the declared ones that have not been removed, and those that have been made."""
        if self._current is None:
            rows = self._store.query("SELECT name, scope, role, principal, removed FROM role_assignments ORDER BY rowid")
            removed = {name for name, *_, gone in rows if gone}
            known = {role.id for role in self.roles}
            found = {one.name: one for one in self._declared.values() if one.name not in removed}
            found |= {name: Assignment(name, scope, self.role(role), principal)
                      for name, scope, role, principal, gone in rows if not gone and role in known}
            self._current = tuple(found.values())
        return self._current

    def find(self, name: str) -> Assignment | None:
        return next((one for one in self.assignments() if one.name == name.lower()), None)

    def assign(self, name: str, scope: str, role: str, principal: str) -> tuple[Assignment, bool]:
        """Make an assignment; whether it is new. Raises UnknownRole, AssignmentExists and ChangedAssignment."""
        wanted = Assignment(name.lower(), scope, self.role(role), principal)
        with self._store.transaction() as connection:
            for one in self.assignments():
                same = (one.scope.lower(), one.role.id, one.principal) == (scope.lower(), wanted.role.id, principal)
                if one.name == wanted.name and same:
                    return one, False
                if one.name == wanted.name:
                    raise ChangedAssignment("Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
                if same:
                    raise AssignmentExists("The role assignment already exists.")
            connection.execute("INSERT OR REPLACE INTO role_assignments VALUES (?, ?, ?, ?, 0)",
                               (wanted.name, scope, wanted.role.id, principal))
        self._current = None
        return wanted, True

    def remove(self, name: str) -> Assignment | None:
        """Take a role away; what was taken, None when there is no such assignment."""
        with self._store.transaction() as connection:
            found = self.find(name)
            if found is not None:
                connection.execute("INSERT OR REPLACE INTO role_assignments VALUES (?, ?, ?, ?, 1)",
                                   (found.name, found.scope, found.role.id, found.principal))
        self._current = None
        return found


def wrong_audience(caller: Caller, base_url: str) -> str | None:
    """Why Azure Resource Manager does not take a caller's token (401 `InvalidAuthenticationTokenAudience`); None when it does."""
    taken = (*AUDIENCES, base_url)
    if caller.audience in taken:
        return None
    return (f"The access token has been obtained for wrong audience or resource '{caller.audience}'. It should exactly match"
            f" with one of the allowed audiences {','.join(repr(audience) for audience in taken)}.")


def new_name(scope: str, role: str, principal: str) -> str:
    """The GUID of an assignment that whoever makes it has not named: the same for the same three."""
    return _name(scope, role, principal)


def _name(scope: str, role_id: str, principal: str) -> str:
    return str(uuid.uuid5(_NAMES, f"{scope}|{role_id}|{principal}".lower()))


def _any(patterns: tuple[str, ...], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    """`*` stands for any text, in any case. `a/*/read` takes `a/read` too: the built-in role of data scientists names
    `workspaces/write` among its not-actions, which `workspaces/*/write` would not allow otherwise."""
    parts = (re.escape(part).replace(r"\*", ".*") for part in text.split("/*/"))
    return re.compile("/(?:.*/)?".join(parts), re.IGNORECASE)
