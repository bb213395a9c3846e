"""Decision links: bound to one plan, ours alone, and over when they are over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from pilotage.errors import Forbidden, Gone
from pilotage.identity import SignedTickets
from pilotage.identity.tickets import ISSUER, LINK
from pilotage.ports import LinkClaims
from tests.support.memory import START, FixedClock

KEY = SecretStr("0123456789abcdef0123456789abcdef")
CLAIMS = LinkClaims(promotion="promote-air-time-1-abc-1", stage="production", plan_hash="sha256:00", round=1)


class RealTime:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def _tickets(real: RealTime | None = None, clock: FixedClock | None = None, key: SecretStr = KEY) -> SignedTickets:
    return SignedTickets(key, clock or FixedClock(), real or RealTime())


def _bound(claims: LinkClaims) -> LinkClaims:
    return claims.model_copy(update={"nonce": ""})


def test_a_ticket_gives_back_what_it_was_issued_for() -> None:
    token = _tickets().issue(CLAIMS, START + timedelta(days=3))
    assert _bound(_tickets().redeem(token)) == CLAIMS
    assert _tickets().redeem(token).nonce, "each link is told apart"
    assert _bound(_tickets().redeem(token)) == CLAIMS, "the vote is recorded once; the link may be opened twice"


def test_no_two_tickets_are_alike() -> None:
    tickets = _tickets()
    assert len({tickets.issue(CLAIMS, START + timedelta(days=3)) for _ in range(10)}) == 10


def test_a_ticket_ends_in_real_time_after_what_was_left_by_the_apps_clock() -> None:
    """The app's clock may be shifted by days in a rehearsal; a signature's times are real."""
    real, clock = RealTime(), FixedClock(START + timedelta(days=400))
    token = _tickets(real, clock).issue(CLAIMS, clock.now() + timedelta(hours=1))
    real.now += 3599
    assert _bound(_tickets(real).redeem(token)) == CLAIMS
    real.now += 1
    with pytest.raises(Gone):
        _tickets(real).redeem(token)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1)])
def test_no_ticket_is_issued_for_what_is_over(late: timedelta) -> None:
    with pytest.raises(Gone):
        _tickets().issue(CLAIMS, START - late)


def _signed(key: str = KEY.get_secret_value(), algorithm: str = "HS256", **changes: Any) -> str:
    payload = {**CLAIMS.model_dump(), "iss": ISSUER, "aud": LINK, "iat": 1_800_000_000, "exp": 1_800_003_600, "jti": "n", **changes}
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, key, algorithm=algorithm)


def test_the_forgeries_below_differ_from_a_good_ticket_in_one_thing() -> None:
    assert _bound(_tickets().redeem(_signed())) == CLAIMS


@pytest.mark.parametrize("token", [
    "", "not a token", "a.b.c",
    _signed(key="another key of thirty-two bytes!"), _signed(aud="pilotage/other"), _signed(iss="other"),
    _signed(exp=None), _signed(jti=None), _signed(promotion=None), _signed(round="many"), _signed(exp="soon"),
    jwt.encode({**CLAIMS.model_dump(), "iss": ISSUER, "aud": LINK, "iat": 1, "exp": 1_900_000_000, "jti": "n"}, None, algorithm="none"),
    _signed()[:-4] + "AAAA", _signed(key="k" * 64, algorithm="HS512"), _signed(key=KEY.get_secret_value() * 2, algorithm="HS512"),
])
def test_a_forged_ticket_is_refused(token: str) -> None:
    with pytest.raises(Forbidden):
        _tickets().redeem(token)


def test_another_apps_key_opens_nothing() -> None:
    token = _tickets(key=SecretStr("f" * 32)).issue(CLAIMS, START + timedelta(days=1))
    with pytest.raises(Forbidden) as caught:
        _tickets().redeem(token)
    assert token not in str(caught.value)


def test_an_expired_forgery_is_a_forgery() -> None:
    with pytest.raises(Forbidden):
        _tickets().redeem(_signed(key="another key of thirty-two bytes!", exp=1))


def test_a_form_is_for_one_person_and_one_purpose() -> None:
    tickets = _tickets()
    token = tickets.issue_form(CLAIMS, "oid-grace", "decide", START + timedelta(hours=1))
    found = tickets.redeem_form(token, "OID-Grace", "decide")
    assert (found.object_id, found.purpose, found.plan_hash) == ("oid-grace", "decide", CLAIMS.plan_hash)
    for who, what in (("oid-linus", "decide"), ("oid-grace", "rollback")):
        with pytest.raises(Forbidden, match="made for somebody else"):
            tickets.redeem_form(token, who, what)
    link = tickets.issue(CLAIMS, START + timedelta(hours=1))
    with pytest.raises(Forbidden):
        tickets.redeem_form(link, "oid-grace", "decide")
    with pytest.raises(Forbidden):
        tickets.redeem(token)
