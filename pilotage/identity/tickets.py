"""Decision links and forms: signed, expiring, and bound to one promotion's stage, plan and round.

A link alone decides nothing (the decision needs a verified person too); it proves that the voter was shown
this plan. A form's ticket is bound to the person it was shown to and is good once, so that no other page can
send it in their name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import ceil
from secrets import token_urlsafe
from typing import Any

import jwt
from pydantic import SecretStr, ValidationError

from pilotage.errors import Forbidden, Gone
from pilotage.ports import Clock, FormClaims, LinkClaims

ISSUER = "pilotage"
LINK = "pilotage/decision"
FORM = "pilotage/form"
_ALGORITHM = "HS256"


class SignedTickets:
    """Tickets as JWTs under the link key. `clock` is the app's; the signature's times are real.

    Where the app's clock is shifted, a ticket lives as long in real time as is left by the app's clock.
    """

    def __init__(self, key: SecretStr, clock: Clock, real_time: Callable[[], float] = time.time) -> None:
        self._key, self._clock, self._real_time = key, clock, real_time

    def issue(self, claims: LinkClaims, expires_at: datetime) -> str:
        """A ticket for these claims. Raises Gone when the time is over already."""
        return self._issue(LINK, _about(claims), expires_at)

    def redeem(self, token: str) -> LinkClaims:
        """What a ticket is bound to. Raises Forbidden (forged, or not a decision link) or Gone (expired)."""
        return self._redeem(LINK, token, LinkClaims, "link")

    def issue_form(self, claims: LinkClaims, object_id: str, purpose: str, expires_at: datetime) -> str:
        return self._issue(FORM, {**_about(claims), "object_id": object_id, "purpose": purpose}, expires_at)

    def redeem_form(self, token: str, object_id: str, purpose: str) -> FormClaims:
        claims = self._redeem(FORM, token, FormClaims, "form")
        if claims.object_id.casefold() != object_id.casefold() or claims.purpose != purpose:
            raise Forbidden("the form was made for somebody else, or for something else: open the page again")
        return claims

    def _issue(self, audience: str, about: dict[str, Any], expires_at: datetime) -> str:
        left = (expires_at - self._clock.now()).total_seconds()
        if left <= 0:
            raise Gone("the time for this decision is over")
        issued = int(self._real_time())
        payload = {**about, "iss": ISSUER, "aud": audience, "iat": issued, "exp": issued + ceil(left), "jti": token_urlsafe(16)}
        return jwt.encode(payload, self._key.get_secret_value(), algorithm=_ALGORITHM)

    def _redeem[T: LinkClaims](self, audience: str, token: str, model: type[T], what: str) -> T:
        try:
            payload = jwt.decode(
                token, self._key.get_secret_value(), algorithms=[_ALGORITHM], audience=audience, issuer=ISSUER,
                options={"require": ["exp", "iat", "iss", "aud", "jti"], "verify_exp": False, "verify_iat": False})
            claims, ends = model.model_validate({**payload, "nonce": payload["jti"]}), float(payload["exp"])
        except (jwt.PyJWTError, ValidationError, TypeError, ValueError) as error:
            raise Forbidden(f"the {what}'s token is not one of ours: {type(error).__name__}") from None
        if ends <= self._real_time():
            raise Gone(f"the {what} has expired")
        return claims


def _about(claims: LinkClaims) -> dict[str, Any]:
    return claims.model_dump(include={"promotion", "stage", "plan_hash", "round"})
