"""Tokens of Entra ID (v2.0), verified by ourselves: no header that a proxy sets is trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jwt

from pilotage.domain.access import Actor
from pilotage.errors import TokenExpired, Unauthenticated
from pilotage.identity.keys import SigningKeys

LEEWAY = 30
"""Seconds by which clocks may differ."""
_TENANT = re.compile(r"/(?P<tenant>[^/]+)/v2\.0/?$")


class BearerIdentity:
    """Who sent a request. Signature (RS256 only), issuer, tenant, audience, times and object id are checked, in real time."""

    def __init__(self, issuer: str, audiences: str | Sequence[str], keys: SigningKeys | None = None) -> None:
        self._issuer = issuer
        self._audiences = [audiences] if isinstance(audiences, str) else list(audiences)
        found = _TENANT.search(issuer)
        self._tenant = found["tenant"] if found else None
        self._keys = keys or SigningKeys(issuer)

    def verify(self, authorization: str | None) -> Actor:
        """The actor of an `Authorization` header.

        Raises Unauthenticated (TokenExpired where that is all), without a word of the token; Unavailable when the issuer's
        keys can't be read. Entra leaves `groups` out of tokens of people in more than 200: the actor says so.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.casefold() != "bearer" or not token.strip():
            raise Unauthenticated("send Authorization: Bearer <token>")
        claims = self._claims(token.strip())
        object_id, tenant = claims.get("oid"), claims.get("tid")
        if not isinstance(object_id, str) or not object_id:
            raise Unauthenticated("the token names no object id (oid)")
        if not isinstance(tenant, str) or not tenant:
            raise Unauthenticated("the token names no tenant (tid)")
        if self._tenant is not None and tenant.casefold() != self._tenant.casefold():
            raise Unauthenticated("the token is of another tenant")
        groups = _texts(claims.get("groups"))
        return Actor(object_id=object_id, name=str(claims.get("name") or ""), roles=_texts(claims.get("roles")), groups=groups,
                     groups_overage=not groups and _is_overage(claims))

    def _claims(self, token: str) -> dict[str, Any]:
        """What the token says, once it is known to be meant for us, now, by our issuer."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
                raise Unauthenticated("the token is not signed with RS256 and a key id")
            return jwt.decode(
                token, self._keys.key(header["kid"]), algorithms=["RS256"], audience=self._audiences,
                issuer=self._issuer, leeway=LEEWAY, options={"require": ["exp", "iat", "nbf", "iss", "aud"]})
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(f"the token is not for {' or '.join(self._audiences)}") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated(f"the token is not from {self._issuer}") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from None


def _is_overage(claims: dict[str, Any]) -> bool:
    """True when the token says that there are groups it does not list.

    `_claim_names` points at a source of them (`_claim_sources`); its URL is not followed: whom we ask is our own setting.
    Source: learn.microsoft.com, id-token-claims-reference, "groups overage claim".
    """
    names = claims.get("_claim_names")
    return claims.get("hasgroups") in (True, "true") or (isinstance(names, dict) and "groups" in names)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
