"""Decision links: signed, expiring, and bound to one promotion's stage, plan and attempt.

A link alone decides nothing (the decision needs a bearer token too); it proves that the voter was
shown this plan. A vote is recorded once, so a link that is sent twice does no more than once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import ceil
from secrets import token_urlsafe

import jwt
from pydantic import SecretStr, ValidationError

from pilotage.errors import Forbidden, Gone
from pilotage.ports import Clock, LinkClaims

ISSUER = "pilotage"
AUDIENCE = "pilotage/decision"
_ALGORITHM = "HS256"


class SignedTickets:
    """Tickets as JWTs under the link key. `clock` is the app's; the signature's times are real.

    Where the app's clock is shifted, a ticket lives as long in real time as is left by the app's clock.
    """

    def __init__(self, key: SecretStr, clock: Clock, real_time: Callable[[], float] = time.time) -> None:
        self._key, self._clock, self._real_time = key, clock, real_time

    def issue(self, claims: LinkClaims, expires_at: datetime) -> str:
        """A ticket for these claims. Raises Gone when the time is over already."""
        left = (expires_at - self._clock.now()).total_seconds()
        if left <= 0:
            raise Gone("the time for this decision is over")
        issued = int(self._real_time())
        payload = {**claims.model_dump(), "iss": ISSUER, "aud": AUDIENCE, "iat": issued, "exp": issued + ceil(left),
                   "jti": token_urlsafe(16)}
        return jwt.encode(payload, self._key.get_secret_value(), algorithm=_ALGORITHM)

    def redeem(self, token: str) -> LinkClaims:
        """What a ticket is bound to. Raises Forbidden (forged, or not a decision link) or Gone (expired)."""
        try:
            payload = jwt.decode(
                token, self._key.get_secret_value(), algorithms=[_ALGORITHM], audience=AUDIENCE, issuer=ISSUER,
                options={"require": ["exp", "iat", "iss", "aud", "jti"], "verify_exp": False, "verify_iat": False})
            claims, ends = LinkClaims.model_validate(payload), float(payload["exp"])
        except (jwt.PyJWTError, ValidationError, TypeError, ValueError) as error:
            raise Forbidden(f"the link's token is not one of ours: {type(error).__name__}") from None
        if ends <= self._real_time():
            raise Gone("the link has expired")
        return claims
