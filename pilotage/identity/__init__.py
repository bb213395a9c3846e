"""Who is asking: tokens of people and services, groups that do not fit into them, and the signed tickets of decision links."""

from __future__ import annotations

from pilotage.identity.bearer import BearerIdentity
from pilotage.identity.groups import GraphGroups
from pilotage.identity.keys import SigningKeys
from pilotage.identity.tickets import SignedTickets

__all__ = ["BearerIdentity", "GraphGroups", "SignedTickets", "SigningKeys"]
