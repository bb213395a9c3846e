"""Pages over HTTP: who is sent to sign in, what a page may do, and how often one is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest

from pilotage import bootstrap
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import TokenExpired, Unauthenticated
from tests.support.desk import Desk
from tests.support.routes import user_function


def get(name: str, headers: dict[str, str], **route: str) -> Any:
    return user_function(name)(func.HttpRequest(
        method="GET", url="https://pilotage.example/api/ui?model=a&token=t", headers=headers, params={}, route_params=route, body=b""))


class Refusing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def verify(self, authorization: str | None) -> Any:
        raise self._error


@pytest.mark.parametrize(("headers", "error", "signs_in", "status"), [
    ({}, Unauthenticated(), True, 302),
    ({}, Unauthenticated(), False, 401),
    ({"X-MS-TOKEN-AAD-ACCESS-TOKEN": "old"}, TokenExpired(), True, 302),
    ({"X-MS-TOKEN-AAD-ACCESS-TOKEN": "of another app"}, Unauthenticated("the token is not for us"), True, 401),
], ids=["nobody", "no sign-in", "expired", "another audience"])
def test_who_signing_in_would_help_is_sent_there_and_nobody_goes_in_circles(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], error: Exception, signs_in: bool, status: int
) -> None:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", str(signs_in))
    app = desk.app()
    bootstrap.use(type(app)(**{**vars(app), "identity": Refusing(error)}))
    answer = get("overview_page", headers)
    assert answer.status_code == status
    if status == 302:
        assert answer.headers["Location"] == "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fui%3Fmodel%3Da%26token%3Dt"
    else:
        assert answer.mimetype == "text/html"


def test_a_page_that_has_not_changed_is_not_sent_again_and_one_that_is_over_asks_no_more(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.STAGING)
    reader = {"Authorization": desk.actor("rita", "Reader")}
    first = get("promotion_page", reader, promotion=row.id)
    assert b"live.js" in first.get_body()
    again = get("promotion_page", reader | {"If-None-Match": first.headers["ETag"]}, promotion=row.id)
    assert (again.status_code, again.get_body()) == (304, b"")
    desk.promotion(PromotionPhase.FAILED, sequence=9)
    assert b"live.js" not in get("promotion_page", reader, promotion=row.id).get_body()
    desk.clock.advance(timedelta(hours=1))
    assert b"live.js" in get("overview_page", reader).get_body()


def test_the_report_runs_nothing_and_sends_nothing(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.SUCCEEDED)
    reader = {"Authorization": desk.actor("rita", "Reader")}
    report = get("get_report", reader, promotion=row.id).headers["Content-Security-Policy"]
    page = get("overview_page", reader).headers["Content-Security-Policy"]
    assert "script-src" not in report
    assert "form-action 'none'" in report
    assert "script-src 'self'" in page
    assert "default-src 'none'" in page
