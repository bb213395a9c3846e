"""Who is asking: bearer tokens of people and services, and the signed tickets of decision links."""

from __future__ import annotations

from pilotage.identity.bearer import BearerIdentity
from pilotage.identity.keys import SigningKeys
from pilotage.identity.tickets import SignedTickets

__all__ = ["BearerIdentity", "SignedTickets", "SigningKeys"]
