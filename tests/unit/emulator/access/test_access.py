"""Roles: what Azure's built-in ones allow, and what becomes of assignments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.access import Access, AssignmentExists, ChangedAssignment, UnknownRole
from emulator.azure_ml.permissions import action_of
from emulator.azure_ml.store import ResourceStore
from emulator.config import ConfigError, PlatformConfig
from emulator.context import Caller

ML = "Microsoft.MachineLearningServices"
SUBSCRIPTION = "/subscriptions/s"
DEV = f"{SUBSCRIPTION}/resourceGroups/rg/providers/{ML}/workspaces/dev"
PROD = f"{SUBSCRIPTION}/resourceGroups/rg/providers/{ML}/workspaces/prod"
REGISTRY = f"/subscriptions/r/resourceGroups/rg-r/providers/{ML}/registries/shared"
ADA, BOB = "oid-ada", "oid-bob"

Make = Callable[..., Access]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Access for these assignments, on one state folder."""
    stores: list[ResourceStore] = []

    def build(*assignments: tuple[str, str, str], roles: tuple[dict[str, Any], ...] = (), declared: bool = True) -> Access:
        given = [{"identity": who, "role": role, "scope": scope} for who, role, scope in assignments]
        config = PlatformConfig.model_validate({
            "tenant": "t", "subscription": "s", "resource_group": "rg", "location": "eastus", "ledger_account": "stledger",
            "workspaces": [{"name": "dev", "account": "stdev"}, {"name": "prod", "account": "stprod"}],
            "registries": [{"name": "shared", "account": "stshared", "subscription": "r", "resource_group": "rg-r"}],
            "identities": [{"id": "ada", "name": "Ada", "object_id": ADA}, {"id": "bob", "name": "Bob", "object_id": BOB}],
            "app_identity": "ada", "job_identity": "ada", "role_definitions": roles,
            "role_assignments": given if declared else None})
        stores.append(ResourceStore(tmp_path / "azureml.sqlite"))
        return Access(config, stores[-1])

    yield build
    for store in stores:
        store.close()


@pytest.mark.parametrize(("role", "action", "allowed"), [
    ("AzureML Data Scientist", "workspaces/read", True),
    ("AzureML Data Scientist", "workspaces/models/versions/write", True),
    ("AzureML Data Scientist", "workspaces/onlineEndpoints/listKeys/action", True),
    ("AzureML Data Scientist", "workspaces/onlineEndpoints/deployments/delete", True),
    ("AzureML Data Scientist", "workspaces/computes/read", True),
    ("AzureML Data Scientist", "workspaces/computes/write", False),
    ("AzureML Data Scientist", "workspaces/write", False),
    ("AzureML Data Scientist", "workspaces/delete", False),
    ("AzureML Data Scientist", "workspaces/listKeys/action", False),
    ("AzureML Data Scientist", "registries/assets/read", False),
    ("AzureML Compute Operator", "workspaces/computes/write", True),
    ("AzureML Compute Operator", "workspaces/computes/start/action", True),
    ("AzureML Compute Operator", "workspaces/models/read", False),
    ("AzureML Registry User", "registries/read", True),
    ("AzureML Registry User", "registries/assets/write", True),
    ("AzureML Registry User", "registries/write", False),
    ("Reader", "workspaces/jobs/read", True),
    ("Reader", "workspaces/jobs/write", False),
    ("Reader", "workspaces/onlineEndpoints/listKeys/action", False),
    ("Contributor", "workspaces/write", True),
    ("Owner", "workspaces/delete", True),
    ("AzureML Metrics Writer (preview)", "workspaces/metrics/resource/write", True),
    ("AzureML Metrics Writer (preview)", "workspaces/metrics/resource/read", False),
])
def test_a_built_in_role_allows_what_azure_lists(make: Make, role: str, action: str, allowed: bool) -> None:
    access = make(("ada", role, "/"))
    assert access.allows(ADA, f"{ML}/{action}", f"{DEV}/models/m") is allowed
    assert access.allows(ADA, f"{ML}/{action}".upper(), DEV.upper()) is allowed, "in any case"


@pytest.mark.parametrize(("role", "allowed"), [
    ("Owner", True), ("User Access Administrator", True), ("Contributor", False), ("Reader", False)])
def test_only_some_may_give_roles(make: Make, role: str, allowed: bool) -> None:
    assert make(("ada", role, "subscription")).allows(ADA, "Microsoft.Authorization/roleAssignments/write", DEV) is allowed


