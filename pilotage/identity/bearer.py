"""Bearer tokens of Entra ID (v2.0), verified by ourselves: no header that a proxy sets is trusted."""

from __future__ import annotations

import jwt

from pilotage.domain.access import Actor
from pilotage.errors import TokenExpired, Unauthenticated
from pilotage.identity.keys import SigningKeys

LEEWAY = 30
"""Seconds by which clocks may differ."""


class BearerIdentity:
    """Who sent a request. Signature (RS256 only), issuer, audience, times and object id are checked, in real time."""

    def __init__(self, issuer: str, audience: str, keys: SigningKeys | None = None) -> None:
        self._issuer, self._audience = issuer, audience
        self._keys = keys or SigningKeys(issuer)

    def verify(self, authorization: str | None) -> Actor:
        """The actor of an `Authorization` header.

        Raises Unauthenticated, without a word of the token; Unavailable when the issuer's keys can't be read.
        Entra leaves `groups` out of tokens of people in more than 200: assign the app's groups only.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.casefold() != "bearer" or not token.strip():
            raise Unauthenticated("send Authorization: Bearer <token>")
        try:
            header = jwt.get_unverified_header(token.strip())
            if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
                raise Unauthenticated("the token is not signed with RS256 and a key id")
            claims = jwt.decode(
                token.strip(), self._keys.key(header["kid"]), algorithms=["RS256"], audience=self._audience,
                issuer=self._issuer, leeway=LEEWAY, options={"require": ["exp", "iat", "nbf", "iss", "aud"]})
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(f"the token is not for {self._audience}") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated(f"the token is not from {self._issuer}") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from None
        object_id = claims.get("oid")
        if not isinstance(object_id, str) or not object_id:
            raise Unauthenticated("the token names no object id (oid)")
        return Actor(object_id=object_id, name=str(claims.get("name") or ""), roles=_texts(claims.get("roles")),
                     groups=_texts(claims.get("groups")))


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
