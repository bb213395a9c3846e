"""Who asks, who is told, and the links by which people decide. See `pilotage.ports` for what every method may raise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pilotage.domain.access import Actor
from pilotage.domain.assets import Frozen


class Notification(Frozen):
    """What is told to people: no secrets but the link, which is why it is made in the activity."""

    kind: str
    title: str
    why: str = ""
    """Why it is told now."""
    text: str
    promotion: str
    link: str = ""
    """The page: of the decision, with its token, where one is asked for; else of the promotion."""
    decision_url: str = ""
    link_token: str = ""
    facts: dict[str, str] = {}
    """What it is about."""
    gates: dict[str, str] = {}
    """What the gates found: `in all`, then gate -> outcome and message, the worst first."""
    outlook: dict[str, str] = {}
    """Time, window and cost."""


class Notifier(Protocol):
    def known(self) -> dict[str, list[str]]:
        """The configured channels: name -> where it is told, each a name for `send`. No URL: those are secrets."""

    def names(self, wanted: list[str]) -> list[str]:
        """Where it is told when a policy names these channels."""

    def send(self, notification: Notification, channel: str) -> None:
        """Raises Unavailable or Throttled when the channel does not accept it, InvalidInput when there is none of that name."""


class Identity(Protocol):
    def verify(self, authorization: str | None) -> Actor:
        """The caller of a bearer token, verified against the issuer's keys. Raises Unauthenticated."""


class Groups(Protocol):
    """The directory's word on groups, for people who are in more of them than a token holds."""

    def of(self, object_id: str, candidates: Sequence[str]) -> list[str]:
        """Those of `candidates` (object ids of groups) that the person is a member of, directly or through another group.

        Raises Unavailable when the directory does not answer, Forbidden when it does not know the person: nobody is
        taken for a member because nobody could be asked.
        """


class LinkClaims(Frozen):
    """What a decision link is bound to."""

    promotion: str
    stage: str
    plan_hash: str
    round: int
    nonce: str = ""
    """Told apart by it: nobody decides twice by one link, or by one form."""


class FormClaims(LinkClaims):
    """What a form on a page is bound to: one person besides."""

    object_id: str
    purpose: str
    """What it may do, such as `decide`."""


class Tickets(Protocol):
    """Signed, expiring decision links, and the forms of the pages that they open."""

    def issue(self, claims: LinkClaims, expires_at: datetime) -> str: ...

    def redeem(self, token: str) -> LinkClaims:
        """Raises Forbidden (forged) or Gone (expired)."""

    def issue_form(self, claims: LinkClaims, object_id: str, purpose: str, expires_at: datetime) -> str:
        """A form's ticket for this person alone: a page of somebody else can't send it (CSRF)."""

    def redeem_form(self, token: str, object_id: str, purpose: str) -> FormClaims:
        """Raises Forbidden (forged, somebody else's, for something else) or Gone (expired). Used once: who acts on it keeps its nonce."""