def test_a_role_holds_at_its_scope_and_below(make: Make) -> None:
    access = make(("ada", "Contributor", "dev"), ("bob", "Reader", "subscription"))
    write, read = f"{ML}/workspaces/models/write", f"{ML}/workspaces/models/read"
    assert access.allows(ADA, write, f"{DEV}/models/m")
    assert not access.allows(ADA, write, f"{PROD}/models/m")
    assert not access.allows(ADA, write, f"{DEV}-2/models/m"), "a name that begins alike is another workspace"
    assert access.allows(BOB, read, PROD)
    assert not access.allows(BOB, read, REGISTRY), "which is in another subscription"
    assert not access.allows("oid-nobody", read, DEV)


def test_a_refusal_is_worded_as_azure_words_it(make: Make) -> None:
    action = action_of("PUT", "workspaces", ("models", "m", "versions", "1"))
    refusal = make().refusal(Caller(ADA, "Ada", client_id="client-ada"), action, f"{DEV}/models/m/versions/1")
    assert refusal == (
        f"The client 'client-ada' with object id '{ADA}' does not have authorization to perform action"
        f" '{ML}/workspaces/models/versions/write' over scope '{DEV}/models/m/versions/1' or the scope is invalid."
        " If access was recently granted, please refresh your credentials.")


def test_without_assignments_in_the_file_everybody_owns_everything(make: Make) -> None:
    access = make(declared=False)
    assert access.allows("oid-anybody", f"{ML}/workspaces/delete", PROD)
    assert access.allows("oid-anybody", f"{ML}/registries/assets/write", REGISTRY)


def test_a_custom_role_is_one_more(make: Make) -> None:
    caller = {"name": "Endpoint Caller", "actions": [f"{ML}/workspaces/onlineEndpoints/*"], "not_actions": [f"{ML}/*/delete"]}
    access = make(("ada", "endpoint caller", "prod"), roles=(caller,))
    assert access.allows(ADA, f"{ML}/workspaces/onlineEndpoints/score/action", f"{PROD}/onlineEndpoints/e")
    assert not access.allows(ADA, f"{ML}/workspaces/onlineEndpoints/delete", f"{PROD}/onlineEndpoints/e")
    assert access.role(access.role("Endpoint Caller").id).custom


def test_what_is_changed_outlives_a_restart(make: Make) -> None:
    declared = (("ada", "Reader", "dev"),)
    access = make(*declared)
    made, new = access.assign("00000000-0000-0000-0000-00000000000A", PROD, "Contributor", BOB)
    assert new
    taken = access.assignments()[0]
    assert access.remove(taken.name) == taken
    assert access.remove(taken.name) is None

    again = make(*declared)
    assert again.assignments() == (made,)
    assert not again.allows(ADA, f"{ML}/workspaces/read", DEV)
    again.assign(taken.name, taken.scope, taken.role.id, taken.principal)
    assert [one.name for one in make(*declared).assignments()].count(taken.name) == 1


def test_an_assignment_is_made_once_and_never_changed(make: Make) -> None:
    access = make(("ada", "Reader", "dev"))
    held = access.assignments()[0]
    assert access.assign(held.name, DEV.upper(), "Reader", ADA) == (held, False)
    with pytest.raises(AssignmentExists):
        access.assign("00000000-0000-0000-0000-00000000000a", DEV, "Reader", ADA)
    with pytest.raises(ChangedAssignment):
        access.assign(held.name, DEV, "Owner", ADA)


def test_mistakes_in_the_file_are_named(make: Make) -> None:
    with pytest.raises(UnknownRole, match="Reeder"):
        make(("ada", "Reeder", "dev"))
    with pytest.raises(ConfigError, match="staging"):
        make(("ada", "Reader", "staging"))
    with pytest.raises(ConfigError, match="eve"):
        make(("eve", "Reader", "dev"))


@pytest.mark.parametrize(("method", "kind", "segments", "action", "expected"), [
    ("GET", "workspaces", (), None, "workspaces/read"),
    ("GET", "workspaces", ("models",), None, "workspaces/models/read"),
    ("PATCH", "workspaces", ("onlineEndpoints", "e"), None, "workspaces/onlineEndpoints/write"),
    ("DELETE", "workspaces", ("jobs", "j"), None, "workspaces/jobs/delete"),
    ("POST", "workspaces", ("jobs", "j"), "cancel", "workspaces/jobs/cancel/action"),
    ("GET", "registries", (), None, "registries/read"),
    ("GET", "registries", ("models", "m", "versions"), None, "registries/assets/read"),
    ("PUT", "registries", ("tempdatarefs", "m", "versions", "1"), None, "registries/assets/write"),
    ("POST", "registries", ("datarefs", "m", "versions", "1"), None, "registries/assets/read"),
    ("DELETE", "registries", ("models", "m"), None, "registries/assets/delete"),
])
def test_each_request_needs_one_action(method: str, kind: str, segments: tuple[str, ...], action: str | None, expected: str) -> None:
    assert action_of(method, kind, segments, action) == f"{ML}/{expected}"
