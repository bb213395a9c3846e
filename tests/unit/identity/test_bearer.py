"""Bearer tokens: signed by the issuer, for us, now, by somebody with an object id."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pilotage.errors import Unauthenticated, Unavailable
from pilotage.identity import BearerIdentity, SigningKeys
from pilotage.identity.keys import KEEP_FOR, REFRESH_AFTER

ISSUER = "https://login.example/tenant/v2.0"
AUDIENCE = "api://pilotage"
KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("k1", "k2", "stranger")}


class Issuer:
    """An issuer's two documents; counts how often they are read."""

    def __init__(self, *published: str) -> None:
        self.published, self.reads, self.down = list(published), 0, False
        self.issuer = ISSUER
        self.extra: list[dict[str, Any]] = []

    def fetch(self, url: str) -> dict[str, Any]:
        if self.down:
            raise Unavailable("down")
        if url == f"{ISSUER}/.well-known/openid-configuration":
            self.reads += 1
            return {"issuer": self.issuer, "jwks_uri": "https://login.example/keys"}
        assert url == "https://login.example/keys"
        keys = [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key())), "kid": name, "use": "sig"}
                for name in self.published]
        return {"keys": keys + self.extra}


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _identity(issuer: Issuer, watch: Watch | None = None) -> BearerIdentity:
    return BearerIdentity(ISSUER, AUDIENCE, SigningKeys(ISSUER, issuer.fetch, watch or Watch()))


def _token(key: str = "k1", kid: str | None = None, algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600, "oid": "oid-grace", "name": "Grace Hopper",
              "preferred_username": "grace@example.org", "roles": ["Pilotage.Approver"], "groups": ["ml-leads"], **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, KEYS[key], algorithm=algorithm, headers={"kid": kid or key})


def test_a_good_token_tells_who_it_is() -> None:
    actor = _identity(Issuer("k1")).verify(f"Bearer {_token()}")
    assert (actor.object_id, actor.name, actor.roles, actor.groups) == ("oid-grace", "Grace Hopper", ["Pilotage.Approver"], ["ml-leads"])
    assert "example.org" not in actor.model_dump_json(), "no e-mail address goes further"


def test_a_service_without_name_roles_or_groups_is_somebody_too() -> None:
    actor = _identity(Issuer("k1")).verify(f"bearer {_token(name=None, roles=None, groups='not-a-list')}")
    assert (actor.name, actor.roles, actor.groups) == ("", [], [])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic Z3JhY2U6aG9wcGVy", "Bearer not.a.token", "Bearer a.b.c",
                                    f"Token {_token()}"], ids=["none", "empty", "scheme", "blank", "basic", "dots", "letters",
                                                        "other-scheme"])
def test_what_is_no_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        _identity(Issuer("k1")).verify(header)


@pytest.mark.parametrize("changes", [
    {"exp": 1}, {"nbf": 4102444800}, {"iat": 4102444800}, {"aud": "api://other"}, {"aud": None}, {"iss": "https://login.example/other/v2.0"},
    {"iss": None}, {"exp": None}, {"nbf": None}, {"iat": None}, {"oid": None}, {"oid": ""}, {"oid": ["oid-grace"]},
    {"key": "stranger"}, {"key": "stranger", "kid": "k1"}, {"algorithm": "RS512"},
], ids=str)
def test_a_token_that_is_wrong_in_one_thing_is_refused(changes: dict[str, Any]) -> None:
    token = _token(**changes)
    with pytest.raises(Unauthenticated) as caught:
        _identity(Issuer("k1")).verify(f"Bearer {token}")
    assert token not in str(caught.value)
    assert caught.value.__cause__ is None, "the cause may quote the token"


def test_clocks_may_differ_a_little() -> None:
    _identity(Issuer("k1")).verify(f"Bearer {_token(nbf=int(time.time()) + 20)}")


@pytest.mark.parametrize("header", [{"alg": "none", "kid": "k1"}, {"alg": "HS256", "kid": "k1"}])
def test_an_unsigned_token_and_one_signed_with_the_public_key_are_refused(header: dict[str, str]) -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    body = jwt.decode(_token(), options={"verify_signature": False})
    with pytest.raises(Unauthenticated):
        _identity(Issuer("k1")).verify(f"Bearer {part(header)}.{part(body)}.{part('signature')}")


# --- the issuer's keys ----------------------------------------------------------------------------

def test_keys_are_read_once_and_again_for_a_new_one() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    for _ in range(5):
        identity.verify(f"Bearer {_token()}")
    assert issuer.reads == 1
    issuer.published.append("k2")
    watch.now += REFRESH_AFTER + 1
    identity.verify(f"Bearer {_token('k2')}")
    assert issuer.reads == 2


def test_made_up_key_ids_do_not_become_requests() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token()}")
    for number in range(20):
        with pytest.raises(Unauthenticated):
            identity.verify(f"Bearer {_token('stranger', kid=f'made-up-{number}')}")
    assert issuer.reads == 1
    watch.now += REFRESH_AFTER + 1
    for number in range(20):
        with pytest.raises(Unauthenticated):
            identity.verify(f"Bearer {_token('stranger', kid=f'made-up-{number}')}")
    assert issuer.reads == 2


def test_a_withdrawn_key_is_forgotten() -> None:
    issuer, watch = Issuer("k1", "k2"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token('k2')}")
    issuer.published.remove("k2")
    watch.now += KEEP_FOR + 1
    identity.verify(f"Bearer {_token('k1')}")
    with pytest.raises(Unauthenticated):
        identity.verify(f"Bearer {_token('k2')}")


def test_known_keys_outlast_a_short_outage_of_the_issuer() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token()}")
    issuer.down = True
    watch.now += KEEP_FOR + 1
    identity.verify(f"Bearer {_token()}")
    watch.now += KEEP_FOR
    with pytest.raises(Unavailable):
        identity.verify(f"Bearer {_token()}")


def test_an_issuer_that_cannot_be_read_is_our_trouble_not_the_callers() -> None:
    issuer = Issuer("k1")
    issuer.down = True
    with pytest.raises(Unavailable):
        _identity(issuer).verify(f"Bearer {_token()}")


def test_another_issuers_document_is_refused() -> None:
    issuer = Issuer("k1")
    issuer.issuer = "https://login.example/other/v2.0"
    with pytest.raises(Unavailable, match="PILOTAGE_AUTH_ISSUER"):
        _identity(issuer).verify(f"Bearer {_token()}")


def test_keys_for_other_uses_are_left_out() -> None:
    issuer = Issuer("k1")
    issuer.extra = [{"kty": "oct", "kid": "shared", "k": "AAAA"}, {"kty": "RSA", "use": "enc", "kid": "k2", "n": "AQAB", "e": "AQAB"},
                    {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]
    _identity(issuer).verify(f"Bearer {_token()}")
    with pytest.raises(Unauthenticated):
        _identity(issuer).verify(f"Bearer {_token('k2')}")
