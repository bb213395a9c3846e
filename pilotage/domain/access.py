"""Who may do what: app roles of the token, scoped by team."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from pilotage.domain.assets import Frozen


class Role(StrEnum):
    """App roles as Entra ID issues them. `Pilotage.Approver.forecasting` holds for one team only."""

    READER = "Pilotage.Reader"
    OPERATOR = "Pilotage.Operator"
    APPROVER = "Pilotage.Approver"
    ADMIN = "Pilotage.Admin"


_GRANTS: dict[Role, frozenset[Role]] = {
    Role.READER: frozenset(Role),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.ADMIN}),
    Role.APPROVER: frozenset({Role.APPROVER}),
    Role.ADMIN: frozenset({Role.ADMIN}),
}


class Actor(Frozen):
    """The verified caller of an HTTP route."""

    object_id: str
    name: str = ""
    roles: list[str] = []
    groups: list[str] = []
    """As the token lists them, or as the directory has said."""
    groups_overage: bool = False
    """The person is in more groups than a token holds: `groups` is empty until the directory is asked."""

    def has(self, role: Role, team: str | None = None) -> bool:
        """True when the actor holds a role that grants `role`, for all teams or for this one.

        Everyone with a role may read; an admin may operate, but only an approver may approve.
        """
        held = {value.casefold() for value in self.roles}
        wanted = [granting.value for granting in _GRANTS[role]]
        if team:
            wanted += [f"{granting.value}.{team}" for granting in _GRANTS[role]]
        return any(value.casefold() in held for value in wanted)

    def teams(self, role: Role) -> list[str] | None:
        """Teams for which the actor holds `role` (folded); None means all teams."""
        if self.has(role):
            return None
        prefixes = [granting.value.casefold() + "." for granting in _GRANTS[role]]
        return sorted({value.casefold().removeprefix(p) for value in self.roles for p in prefixes
                       if value.casefold().startswith(p)})


_GROUP = "group:"
_OBJECT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def groups_in(principals: Sequence[str]) -> list[str]:
    """The groups among `user:<object id>` and `group:<name or object id>`, in order, each once."""
    return list(dict.fromkeys(text.removeprefix(_GROUP) for text in principals if text.startswith(_GROUP)))


def is_object_id(text: str) -> bool:
    """True for what a directory can be asked about; a display name is not unique and can't be."""
    return _OBJECT_ID.fullmatch(text) is not None
