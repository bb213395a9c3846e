"""Notifications: one POST of JSON, and no word of the URL or the link's token in errors and logs."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from pilotage.errors import Throttled, Unavailable
from pilotage.notify.webhook import WebhookNotifier
from pilotage.ports import Notification

URL = SecretStr("https://hooks.example/secret-path")
NOTE = Notification(kind="awaiting_approval", title="air-time:1 awaits approval", text="Gates passed: smoke", promotion="promote-1",
                    link="https://p/api/promotions/promote-1", decision_url="https://p/api/approvals/promote-1/decision",
                    link_token="secret-token", facts={"plan": "sha256:00"})


def test_a_notification_is_posted_as_json() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202)

    WebhookNotifier(URL, httpx.MockTransport(answer)).send(NOTE)
    [request] = seen
    assert (request.method, str(request.url)) == ("POST", URL.get_secret_value())
    assert json.loads(request.content) == NOTE.model_dump()


@pytest.mark.parametrize(("status", "error"), [(301, Unavailable), (307, Unavailable), (400, Unavailable), (404, Unavailable),
                                               (429, Throttled), (500, Unavailable), (503, Unavailable)])
def test_what_is_not_accepted_is_an_error_and_no_redirect_is_followed(status: int, error: type[Exception]) -> None:
    requests = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        return httpx.Response(status, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(error) as caught:
        WebhookNotifier(URL, httpx.MockTransport(answer)).send(NOTE)
    assert requests == 1
    assert "secret" not in str(caught.value)


def test_a_webhook_that_does_not_answer_is_unavailable() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"can't reach {request.url}", request=request)

    with pytest.raises(Unavailable) as caught:
        WebhookNotifier(URL, httpx.MockTransport(fail)).send(NOTE)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
